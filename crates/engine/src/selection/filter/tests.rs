//! Filters over columns against the meaning for one user, on data with odd cells and repeated rows.

use std::collections::BTreeMap;

use kindred_types::filter::{Cell, FilterRow, FilterSchemas, FilterValues};
use kindred_types::schema::{self, DatasetSchema};
use proptest::prelude::*;

use super::*;
use crate::data::dataset::Mode;
use crate::data::import::{ImportOptions, import};
use crate::data::source::MemorySource;
use crate::progress::Silent;

const USERS: usize = 40;

pub(crate) fn schema(kind: &str, fields: &str) -> DatasetSchema {
    let text = format!(r#"{{"type":"record","name":"{kind}","fields":[{fields}]}}"#);
    schema::parse(&text, None).unwrap()
}

fn users_schema() -> DatasetSchema {
    schema(
        "Users",
        r#"{"name":"USER_ID","type":"string"},{"name":"AGE","type":["null","int"]},
           {"name":"BIG","type":["null","long"]},{"name":"SPEND","type":["null","float"]},
           {"name":"RATE","type":["null","double"]},
           {"name":"TIER","type":["null","string"],"categorical":true}"#,
    )
}

pub(crate) fn interactions_schema() -> DatasetSchema {
    schema(
        "Interactions",
        r#"{"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},
           {"name":"EVENT_TYPE","type":["null","string"]},{"name":"TIMESTAMP","type":"long"}"#,
    )
}

/// Imports texts one after the other, the first as FULL.
pub(crate) fn generations(
    dir: &std::path::Path,
    schema: &DatasetSchema,
    texts: &[String],
) -> Vec<Generation> {
    let mut generations = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let generation = Generation {
            dir: dir.join(format!("{}-{number}", schema.kind.title())),
            vault: Default::default(),
            mode: if number == 0 {
                Mode::Full
            } else {
                Mode::Incremental
            },
        };
        let source = MemorySource::new("rows.csv", text.as_bytes().to_vec());
        let options = ImportOptions::default();
        import(schema, "d", &[&source], &options, &generation.dir, &Silent).unwrap();
        generations.push(generation);
    }
    generations
}

/// What is known about a user, as the language sees it.
#[derive(Clone, Debug, Default)]
struct Row {
    id: Option<String>,
    cells: Vec<String>,
    events: Vec<String>,
}

impl FilterRow for Row {
    fn text(&self, field: &str) -> Option<&str> {
        match field {
            "USER_ID" => self.id.as_deref(),
            _ => self.cells.get(4).map(String::as_str),
        }
    }

    fn number(&self, field: &str) -> Option<Cell> {
        let place = ["AGE", "BIG", "SPEND", "RATE"]
            .iter()
            .position(|name| *name == field);
        let cell = self.cells.get(place?)?;
        match field {
            "AGE" | "BIG" => cell.parse().ok().map(Cell::Whole),
            "SPEND" => cell.parse::<f32>().ok().map(|cell| Cell::Real(cell.into())),
            _ => cell.parse().ok().map(Cell::Real),
        }
    }

    fn has_interactions(&self) -> bool {
        !self.events.is_empty()
    }

    fn event_types(&self) -> Vec<&str> {
        let types = self.events.iter().map(String::as_str);
        types.filter(|event_type| !event_type.is_empty()).collect()
    }
}

const AGES: [&str; 6] = ["", "0", "17", "25", "-3", "2147483647"];
const BIGS: [&str; 5] = ["", "9223372036854775807", "9007199254740993", "-1", "7"];
const SPENDS: [&str; 5] = ["", "10.1", "0", "-0.5", "1e9"];
const RATES: [&str; 5] = ["", "0.1", "10.1", "1e-9", "3"];
const TIERS: [&str; 8] = [
    "",
    "gold",
    "gold|beta",
    "|silver",
    "Gold",
    "a, b",
    "ü",
    "x|gold|x",
];
const EVENTS: [&str; 6] = ["click", "Click", "purchase", "", "ÄNDERN", "ändern"];

fn condition() -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let number = prop::sample::select(vec![
        "0",
        "17",
        "25.0",
        "24.9",
        "-3",
        "10.1",
        "0.1",
        "9007199254740993",
        "9007199254740992",
        "99999999999999999999",
        "-0.5",
        "$N",
    ]);
    let field = prop::sample::select(vec!["AGE", "BIG", "SPEND", "RATE"]);
    let numeric = (field, op, number).prop_map(|(field, op, n)| format!("Users.{field} {op} {n}"));
    let values = prop::sample::select(vec![
        r#""gold""#,
        r#""gold", "silver""#,
        r#""nobody""#,
        r#""a, b", "ü""#,
        r#""x""#,
        "$L",
    ]);
    let text = (values, any::<bool>()).prop_map(|(values, not)| {
        let not = if not && values != "$L" { "NOT " } else { "" };
        format!("Users.TIER {not}IN ({values})")
    });
    let id = any::<bool>().prop_map(|not| {
        let not = if not { "NOT " } else { "" };
        format!(r#"Users.USER_ID {not}IN ("u0000001", "u0000007", "u0000039", "stranger")"#)
    });
    prop_oneof![3 => numeric, 3 => text, 1 => id]
}

fn event_condition() -> impl Strategy<Value = String> {
    let values = prop::sample::select(vec![
        r#""*""#,
        "*",
        r#""CLICK""#,
        r#""purchase", "Ändern""#,
        r#""nothing""#,
        "$E",
    ]);
    (values, any::<bool>()).prop_map(|(values, not)| {
        let not = if not && values != "$E" { "NOT " } else { "" };
        format!("Interactions.EVENT_TYPE {not}IN ({values})")
    })
}

fn expression() -> impl Strategy<Value = String> {
    let joined = |condition: BoxedStrategy<String>| {
        let join = prop::sample::select(vec![" AND ", " OR "]);
        prop::collection::vec((condition, join), 1..5).prop_map(|parts| {
            let mut text = String::new();
            for (number, (condition, join)) in parts.into_iter().enumerate() {
                text += if number > 0 { join } else { "" };
                text += &condition;
            }
            text
        })
    };
    let action = prop::sample::select(vec!["INCLUDE", "EXCLUDE"]);
    let conditions = prop_oneof![
        2 => joined(condition().boxed()),
        1 => joined(event_condition().boxed()),
    ];
    (action, conditions).prop_map(|(action, text)| format!("{action} UserID WHERE {text}"))
}

fn filters() -> impl Strategy<Value = String> {
    prop::collection::vec(expression(), 1..4).prop_map(|expressions| expressions.join(" | "))
}

/// Rows of Users: the user, and which of the cells above.
type Rows = Vec<(usize, [usize; 5])>;

fn csv_of(rows: &Rows, known: &mut BTreeMap<String, Row>) -> String {
    let mut text = String::from("USER_ID,AGE,BIG,SPEND,RATE,TIER\n");
    for (user, picked) in rows {
        // Some are unknown to the model.
        let id = format!("u{user:07}");
        let pick = |from: &[&str], at: usize| from[picked[at] % from.len()].to_owned();
        let cells = vec![
            pick(&AGES, 0),
            pick(&BIGS, 1),
            pick(&SPENDS, 2),
            pick(&RATES, 3),
            pick(&TIERS, 4),
        ];
        let [age, big, spend, rate, tier] = &cells[..] else {
            unreachable!()
        };
        text += &format!("{id},{age},{big},{spend},{rate},\"{tier}\"\n");
        let row = known.entry(id.clone()).or_default();
        row.id = Some(id);
        row.cells = cells;
    }
    text
}

fn events_csv(events: &[(usize, usize)], known: &mut BTreeMap<String, Row>) -> String {
    let mut text = String::from("USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP\n");
    for (user, event) in events {
        let id = format!("u{user:07}");
        text += &format!("{id},i,{},5\n", EVENTS[*event]);
        known
            .entry(id)
            .or_default()
            .events
            .push(EVENTS[*event].to_owned());
    }
    text
}

fn check(texts: &[String], tables: &[Rows], events: &[Vec<(usize, usize)>], values: &FilterValues) {
    let dir = tempfile::tempdir().unwrap();
    let mut known = BTreeMap::new();
    let texts_of = |rows: &Rows, known: &mut _| csv_of(rows, known);
    let user_texts: Vec<String> = tables
        .iter()
        .map(|rows| texts_of(rows, &mut known))
        .collect();
    let event_texts: Vec<String> = events
        .iter()
        .map(|rows| events_csv(rows, &mut known))
        .collect();
    let users = generations(dir.path(), &users_schema(), &user_texts);
    let interactions = generations(dir.path(), &interactions_schema(), &event_texts);
    let model = Model::generated(USERS, 1, 1, 1);
    let (users_schema, interactions_schema) = (users_schema(), interactions_schema());
    let schemas = FilterSchemas {
        users: Some(&users_schema),
        interactions: Some(&interactions_schema),
        items: None,
    };
    for text in texts {
        let filter = Filter::parse(text, &schemas).unwrap();
        let loaded = UserFilter::load(filter, &users, &interactions, &model, &Silent).unwrap();
        let Ok(bound) = loaded.bind(values) else {
            continue;
        };
        // The second time conditions are remembered.
        for _ in 0..2 {
            let found = loaded.users(&bound);
            for (number, id) in model.users().iter().enumerate() {
                let nobody = Row::default();
                let row = known.get(id).unwrap_or(&nobody);
                let kept = bound.keeps(row);
                assert_eq!(found.contains(number as u32), kept, "{text}: {id} {row:?}");
            }
            assert!(found.max().is_none_or(|user| user < USERS as u32));
        }
    }
}

fn rows() -> impl Strategy<Value = Rows> {
    let user = 0..USERS + 5;
    prop::collection::vec((user, prop::array::uniform5(0usize..8)), 1..60)
}

fn events() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..USERS + 5, 0..EVENTS.len()), 1..60)
}

proptest! {
    #[test]
    fn columns_give_what_the_language_means(
        texts in prop::collection::vec(filters(), 8),
        tables in prop::collection::vec(rows(), 0..3),
        events in prop::collection::vec(events(), 0..3),
        number in prop::sample::select(vec!["17", "\"10.1\"", "9007199254740993", "x"]),
        list in prop::option::of(Just("\"gold\",\"ü\"")),
        event in prop::option::of(prop::sample::select(vec!["\"click\"", "\"*\""])),
    ) {
        let list = list.map(|list| ("L", list));
        let event = event.map(|event| ("E", event));
        let values = [("N", number)].into_iter().chain(list).chain(event);
        check(&texts, &tables, &events, &FilterValues::from_pairs(values));
    }
}

#[test]
fn what_is_found_does_not_depend_on_how_much_is_found() {
    // More users with numbers than where sorting is given up for scanning.
    let users = 2000;
    let mut text = String::from("USER_ID,AGE\n");
    for user in 0..users {
        text += &format!("u{user:07},{}\n", user % 1000);
    }
    let dir = tempfile::tempdir().unwrap();
    let schema = schema(
        "Users",
        r#"{"name":"USER_ID","type":"string"},{"name":"AGE","type":"int"}"#,
    );
    let generations = generations(dir.path(), &schema, &[text]);
    let model = Model::generated(users, 1, 1, 1);
    let schemas = FilterSchemas {
        users: Some(&schema),
        ..FilterSchemas::default()
    };
    let text = "INCLUDE UserID WHERE Users.AGE < $A | EXCLUDE UserID WHERE Users.AGE = 3";
    let filter = Filter::parse(text, &schemas).unwrap();
    let loaded = UserFilter::load(filter, &generations, &[], &model, &Silent).unwrap();
    for age in [0, 1, 5, 124, 126, 999, 1000] {
        let values = FilterValues::from_pairs([("A", age.to_string())]);
        let found = loaded.users(&loaded.bind(&values).unwrap());
        let kept = |user: &u32| user % 1000 < age && user % 1000 != 3;
        let expected: UserSet = (0..users as u32).filter(kept).collect();
        assert_eq!(found, expected, "{age}");
    }
}

#[test]
fn data_of_before_a_column_and_no_data_are_users_without_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let old = schema(
        "Users",
        r#"{"name":"USER_ID","type":"string"},{"name":"RATE","type":["null","double"]}"#,
    );
    let users = generations(dir.path(), &old, &["USER_ID,RATE\nu0000000,1\n".to_owned()]);
    let model = Model::generated(3, 1, 1, 1);
    let users_schema = users_schema();
    let schemas = FilterSchemas {
        users: Some(&users_schema),
        ..FilterSchemas::default()
    };
    for users in [&users[..], &[]] {
        for (text, count) in [
            ("INCLUDE UserID WHERE Users.AGE != 3", 3),
            ("INCLUDE UserID WHERE Users.AGE < 3", 0),
            (r#"INCLUDE UserID WHERE Users.TIER NOT IN ("gold")"#, 3),
            (
                r#"INCLUDE UserID WHERE Users.USER_ID IN ("u0000000")"#,
                users.len() as u64,
            ),
        ] {
            let filter = Filter::parse(text, &schemas).unwrap();
            let loaded = UserFilter::load(filter, users, &[], &model, &Silent).unwrap();
            let bound = loaded.bind(&FilterValues::default()).unwrap();
            assert_eq!(loaded.users(&bound).len(), count, "{text}");
        }
    }
    // The type of a column is not what it was.
    let other = schema(
        "Users",
        r#"{"name":"USER_ID","type":"string"},{"name":"AGE","type":["null","string"],"categorical":true}"#,
    );
    let dir = tempfile::tempdir().unwrap();
    let users = generations(
        dir.path(),
        &other,
        &["USER_ID,AGE\nu0000000,3\n".to_owned()],
    );
    let filter = Filter::parse("INCLUDE UserID WHERE Users.AGE < 3", &schemas).unwrap();
    let error = UserFilter::load(filter, &users, &[], &model, &Silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The type of column AGE has changed since the filter was created."
    );
}
