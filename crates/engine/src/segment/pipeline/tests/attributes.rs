//! Lines that ask for attributes: answers, errors in words, one question for all ways to write it.

use super::*;
use crate::score::{AttributeScorer, attribute_fixtures};

/// Values 0 to 3 of a column V over 20 items, 40 users.
fn attribute_scorer() -> AttributeScorer {
    AttributeScorer::new(Arc::new(attribute_fixtures::with_head(40, 20, 4, 7)), None)
}

fn line(query: &str) -> String {
    let member: serde_json::Value = query.into();
    format!("{{\"itemAttributes\": {member}}}")
}

/// The output line of an answer.
fn answered(scorer: &AttributeScorer, input: &str, values: &[u32], k: usize) -> String {
    let ranking = &scorer.top_users(&[values], k, 1).unwrap()[0];
    let model = scorer.model().model();
    let ids = ranking
        .users
        .iter()
        .map(|&user| model.users()[user as usize].clone());
    let ids = serde_json::to_string(&ids.collect::<Vec<String>>()).unwrap();
    format!("{{\"input\": {input}, \"output\": {{\"usersList\": {ids}}}, \"error\": null}}\n")
}

fn refused(input: &str, error: &str) -> String {
    let error: serde_json::Value = format!("User error: {error}").into();
    format!("{{\"input\": {input}, \"output\": {{\"usersList\": []}}, \"error\": {error}}}\n")
}

#[test]
fn every_line_has_its_answer_or_its_sentence() {
    let scorer = attribute_scorer();
    let index = scorer.model().index();
    let dir = tempfile::tempdir().unwrap();
    let missing =
        "No item with the requested attributes was present when the solution version was created";
    assert!(!index.items_with_all(&[0, 2]).is_empty());
    let of = |query: &str, values: &[u32]| {
        let input = line(query);
        let output = answered(&scorer, &input, values, 5);
        (input, output)
    };
    let wrong = |query: &str, error: &str| {
        let input = line(query);
        let output = refused(&input, error);
        (input, output)
    };
    let cases = [
        of("ITEMS.V = 2", &[2]),
        wrong(
            "ITEMS.V > 2",
            "Invalid itemAttributes expression: expected =, the only operator at position 9",
        ),
        of("items.v=2 AND ITEMS.V = \"0\"", &[0, 2]),
        wrong("ITEMS.V = 9", missing),
        wrong(
            "ITEMS.NOPE = 9",
            "Column NOPE cannot be used in itemAttributes",
        ),
        of("ITEMS.V = 0 AND ITEMS.V = 2 AND ITEMS.V = 0.0", &[0, 2]),
        wrong(
            "",
            "Invalid itemAttributes expression: expected ITEMS at position 1",
        ),
        of("ITEMS.V = 0", &[0]),
    ];
    let (mut input, mut expected) = (String::new(), String::new());
    for (line, output) in &cases {
        input += &format!("{line}\n");
        expected += output;
    }
    let nothing = "{\"itemId\": \"i0000001\"}";
    input += nothing;
    expected += &refused(
        nothing,
        "Required fields for the provided recipe are itemAttributes",
    );
    let files: Files<'_> = &[("q", input.as_bytes())];
    let (statistics, outputs) = segment(&scorer, files, &options(dir.path(), 5), &Silent);
    assert_eq!(outputs, [expected]);
    let statistics = statistics.unwrap();
    let found = (
        statistics.lines,
        statistics.line_errors,
        statistics.distinct_queries,
    );
    assert_eq!(found, (9, 5, 3));
}

#[test]
fn values_that_no_item_has_together_are_an_error_and_no_question() {
    let mut model = attribute_fixtures::with_head(40, 20, 4, 7);
    // One item a value: nothing has two.
    model = attribute_fixtures::with_single_values(model, 4);
    let scorer = AttributeScorer::new(Arc::new(model), None);
    let dir = tempfile::tempdir().unwrap();
    let input = line("ITEMS.V = 1 AND ITEMS.V = 2");
    let files: Files<'_> = &[("q", input.as_bytes())];
    let (statistics, outputs) = segment(&scorer, files, &options(dir.path(), 5), &Silent);
    assert_eq!(statistics.unwrap().distinct_queries, 0);
    assert!(
        outputs[0].contains("No item with the requested attributes"),
        "{outputs:?}"
    );
}

/// Lines with every pair of values, over and over, in an order that `turn` changes.
fn many_lines(turn: usize) -> String {
    let mut lines: Vec<String> = (0..64)
        .map(|n| line(&format!("ITEMS.V = {} AND ITEMS.V = {}", n % 4, n / 4 % 4)))
        .collect();
    lines.rotate_left(turn);
    lines.join("\n")
}

#[test]
fn threads_do_not_change_a_byte_and_the_order_of_lines_only_the_order() {
    let scorer = attribute_scorer();
    let run = |input: &str, threads: usize| {
        let dir = tempfile::tempdir().unwrap();
        let options = SegmentOptions {
            threads,
            ..options(dir.path(), 7)
        };
        let (result, outputs) = segment(&scorer, &[("q", input.as_bytes())], &options, &Silent);
        assert_eq!(result.unwrap().distinct_queries, 10);
        outputs[0].clone()
    };
    let first = run(&many_lines(0), 1);
    for threads in [2, 3, 8] {
        assert_eq!(run(&many_lines(0), threads), first);
    }
    let mut turned: Vec<String> = first.lines().map(str::to_owned).collect();
    turned.rotate_left(5);
    let found = run(&many_lines(5), 2);
    assert_eq!(found.lines().collect::<Vec<_>>(), turned);
}

#[test]
fn a_stopped_run_goes_on_and_other_questions_start_over() {
    let scorer = attribute_scorer();
    let input = many_lines(0);
    let files: Files<'_> = &[("q", input.as_bytes())];
    let whole = tempfile::tempdir().unwrap();
    let (_, expected) = segment(&scorer, files, &options(whole.path(), 7), &Silent);
    let dir = tempfile::tempdir().unwrap();
    // Two questions a block, so five blocks.
    let options = SegmentOptions {
        block_bytes: 2 * 8 * 7,
        ..options(dir.path(), 7)
    };
    let (result, outputs) = segment(&scorer, files, &options, &StopAt::new(4));
    assert!(matches!(result, Err(SegmentError::Stopped)) && outputs.is_empty());
    let blocks = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(blocks(), 3);
    let kept = std::fs::read(dir.path().join("block-000001")).unwrap();
    let (result, outputs) = segment(&scorer, files, &options, &Silent);
    assert!(result.is_ok() && outputs == expected);
    assert_eq!(blocks(), 5);
    assert_eq!(
        std::fs::read(dir.path().join("block-000001")).unwrap(),
        kept
    );
    let other = line("ITEMS.V = 3");
    let (_, outputs) = segment(&scorer, &[("q", other.as_bytes())], &options, &Silent);
    assert_eq!(outputs, [answered(&scorer, &other, &[3], 7)]);
}

#[test]
fn scores_are_the_probabilities_that_the_head_says() {
    let scorer = attribute_scorer();
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        scores: true,
        ..options(dir.path(), 4)
    };
    let input = line("ITEMS.V = 1");
    let (_, outputs) = segment(&scorer, &[("q", input.as_bytes())], &options, &Silent);
    let output: serde_json::Value = serde_json::from_str(&outputs[0]).unwrap();
    let found = output["output"]["scores"].as_array().unwrap();
    let expected = &scorer.top_users(&[[1u32]], 4, 1).unwrap()[0].scores;
    assert_eq!((found.len(), expected.len()), (4, 4));
    for (found, score) in found.iter().zip(expected) {
        let probability = -libm::expm1(-libm::exp(f64::from(*score)));
        assert!((found.as_f64().unwrap() - probability).abs() < 1e-5 * probability);
    }
}
