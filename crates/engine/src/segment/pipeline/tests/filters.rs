//! Lines that choose their users: values per line, errors, users left out, runs that go on.

use super::*;
use crate::model::AnyModel;
use crate::score::{AttributeScorer, attribute_fixtures};
use crate::segment::asked;
use crate::selection::filter::tests::{generations, interactions_schema, schema};
use crate::selection::{Interacted, UserFilter};
use kindred_types::filter::{Filter, FilterSchemas};

const TIERS: &str = "USER_ID,AGE,TIER\n1,20,gold\n12,30,silver\n3,40,gold|silver\n7,,\n";

/// A filter over the users of a model, whose attributes are in a CSV text.
fn filter(model: &Model, users: &str, text: &str) -> UserFilter {
    let dir = tempfile::tempdir().unwrap();
    let users_schema = schema(
        "Users",
        r#"{"name":"USER_ID","type":"string"},{"name":"AGE","type":["null","int"]},
           {"name":"TIER","type":["null","string"],"categorical":true}"#,
    );
    let interactions = interactions_schema();
    let schemas = FilterSchemas {
        users: Some(&users_schema),
        interactions: Some(&interactions),
        items: None,
    };
    let filter = Filter::parse(text, &schemas).unwrap();
    let users = generations(dir.path(), &users_schema, &[users.to_owned()]);
    let events = "USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP\n7,105,buy,1\n".to_owned();
    let events = generations(dir.path(), &interactions, &[events]);
    UserFilter::load(filter, &users, &events, model, &Silent).unwrap()
}

fn of_example(text: &str, interacted: Option<Interacted>) -> (Box<dyn Answerer>, Selection) {
    let scorer = example();
    let model = Arc::clone(Scorer::model(&scorer));
    let selection = Selection::of(Some(filter(&model, TIERS, text)), interacted);
    (asked::scorer(AnyModel::Items(model), &selection), selection)
}

fn answer(scorer: &dyn Answerer, selection: &Selection, input: &str, k: usize) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let source = MemorySource::new("q", input.as_bytes().to_vec());
    let options = options(dir.path(), k);
    segment_selected(scorer, selection, &[&source], &options, &Silent)
}

#[test]
fn every_line_has_the_users_that_its_values_keep() {
    let (scorer, selection) = of_example("INCLUDE UserID WHERE Users.TIER IN ($T)", None);
    let input = r#"{"itemId": "105", "filterValues": {"T": "\"gold\""}}
{"itemId": "105", "filterValues": {"T": "\"silver\",\"gold\""}, "more": 1}
{"itemId":"105"}
{"filterValues": {"T": "gold"}, "itemId": "106"}
{"itemId": "105", "filterValues": {"U": "5", "T":  "\"gold\""}}
{"itemId": "105", "filterValues": {"T": "\"nobody\""}}
{"itemId": "106", "filterValues": null}
{"itemId": "106", "filterValues": ["T"]}
{"itemId": "nope", "filterValues": 5}
{"itemId": "106", "filterValues": {"T": "\"gold\" , \"silver\""}}
"#;
    let expected = r#"{"input": {"itemId": "105", "filterValues": {"T": "\"gold\""}}, "output": {"usersList": ["3","1"]}, "error": null}
{"input": {"itemId": "105", "filterValues": {"T": "\"silver\",\"gold\""}, "more": 1}, "output": {"usersList": ["3","12","1"]}, "error": null}
{"input": {"itemId":"105"}, "output": {"usersList": []}, "error": "User error: Filter parameter T has no value"}
{"input": {"filterValues": {"T": "gold"}, "itemId": "106"}, "output": {"usersList": []}, "error": "User error: Filter parameter T is not a list of strings in double quotes, separated by commas"}
{"input": {"itemId": "105", "filterValues": {"U": "5", "T":  "\"gold\""}}, "output": {"usersList": ["3","1"]}, "error": null}
{"input": {"itemId": "105", "filterValues": {"T": "\"nobody\""}}, "output": {"usersList": []}, "error": null}
{"input": {"itemId": "106", "filterValues": null}, "output": {"usersList": []}, "error": "User error: Filter parameter T has no value"}
{"input": {"itemId": "106", "filterValues": ["T"]}, "output": {"usersList": []}, "error": "User error: filterValues must be a JSON object with one string for each parameter"}
{"input": {"itemId": "nope", "filterValues": 5}, "output": {"usersList": []}, "error": "User error: Item nope was not present when the solution version was created"}
{"input": {"itemId": "106", "filterValues": {"T": "\"gold\" , \"silver\""}}, "output": {"usersList": ["3","1","12"]}, "error": null}
"#;
    let (statistics, outputs) = answer(&*scorer, &selection, input, 4);
    assert_eq!(outputs, [expected]);
    let statistics = statistics.unwrap();
    assert_eq!((statistics.lines, statistics.line_errors), (10, 5));
    // gold and both for 105, nobody for 105, both for 106.
    assert_eq!((statistics.distinct_queries, statistics.users), (4, 4));
}

#[test]
fn without_parameters_the_filter_is_the_jobs_and_values_are_ignored() {
    let text = "EXCLUDE UserID WHERE Users.AGE > 35 | EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN (\"BUY\")";
    let (scorer, selection) = of_example(text, None);
    let input = "{\"itemId\": \"105\", \"filterValues\": 5}\n{\"itemId\": \"106\"}\n";
    let (statistics, outputs) = answer(&*scorer, &selection, input, 4);
    let expected = r#"{"input": {"itemId": "105", "filterValues": 5}, "output": {"usersList": ["12","1"]}, "error": null}
{"input": {"itemId": "106"}, "output": {"usersList": ["1","12"]}, "error": null}
"#;
    assert_eq!(outputs, [expected]);
    assert_eq!(statistics.unwrap().users, 2);
}

#[test]
fn who_interacted_is_left_out_before_the_cut() {
    // Users in byte order: 1, 12, 3, 7.
    let out = Interacted::of_pairs(2, &[(0, 3), (0, 2), (1, 2)]);
    let scorer = example();
    let selection = Selection::of(None, Some(out.clone()));
    let input = "{\"itemId\": \"105\"}\n{\"itemId\": \"106\"}\n";
    let (_, outputs) = answer(&scorer, &selection, input, 2);
    let lists = |outputs: &[String]| -> Vec<String> {
        let lines = outputs[0].lines();
        lines
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["output"]["usersList"].to_string()
            })
            .collect()
    };
    assert_eq!(lists(&outputs), [r#"["12","1"]"#, r#"["7","1"]"#]);
    let (scorer, selection) = of_example("INCLUDE UserID WHERE Users.AGE < $A", Some(out));
    let input = r#"{"itemId": "105", "filterValues": {"A": "30"}}
{"itemId": "106", "filterValues": {"A": "\"99\""}}
{"itemId": "106", "filterValues": {"A": 20}}"#;
    let (_, outputs) = answer(&*scorer, &selection, input, 3);
    assert_eq!(lists(&outputs), [r#"["1"]"#, r#"["1","12"]"#, "[]"]);
}

/// A model with 600 users of ten tiers, and lines that ask for all of it.
fn many(model: &Model) -> (UserFilter, String) {
    let mut users = String::from("USER_ID,AGE,TIER\n");
    for (number, id) in model.users().iter().enumerate() {
        users += &format!("{id},{},t{}\n", number % 97, number % 10);
    }
    let text = "INCLUDE UserID WHERE Users.TIER IN ($T) | EXCLUDE UserID WHERE Users.AGE >= $A";
    let mut lines = String::new();
    for number in 0..400 {
        let item = number % model.items().len();
        let (tier, age) = (number % 7, number % 5 * 24);
        let age = if age == 0 {
            String::new()
        } else {
            format!(", \"A\": {age}")
        };
        lines += &format!(
            "{{\"itemId\": \"{}\", \"filterValues\": {{\"T\": \"\\\"t{tier}\\\"\"{age}}}}}\n",
            model.items()[item]
        );
    }
    (filter(model, &users, text), lines)
}

#[test]
fn a_job_with_values_per_line_is_what_filtering_each_line_is_and_goes_on_after_a_stop() {
    let model = Arc::new(Model::generated(600, 9, 5, 3));
    let (filter, input) = many(&model);
    let selection = Selection::of(Some(filter), None);
    let scorer = Scorer::new(Arc::clone(&model), None);
    let source = MemorySource::new("q", input.as_bytes().to_vec());
    let whole = tempfile::tempdir().unwrap();
    let run_in = |dir: &Path, threads: usize, selection: &Selection, progress: &dyn Progress| {
        let options = SegmentOptions {
            threads,
            block_bytes: 8 * 12 * 40,
            ..options(dir, 12)
        };
        segment_selected(&scorer, selection, &[&source], &options, progress)
    };
    let (_, expected) = run_in(whole.path(), 1, &selection, &Silent);
    for (number, line) in expected[0].lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let all = scorer.top_users(&[(number % 9) as u32], 600, 1).unwrap();
        let age = match number % 5 {
            0 => u32::MAX,
            fifth => fifth as u32 * 24,
        };
        let kept = all[0].users.iter().copied();
        let kept = kept.filter(|user| user % 10 == number as u32 % 7 && user % 97 < age);
        let kept: Vec<&str> = kept
            .take(12)
            .map(|user| model.users()[user as usize].as_str())
            .collect();
        assert_eq!(
            line["output"]["usersList"],
            serde_json::json!(kept),
            "{number}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let (result, outputs) = run_in(dir.path(), 3, &selection, &StopAt::new(4));
    assert!(matches!(result, Err(SegmentError::Stopped)) && outputs.is_empty());
    let blocks = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(blocks(), 3);
    let written = |block: &str| {
        std::fs::metadata(dir.path().join(block))
            .unwrap()
            .modified()
            .unwrap()
    };
    let kept = written("block-000001");
    let (_, outputs) = run_in(dir.path(), 2, &selection, &Silent);
    assert!(outputs == expected && blocks() > 3 && written("block-000001") == kept);

    // Other users behind the same lines: nothing of an earlier try counts.
    let (other, _) = many(&model);
    let out = Interacted::of_pairs(9, &[(3, 30)]);
    let selection = Selection::of(Some(other), Some(out));
    let clean = tempfile::tempdir().unwrap();
    let (_, expected) = run_in(clean.path(), 2, &selection, &Silent);
    let (_, outputs) = run_in(dir.path(), 2, &selection, &Silent);
    assert!(outputs == expected && written("block-000001") != kept);
}

#[test]
fn attributes_are_answered_for_the_users_of_the_line_too() {
    let model = Arc::new(attribute_fixtures::with_head(40, 20, 4, 7));
    let towers = model.model().clone();
    let mut users = String::from("USER_ID,AGE,TIER\n");
    for (number, id) in towers.users().iter().enumerate() {
        users += &format!("{id},{number},t{}\n", number % 2);
    }
    let text = "INCLUDE UserID WHERE Users.AGE < $A";
    let out = Interacted::of_pairs(20, &[(0, 1), (5, 2), (19, 3)]);
    let selection = Selection::of(Some(filter(&towers, &users, text)), Some(out.clone()));
    let scorer = AttributeScorer::new(Arc::clone(&model), None);
    let mut input = String::new();
    for (value, age) in [(1, 10), (2, 40), (1, 40), (3, 1), (1, 10)] {
        input += &format!(
            "{{\"itemAttributes\": \"ITEMS.V = {value}\", \"filterValues\": {{\"A\": \"{age}\"}}}}\n"
        );
    }
    let (statistics, outputs) = answer(&scorer, &selection, &input, 6);
    assert_eq!(statistics.unwrap().distinct_queries, 4);
    for (line, (value, age)) in outputs[0]
        .lines()
        .zip([(1, 10), (2, 40), (1, 40), (3, 1), (1, 10)])
    {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let all = scorer.top_users(&[[value]], 40, 1).unwrap();
        let left_out = out.of_any(&model.index().items_with_all(&[value]));
        let kept = all[0].users.iter().copied();
        let kept = kept.filter(|user| *user < age && !left_out.contains(*user));
        let kept: Vec<&str> = kept
            .take(6)
            .map(|user| towers.users()[user as usize].as_str())
            .collect();
        assert_eq!(
            line["output"]["usersList"],
            serde_json::json!(kept),
            "{value} {age}"
        );
    }
}
