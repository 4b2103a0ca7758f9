use super::*;
use crate::data::dataset::Mode;
use crate::data::import::{ImportOptions, import};
use crate::data::source::MemorySource;
use crate::progress::Silent;
use kindred_types::schema;
use proptest::prelude::*;
use std::path::Path;

const HEADER: &str = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE,PLACE\n";

fn generation(dir: &Path, name: &str, mode: Mode, rows: &[String]) -> Generation {
    let schema = schema::parse(
        r#"{"type":"record","name":"Interactions","fields":[
        {"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},
        {"name":"TIMESTAMP","type":"long"},{"name":"EVENT_TYPE","type":["null","string"]},
        {"name":"EVENT_VALUE","type":["null","float"]},
        {"name":"PLACE","type":["null","string"],"categorical":true}]}"#,
        None,
    )
    .unwrap();
    let generation = Generation {
        dir: dir.join(name),
        vault: Default::default(),
        mode,
    };
    let text = format!("{HEADER}{}\n", rows.join("\n"));
    let source = MemorySource::new("events.csv", text.into_bytes());
    let options = ImportOptions::default();
    import(&schema, "d", &[&source], &options, &generation.dir, &Silent).unwrap();
    generation
}

fn load(rows: &[&str], filter: &TrainingFilter) -> (Interactions, SnapshotFacts) {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<String> = rows.iter().map(|row| (*row).to_owned()).collect();
    let generations = [generation(dir.path(), "0", Mode::Full, &rows)];
    load_interactions(&generations, filter, &SnapshotLimits::default(), &Silent).unwrap()
}

fn events(interactions: &Interactions) -> Vec<(String, String, i64)> {
    (0..interactions.users.len())
        .flat_map(|user| interactions.events_of(user).map(move |event| (user, event)))
        .map(|(user, event)| {
            let item = interactions.event_items[event] as usize;
            (
                interactions.users[user].clone(),
                interactions.items[item].clone(),
                interactions.event_times[event],
            )
        })
        .collect()
}

const ROWS: &[&str] = &[
    "b,10,5,view,0.1,x",
    "b,10,5,view,0.1,x",
    "b,10,5,view,0.1,y",
    "b,9,4,View,0.05,",
    "a,9,7,buy,3,",
    "a,10,7,buy,,",
    "c,10,1,,9,",
];

#[test]
fn ids_are_numbered_in_byte_order_and_duplicates_dropped() {
    let (interactions, facts) = load(ROWS, &TrainingFilter::default());
    assert_eq!(interactions.users, ["a", "b", "c"]);
    assert_eq!(interactions.items, ["10", "9"]);
    assert_eq!(interactions.user_starts, [0, 2, 5, 6]);
    assert_eq!(interactions.event_items, [0, 1, 1, 0, 0, 0]);
    assert_eq!(interactions.event_times, [7, 7, 4, 5, 5, 1]);
    assert_eq!((facts.rows_read, facts.rows_matched, facts.rows), (7, 7, 6));
    assert_eq!((facts.users, facts.users_with_two, facts.items), (3, 2, 2));
    assert_eq!((facts.first_time, facts.last_time), (1, 7));
}

#[test]
fn filters_take_types_ignoring_case_and_values_from_the_threshold() {
    let take = |filter: TrainingFilter| -> Vec<String> {
        let (interactions, _) = load(ROWS, &filter);
        events(&interactions)
            .into_iter()
            .map(|(user, item, _)| format!("{user}{item}"))
            .collect()
    };
    let of_type = |event_type: &str, threshold| TrainingFilter {
        event_type: Some(event_type.into()),
        event_value_threshold: threshold,
        events: Vec::new(),
    };
    assert_eq!(take(of_type("VIEW", None)), ["b9", "b10", "b10"]);
    // The stored 0.1 is single precision; the threshold is not.
    assert_eq!(take(of_type("view", Some(0.1))), ["b10", "b10"]);
    assert_eq!(take(of_type("buy", Some(0.0))), ["a9"]);
    assert_eq!(take(of_type("", None)), Vec::<String>::new());
    let threshold = TrainingFilter {
        event_value_threshold: Some(3.0),
        ..TrainingFilter::default()
    };
    assert_eq!(take(threshold), ["a9", "c10"]);
    let rules = TrainingFilter {
        events: vec![rule("Buy", None, 1.0), rule("View", Some(0.06), 1.0)],
        ..TrainingFilter::default()
    };
    assert_eq!(take(rules), ["a10", "a9", "b10", "b10"]);
}

fn rule(event_type: &str, threshold: Option<f64>, weight: f32) -> EventRule {
    EventRule {
        event_type: event_type.into(),
        threshold,
        weight,
    }
}

#[test]
fn events_weigh_what_the_largest_rule_says() {
    let take = |events: Vec<EventRule>| {
        let filter = TrainingFilter {
            events,
            ..TrainingFilter::default()
        };
        load(ROWS, &filter)
    };
    let weighed = |interactions: &Interactions| -> Vec<(String, f32)> {
        let events = events(interactions).into_iter().enumerate();
        events
            .map(|(n, (user, item, _))| (format!("{user}{item}"), interactions.weight(n)))
            .collect()
    };
    let named = |list: &[(&str, f32)]| -> Vec<(String, f32)> {
        list.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect()
    };
    let ones = take(vec![rule("buy", None, 1.0), rule("view", None, 1.0)]);
    assert_eq!(ones.0.event_weights, Vec::<f32>::new());
    let (some, facts) = take(vec![rule("buy", None, 1.0), rule("view", None, 0.25)]);
    assert_eq!(
        weighed(&some),
        named(&[
            ("a10", 1.0),
            ("a9", 1.0),
            ("b9", 0.25),
            ("b10", 0.25),
            ("b10", 0.25)
        ])
    );
    // An event of weight 0 is kept and counts for the minimums.
    let (none, none_facts) = take(vec![rule("buy", None, 0.0), rule("view", None, 0.25)]);
    assert_eq!(none.event_weights, [0.0, 0.0, 0.25, 0.25, 0.25]);
    assert_eq!((facts.rows, none_facts.rows), (5, 5));
    // Several rules: the largest of those whose threshold is met.
    let (several, _) = take(vec![
        rule("View", Some(0.1), 0.5),
        rule("VIEW", None, 0.125),
        rule("view", Some(0.09), 0.25),
    ]);
    assert_eq!(
        weighed(&several),
        named(&[("b9", 0.125), ("b10", 0.5), ("b10", 0.5)])
    );
    let checksums = [&ones.1, &facts, &none_facts].map(|facts| facts.checksum.clone());
    assert!(checksums[0] != checksums[1] && checksums[1] != checksums[2]);
    // Weights of 1 leave the checksum as it is without weights.
    let typed: Vec<&str> = ROWS
        .iter()
        .copied()
        .filter(|row| !row.contains(",,9"))
        .collect();
    assert_eq!(
        load(&typed, &TrainingFilter::default()).1.checksum,
        checksums[0]
    );
    for weight in [-0.5, 1.5, f32::NAN] {
        let filter = TrainingFilter {
            events: vec![rule("buy", None, weight)],
            ..TrainingFilter::default()
        };
        let limits = SnapshotLimits::default();
        let result = load_interactions(&[], &filter, &limits, &Silent);
        assert!(matches!(result, Err(Error::Misuse(_))), "{weight}");
    }
}

#[test]
fn minimums_fail_with_their_texts() {
    let check = |rows: u64, users: u64, two: u64, filter: &TrainingFilter| {
        let facts = SnapshotFacts {
            rows,
            users,
            users_with_two: two,
            ..SnapshotFacts::default()
        };
        Minimums::default().check(&facts, filter).err()
    };
    let all = TrainingFilter::default();
    let clicks = TrainingFilter {
        event_type: Some("click".into()),
        ..all.clone()
    };
    assert_eq!(check(1000, 2500, 25, &all), None);
    assert_eq!(
        check(999, 30, 30, &clicks).unwrap(),
        "Dataset has fewer than 1000 interactions after filtering by event type: click"
    );
    assert_eq!(
        check(999, 30, 30, &all).unwrap(),
        "Dataset has fewer than 1000 interactions"
    );
    assert_eq!(
        check(1200, 30, 24, &all).unwrap(),
        "Dataset has fewer than 25 users with at least 2 interactions each."
    );
    assert_eq!(
        check(5000, 2501, 25, &all).unwrap(),
        "Dataset has fewer than 1 percent of its users with at least 2 interactions each."
    );
}

#[test]
fn duplicates_do_not_help_over_the_minimum() {
    let rows = |unique: usize| -> Vec<String> {
        (0..1200)
            .map(|row| row % unique)
            .map(|row| format!("u{},i{row},{row},click,,", row % 30))
            .collect()
    };
    let filter = TrainingFilter::default();
    for (unique, enough) in [(1200, true), (1000, true), (999, false)] {
        let rows = rows(unique);
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let (_, facts) = load(&rows, &filter);
        assert_eq!((facts.rows, facts.users), (unique as u64, 30));
        assert_eq!(Minimums::default().check(&facts, &filter).is_ok(), enough);
    }
}

#[test]
fn generations_are_joined_and_misplaced_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<String> = ROWS.iter().map(|row| (*row).to_owned()).collect();
    let full = generation(dir.path(), "0", Mode::Full, &rows[..3]);
    let more = generation(dir.path(), "1", Mode::Incremental, &rows[1..]);
    let filter = TrainingFilter::default();
    let limits = SnapshotLimits::default();
    let both = [full.clone(), more.clone()];
    let (interactions, facts) = load_interactions(&both, &filter, &limits, &Silent).unwrap();
    let (whole, whole_facts) = load(ROWS, &filter);
    assert_eq!(interactions, whole);
    assert_eq!(facts.checksum, whole_facts.checksum);
    for wrong in [
        vec![more.clone(), full.clone()],
        vec![full.clone(), full],
        vec![more],
    ] {
        let result = load_interactions(&wrong, &filter, &limits, &Silent);
        assert!(matches!(result, Err(Error::Misuse(_))));
    }
    let few = SnapshotLimits {
        interactions_max: 3,
    };
    let result = load_interactions(&both, &filter, &few, &Silent);
    assert!(matches!(result, Err(Error::Limit { limit: 3, .. })));
    let (nothing, facts) = load_interactions(&[], &filter, &limits, &Silent).unwrap();
    assert!(nothing.is_empty() && facts.rows == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn order_of_rows_and_files_does_not_matter(
        (rows, shuffled) in prop::collection::vec(
            (0..6u8, 0..5u8, 0..4i64, 0..3u8, 0..2u8), 1..60,
        ).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        cut in 0..60usize,
    ) {
        let text = |rows: &[(u8, u8, i64, u8, u8)]| -> Vec<String> {
            rows.iter()
                .map(|(user, item, time, kind, place)| {
                    let kind = ["", "view", "buy"][*kind as usize];
                    format!("u{user},i{item},{time},{kind},,{place}")
                })
                .collect()
        };
        let dir = tempfile::tempdir().unwrap();
        let (rows, shuffled) = (text(&rows), text(&shuffled));
        let one = [generation(dir.path(), "one", Mode::Full, &rows)];
        let cut = cut.clamp(1, shuffled.len());
        let mut two = vec![generation(dir.path(), "0", Mode::Full, &shuffled[..cut])];
        if cut < shuffled.len() {
            two.push(generation(dir.path(), "1", Mode::Incremental, &shuffled[cut..]));
        }
        // Types that weigh differently, some events of the same user, item and time among them.
        let filter = TrainingFilter {
            events: vec![rule("view", None, 0.5), rule("buy", None, 1.0)],
            ..TrainingFilter::default()
        };
        let limits = SnapshotLimits::default();
        let (left, left_facts) = load_interactions(&one, &filter, &limits, &Silent).unwrap();
        let (right, right_facts) = load_interactions(&two, &filter, &limits, &Silent).unwrap();
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(&left_facts.checksum, &right_facts.checksum);
        let filter = TrainingFilter::default();
        let (left, left_facts) = load_interactions(&one, &filter, &limits, &Silent).unwrap();
        let (right, right_facts) = load_interactions(&two, &filter, &limits, &Silent).unwrap();
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(&left_facts.checksum, &right_facts.checksum);
        // Against the obvious way: a set of whole rows.
        let unique: std::collections::BTreeSet<&String> = rows.iter().collect();
        prop_assert_eq!(left.len(), unique.len());
        // Another set of rows gives another checksum.
        let mut other = rows.clone();
        other.push("u0,i0,99,,,0".into());
        let other = [generation(dir.path(), "other", Mode::Full, &other)];
        let (_, other) = load_interactions(&other, &filter, &limits, &Silent).unwrap();
        prop_assert_ne!(other.checksum, left_facts.checksum);
    }
}
