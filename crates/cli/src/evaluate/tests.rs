//! On the bundled sample: the segments are those of a job on a file cut by hand, the figures are
//! counted again from the two files, and no number of threads changes them.

use super::args::parse_time;
use super::*;
use crate::{Cli, Command, sample};
use clap::Parser;
use flate2::read::GzDecoder;
use kindred_engine::score::Ranking;
use kindred_types::item_query;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use tempfile::TempDir;

/// 2017-12-01, of a year that ends on 2018-01-01.
const SPLIT: i64 = 1_512_086_400;
const HORIZON: i64 = 14 * DAY;

/// Rows of (user, item, time) and the header of the bundled interactions.
fn purchases() -> (String, Vec<(String, i64)>) {
    let mut text = String::new();
    GzDecoder::new(sample::FILES[0].1)
        .read_to_string(&mut text)
        .unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap().to_owned();
    assert!(header.starts_with("USER_ID,ITEM_ID,TIMESTAMP"));
    let time = |line: &str| line.split(',').nth(2).unwrap().parse().unwrap();
    (
        header,
        lines.map(|line| (line.to_owned(), time(line))).collect(),
    )
}

/// Every `every`-th household of the sample, so that a test takes seconds.
fn write(dir: &TempDir, every: usize, keep: impl Fn(i64) -> bool, name: &str) -> PathBuf {
    let (header, rows) = purchases();
    let mut text = header + "\n";
    for (line, time) in rows {
        let user: usize = line.split(',').next().unwrap().parse().unwrap();
        if user.is_multiple_of(every) && keep(time) {
            text += &line;
            text.push('\n');
        }
    }
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn arguments(words: &[&str]) -> Box<EvaluateArgs> {
    let words = ["kindred", "evaluate"].iter().chain(words);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Evaluate(args) => args,
        other => panic!("{other:?}"),
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `kindred segment` on `interactions` with some queries; the users of each line, in order.
fn segments(
    dir: &TempDir,
    interactions: &Path,
    queries: &[Value],
    more: &[&str],
) -> Vec<Vec<String>> {
    let (input, output) = (dir.path().join("q.jsonl"), dir.path().join("q.out"));
    let lines = queries.iter().map(|query| format!("{query}\n"));
    std::fs::write(&input, lines.collect::<String>()).unwrap();
    let words = [
        "kindred",
        "segment",
        "--interactions",
        path_text(interactions),
        "--input",
        path_text(&input),
        "--output",
        path_text(&output),
        "--hidden-dimension",
        "32",
    ];
    let words = words.iter().chain(more);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Segment(args) => crate::segment::run(&args).unwrap(),
        other => panic!("{other:?}"),
    }
    let output = std::fs::read_to_string(&output).unwrap();
    let users = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let users = line["output"]["usersList"].as_array().unwrap().clone();
        users
            .iter()
            .map(|user| user.as_str().unwrap().to_owned())
            .collect()
    };
    output.lines().map(users).collect()
}

fn names(users: &[String], ranking: &Ranking) -> Vec<String> {
    let numbers = ranking.users.iter();
    numbers.map(|&user| users[user as usize].clone()).collect()
}

#[test]
fn the_segments_are_those_of_a_job_on_a_file_cut_by_hand() {
    let dir = TempDir::new().unwrap();
    let all = write(&dir, 4, |_| true, "all.csv");
    let before = write(&dir, 4, |time| time < SPLIT, "before.csv");
    let args = arguments(&[
        "--interactions",
        path_text(&all),
        "--split",
        "2017-12-01",
        "--horizon-days",
        "14",
        "--hidden-dimension",
        "32",
    ]);
    let scratch = Scratch::new(&dir.path().join("x")).unwrap();
    let run = Run::new(&args, &scratch).unwrap();
    let day = run.cut().unwrap();
    let scorer = run.item_model(&day).unwrap();
    let (users, items) = (scorer.model().users(), scorer.model().items());
    let numbers: Vec<u32> = (0..items.len() as u32).collect();
    let found = time_split(&scorer, &day.cut, &Protocol::default(), 2).unwrap();
    let rankings = scorer.top_users(&numbers, found.k, 2).unwrap();

    let queries: Vec<Value> = items.iter().map(|item| json!({"itemId": item})).collect();
    let k = found.k.to_string();
    let lists = segments(&dir, &before, &queries, &["--num-results", &k]);
    assert_eq!(lists.len(), items.len());
    for (list, ranking) in lists.iter().zip(&rankings) {
        assert_eq!(list, &names(users, ranking));
    }
    let segments = items.iter().cloned().zip(lists).collect();
    counted_again(&found, &segments, &all);
}

#[test]
fn the_same_with_items_for_both_recipes() {
    let dir = TempDir::new().unwrap();
    let all = write(&dir, 8, |_| true, "all.csv");
    let before = write(&dir, 8, |time| time < SPLIT, "before.csv");
    let items = dir.path().join("items.csv.gz");
    std::fs::write(&items, sample::FILES[1].1).unwrap();
    let items = path_text(&items);
    let args = arguments(&[
        "--interactions",
        path_text(&all),
        "--items",
        items,
        "--split",
        "2017-12-01",
        "--hidden-dimension",
        "32",
    ]);
    let scratch = Scratch::new(&dir.path().join("x")).unwrap();
    let run = Run::new(&args, &scratch).unwrap();
    let day = run.cut().unwrap();
    let scorer = run.attribute_model(&day).unwrap();
    let index = scorer.model().index();
    let texts = [
        "ITEMS.BRAND = \"Private\"",
        "ITEMS.DEPARTMENT = \"GROCERY\"",
        "ITEMS.DEPARTMENT = \"PRODUCE\" AND ITEMS.BRAND = \"National\"",
    ];
    let resolve = |text| index.resolve(&item_query::parse(text).unwrap()).unwrap();
    let rankings = scorer.top_users(&texts.map(resolve), 50, 2).unwrap();
    let queries = texts.map(|text| json!({"itemAttributes": text}));
    let recipe = "item-attribute-affinity";
    let more = ["--num-results", "50", "--items", items, "--recipe", recipe];
    let lists = segments(&dir, &before, &queries, &more);
    for (list, ranking) in lists.iter().zip(&rankings) {
        assert_eq!(list.len(), 50);
        assert_eq!(list, &names(scorer.model().model().users(), ranking));
    }

    let scorer = run.item_model(&day).unwrap();
    let numbers: Vec<u32> = (0..scorer.model().items().len() as u32).collect();
    let rankings = scorer.top_users(&numbers, 50, 2).unwrap();
    let ids = scorer.model().items().iter();
    let queries: Vec<Value> = ids.map(|item| json!({"itemId": item})).collect();
    let lists = segments(&dir, &before, &queries, &more[..4]);
    assert_eq!(lists.len(), rankings.len());
    for (list, ranking) in lists.iter().zip(&rankings) {
        assert_eq!(list, &names(scorer.model().users(), ranking));
    }
}

/// Hits, recall and coverage from the segments and the rows of the file alone.
fn counted_again(found: &Evaluation, segments: &HashMap<String, Vec<String>>, all: &Path) {
    let text = std::fs::read_to_string(all).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    let time = |row: &[&str]| row[2].parse::<i64>().unwrap();
    let population: HashSet<&str> = rows
        .iter()
        .filter(|row| time(row) < SPLIT)
        .map(|row| row[0])
        .collect();
    let mut came: HashMap<&str, HashSet<&str>> = HashMap::new();
    for row in &rows {
        let inside = (SPLIT..SPLIT + HORIZON).contains(&time(row));
        if inside && population.contains(row[0]) && segments.contains_key(row[1]) {
            came.entry(row[1]).or_default().insert(row[0]);
        }
    }
    assert_eq!(found.population, population.len());
    assert_eq!(found.k, population.len().div_ceil(100));
    assert_eq!(
        (found.queries, found.queries_asked),
        (came.len(), segments.len())
    );
    let (mut hits, mut recall) = (0.0, 0.0);
    let mut named = HashSet::new();
    for (item, actual) in &came {
        let list = &segments[*item];
        let right = list
            .iter()
            .filter(|user| actual.contains(user.as_str()))
            .count();
        hits += right as f64;
        recall += right as f64 / actual.len() as f64;
        named.extend(list);
    }
    let queries = came.len() as f64;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    near(found.model.hits_at_1_percent, hits / queries);
    near(found.model.recall_at_1_percent, recall / queries);
    near(
        found.model.coverage,
        named.len() as f64 / population.len() as f64,
    );
}

#[test]
fn the_figures_are_plausible_and_the_same_for_any_number_of_threads() {
    let dir = TempDir::new().unwrap();
    let all = write(&dir, 4, |_| true, "all.csv");
    let json = |threads: &str| {
        let args = arguments(&[
            "--interactions",
            path_text(&all),
            "--hidden-dimension",
            "32",
            "--threads",
            threads,
        ]);
        let reports = reports(&args).unwrap();
        let text = text::table(&reports[0]);
        (reports[0].json().unwrap(), text)
    };
    let (found, text) = json("1");
    assert_eq!(json("8"), (found.clone(), text.clone()));

    let recall = |figures: &Value| figures["recall_at_1_percent"].as_f64().unwrap();
    let model = recall(&found["model"]);
    let baselines: HashMap<&str, f64> = found["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|baseline| (baseline["name"].as_str().unwrap(), recall(baseline)))
        .collect();
    for name in ["random", "most_active", "most_recent"] {
        assert!(model > 2.0 * baselines[name], "{name}: {found}");
    }
    assert!(model > baselines["own_history"], "{found}");
    assert_eq!(found["horizon_seconds"], 30 * DAY);
    let lift = found["lift"].as_array().unwrap();
    assert_eq!(lift.len(), 6);
    assert_eq!(lift[1]["recall"], found["model"]["recall_at_1_percent"]);
    let calibration = &found["calibration"];
    assert_eq!(calibration["bins"].as_array().unwrap().len(), 10);
    let ratio = calibration["predicted_total"].as_f64().unwrap()
        / calibration["happened_total"].as_f64().unwrap();
    assert!((0.5..2.0).contains(&ratio), "{calibration}");
    assert_eq!(found["cold_items"], Value::Null);
    for words in ["Kindred", "who had it before", "times", "predicted"] {
        assert!(text.contains(words), "{text}");
    }
}

/// Two thousand rows of forty users over a hundred days.
fn small(dir: &TempDir) -> PathBuf {
    let mut text = "USER_ID,ITEM_ID,TIMESTAMP\n".to_owned();
    for row in 0..2000i64 {
        text += &format!(
            "u{},i{},{}\n",
            row % 40,
            row * 7 % 31,
            row * 100 * DAY / 2000
        );
    }
    let path = dir.path().join("small.csv");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_cannot_be_evaluated_is_said_with_the_flag() {
    let dir = TempDir::new().unwrap();
    let interactions = small(&dir);
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let nothing_known = file("unknown.jsonl", "{\"itemId\": \"nobody\"}\n");
    let broken = file("broken.jsonl", "{\"itemId\": \"i1\"}\n\n{\"item\": 3}\n");
    let cases: [(&[&str], &str); 6] = [
        (&["--split", "0"], "--split 0: nothing happened before"),
        (
            &["--split", "9000000"],
            "--split 9000000: nothing happened from",
        ),
        (
            &["--horizon-days", "200"],
            "--horizon-days 200: nothing happened before",
        ),
        (
            &["--split", "1970-01-11"],
            "is too early: Dataset has fewer than 1000",
        ),
        (
            &["--queries", &nothing_known],
            "nothing that is asked for was known and used before",
        ),
        (&["--queries", &broken], "line 3: expected {\"itemId\""),
    ];
    for (words, expected) in cases {
        let all: Vec<&str> = ["--interactions", path_text(&interactions)]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let error = reports(&arguments(&all)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let all = [
        "--interactions",
        path_text(&interactions),
        "--first-time-only",
    ];
    let error = reports(&arguments(&all)).unwrap_err().to_string();
    assert!(
        error.contains("a known user came for the first time within"),
        "{error}"
    );
}

#[test]
fn named_queries_and_unknown_ones() {
    let dir = TempDir::new().unwrap();
    let interactions = small(&dir);
    let queries = dir.path().join("queries.jsonl");
    let lines =
        "{\"itemId\": \"i3\"}\n{\"itemId\": \"i4\"}\n{\"itemId\": \"i3\"}\n{\"itemId\": 12}\n";
    std::fs::write(&queries, lines).unwrap();
    let args = arguments(&[
        "--interactions",
        path_text(&interactions),
        "--queries",
        path_text(&queries),
        "--hidden-dimension",
        "32",
        "--without",
        "intensity,own-history",
        "--model",
        "ials",
    ]);
    let scratch = Scratch::new(&dir.path().join("x")).unwrap();
    let run = Run::new(&args, &scratch).unwrap();
    let options = run.options(&run.cut().unwrap());
    assert_eq!(options.model, ModelChoice::Ials);
    assert!(options.without.intensity && options.without.own_history);
    assert!(!options.without.kappa && !options.without.lookback);
    let report = &reports(&args).unwrap()[0];
    assert_eq!((report.evaluation.queries, report.queries_unknown), (2, 1));
    assert_eq!(report.evaluation.population, 40);
    assert!(text::table(report).contains("1 more are unknown"));
}

#[test]
fn with_items_both_recipes_are_measured() {
    let dir = TempDir::new().unwrap();
    let all = write(&dir, 4, |_| true, "all.csv");
    let items = dir.path().join("items.csv.gz");
    std::fs::write(&items, sample::FILES[1].1).unwrap();
    let queries = dir.path().join("queries.jsonl");
    let lines = [
        r#"{"itemAttributes": "ITEMS.DEPARTMENT = \"GROCERY\" AND ITEMS.BRAND = \"Private\""}"#,
        r#"{"itemAttributes": "ITEMS.BRAND = \"Private\" AND ITEMS.DEPARTMENT = \"GROCERY\""}"#,
        r#"{"itemAttributes": "ITEMS.BRAND = \"Nobody's\""}"#,
    ];
    std::fs::write(&queries, lines.join("\n")).unwrap();
    let common = [
        "--interactions",
        path_text(&all),
        "--items",
        path_text(&items),
        "--hidden-dimension",
        "32",
    ];
    let found = reports(&arguments(&common)).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].recipe, Recipe::ItemAffinity);
    let attributes = &found[1].evaluation;
    assert_eq!(found[1].recipe, Recipe::ItemAttributeAffinity);
    assert!(attributes.queries > 100, "{attributes:?}");
    let recall = attributes.model.recall_at_1_percent;
    for baseline in &attributes.baselines[..2] {
        let simple = baseline.figures.recall_at_1_percent;
        assert!(recall > simple, "{baseline:?} {attributes:?}");
    }

    let words = common
        .iter()
        .copied()
        .chain(["--queries", path_text(&queries)]);
    let found = reports(&arguments(&words.collect::<Vec<_>>())).unwrap();
    assert_eq!(found.len(), 1);
    let (named, unknown) = (&found[0].evaluation, found[0].queries_unknown);
    assert_eq!((named.queries, named.queries_asked, unknown), (1, 1, 1));
    let words = common[..2]
        .iter()
        .copied()
        .chain(["--queries", path_text(&queries)]);
    let error = reports(&arguments(&words.collect::<Vec<_>>())).unwrap_err();
    assert!(
        error.to_string().contains("without --items FILE"),
        "{error}"
    );
    let recipe = ["--recipe", "item-attribute-affinity"];
    let words = common[..2].iter().copied().chain(recipe);
    let error = reports(&arguments(&words.collect::<Vec<_>>())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("needs the attributes of --items"),
        "{error}"
    );
}

#[test]
fn times_are_seconds_or_days() {
    assert_eq!(parse_time("1512086400"), Ok(SPLIT));
    assert_eq!(parse_time("2017-12-01"), Ok(SPLIT));
    for wrong in ["", "yesterday", "2017-13-01", "2017-12-01T00:00"] {
        assert!(parse_time(wrong).is_err(), "{wrong}");
    }
}
