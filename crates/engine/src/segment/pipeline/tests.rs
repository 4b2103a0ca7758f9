//! The pipeline over memory: a worked example, malformed lines, several sources, interruptions.
//!
//! Outputs are compared byte for byte. Small models are written out by hand so that their rankings
//! can be seen; interruptions use a generated one.

use super::*;
use crate::data::source::MemorySource;
use crate::model::{Card, History, Parts};
use crate::progress::Silent;
use kindred_types::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug)]
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

/// Asks to stop when the step has come so far; notes the steps.
#[derive(Default)]
struct StopAt {
    step: &'static str,
    done: u64,
    reached: AtomicU64,
}

impl Progress for StopAt {
    fn report(&self, step: &str, done: u64, _total: u64, _detail: &str) {
        if step == self.step && done >= self.done {
            self.reached.store(1, Ordering::SeqCst);
        }
    }

    fn stopped(&self) -> bool {
        self.reached.load(Ordering::SeqCst) > 0
    }
}

/// Outputs by number; `None` until the sink was finished.
type Outputs = Arc<Mutex<Vec<Option<Vec<u8>>>>>;

struct MemorySink {
    index: usize,
    bytes: Vec<u8>,
    outputs: Outputs,
}

impl Write for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for MemorySink {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.outputs.lock().unwrap()[self.index] = Some(self.bytes);
        Ok(())
    }
}

/// A place to run jobs in: a model, options with their own scratch directory.
struct Bench {
    scorer: Scorer,
    options: SegmentOptions,
    _scratch: tempfile::TempDir,
}

struct Ran {
    result: Result<SegmentStatistics, SegmentError>,
    outputs: Vec<Option<Vec<u8>>>,
    sinks_opened: usize,
}

impl Ran {
    #[track_caller]
    fn text(&self, index: usize) -> String {
        if let Err(error) = &self.result {
            panic!("{error}");
        }
        let bytes = self.outputs[index].clone().expect("the sink was finished");
        String::from_utf8(bytes).unwrap()
    }

    /// The run must have failed for its input before any scoring and writing.
    #[track_caller]
    fn refused(&self, scorer: &Scorer) -> String {
        match &self.result {
            Err(SegmentError::Input(reason)) => {
                assert_eq!(scorer.tiles().total, 0, "something was scored");
                assert_eq!(self.sinks_opened, 0, "a sink was opened");
                reason.clone()
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Bench {
    fn new(model: Model, k: usize) -> Bench {
        let scratch = tempfile::tempdir().unwrap();
        let options = SegmentOptions {
            k,
            max_records: 0,
            documented_format: false,
            block_bytes: 1 << 20,
            threads: 2,
            scratch_dir: scratch.path().join("blocks"),
        };
        Bench {
            scorer: Scorer::new(Arc::new(model), None),
            options,
            _scratch: scratch,
        }
    }

    fn run_with(&self, sources: &[&dyn Source], progress: &dyn Progress) -> Ran {
        let outputs: Outputs = Arc::new(Mutex::new(vec![None; sources.len()]));
        let mut sinks_opened = 0;
        let mut sinks = |index: usize| -> io::Result<Box<dyn Sink>> {
            sinks_opened += 1;
            Ok(Box::new(MemorySink {
                index,
                bytes: Vec::new(),
                outputs: outputs.clone(),
            }))
        };
        let result = run(
            &self.scorer,
            sources,
            &mut sinks,
            &self.options,
            progress,
            &StillClock,
        );
        let outputs = outputs.lock().unwrap().clone();
        Ran {
            result,
            outputs,
            sinks_opened,
        }
    }

    fn run(&self, sources: &[(&str, &[u8])]) -> Ran {
        let sources = memory(sources);
        let sources: Vec<&dyn Source> =
            sources.iter().map(|source| source as &dyn Source).collect();
        self.run_with(&sources, &Silent)
    }
}

fn memory(sources: &[(&str, &[u8])]) -> Vec<MemorySource> {
    sources
        .iter()
        .map(|(name, bytes)| MemorySource::new(*name, bytes.to_vec()))
        .collect()
}

/// Four users and two items: item 105 is for 7, 3, 12, 1 in this order and item 106 for 3, 7, 1, 12.
fn four_users() -> Model {
    let vectors = [
        ("1", [0.0, 1.0]),
        ("12", [1.0, 0.0]),
        ("3", [2.0, 3.0]),
        ("7", [3.0, 2.0]),
    ];
    Model::new(Parts {
        dimension: 2,
        users: vectors.iter().map(|(id, _)| (*id).to_owned()).collect(),
        items: vec!["105".into(), "106".into()],
        user_vectors: vectors.iter().flat_map(|(_, vector)| *vector).collect(),
        user_offsets: vec![0.0; 4],
        item_vectors: vec![1.0, 0.0, 0.0, 1.0],
        item_offsets: vec![0.0; 2],
        history: History {
            starts: vec![0; 3],
            ..History::default()
        },
        card: Card::default(),
    })
    .unwrap()
}

fn bench() -> Bench {
    Bench::new(four_users(), 3)
}

const ANSWER_105: &str = r#"{"input": {"itemId": "105"}, "output": {"usersList": ["7","3","12"]}, "error": null}
"#;

#[test]
fn the_worked_example_comes_out_byte_for_byte() {
    let input = br#"{"itemId": "105"}
{"itemId":"nope"}

{"itemId": 106, "filterValues": {"AGE": "30"}}
not json
"#;
    let expected = r#"{"input": {"itemId": "105"}, "output": {"usersList": ["7","3","12"]}, "error": null}
{"input": {"itemId":"nope"}, "output": {"usersList": []}, "error": "User error: Item nope was not present when the solution version was created"}
{"input": {"itemId": 106, "filterValues": {"AGE": "30"}}, "output": {"usersList": ["3","7","1"]}, "error": null}
{"input": "not json", "output": {"usersList": []}, "error": "User error: Input line is not a valid JSON object"}
"#;
    let ran = bench().run(&[("s3://demo/in/q.json", input)]);
    assert_eq!(ran.text(0), expected);
    let statistics = ran.result.unwrap();
    assert_eq!((statistics.lines, statistics.line_errors), (4, 2));
    assert_eq!(statistics.distinct_queries, 2);
    assert_eq!(
        (statistics.users, statistics.items, statistics.dimension),
        (4, 2, 2)
    );
    assert_eq!(
        (statistics.k, statistics.output_bytes),
        (3, expected.len() as u64)
    );
}

#[test]
fn malformed_lines_get_their_texts_and_spoil_no_other() {
    let fields = "User error: Required fields for the provided recipe are itemId";
    let object = "User error: Input line is not a valid JSON object";
    // The line, its echo where that is not the line itself, the text.
    let cases: &[(&[u8], Option<&str>, &str)] = &[
        (b"{}", None, fields),
        (br#"{"itemid": "105"}"#, None, fields),
        (br#"{"itemId": null}"#, None, fields),
        (br#"{"itemId": 1.5}"#, None, fields),
        (br#"{"itemId": 105.0}"#, None, fields),
        (br#"{"itemId": 1e3}"#, None, fields),
        (br#"{"itemId": true}"#, None, fields),
        (br#"{"itemId": ["105"]}"#, None, fields),
        (br#"{"itemId": {"id": "105"}}"#, None, fields),
        (br#"{"itemId": "\ud800"}"#, None, fields),
        (br#"{"itemId": "105", "itemId": 0.5}"#, None, fields),
        (
            br#"{"itemAttributes": "ITEMS.genres = \"Comedy\""}"#,
            None,
            fields,
        ),
        (
            br#"{"itemId": "nope"}"#,
            None,
            "User error: Item nope was not present when the solution version was created",
        ),
        (
            br#"{"itemId": ""}"#,
            None,
            "User error: Item  was not present when the solution version was created",
        ),
        (
            br#"{"itemId": -105}"#,
            None,
            "User error: Item -105 was not present when the solution version was created",
        ),
        (
            br#"{"itemId": "a\"b\\c\n"}"#,
            None,
            r#"User error: Item a\"b\\c\n was not present when the solution version was created"#,
        ),
        (
            "{\"itemId\": \"日本\"}".as_bytes(),
            None,
            "User error: Item 日本 was not present when the solution version was created",
        ),
        (
            br#"{"itemId": 0105}"#,
            Some(r#""{\"itemId\": 0105}""#),
            object,
        ),
        (b"not json", Some("\"not json\""), object),
        (br#""105""#, Some(r#""\"105\"""#), object),
        (b"105", Some("\"105\""), object),
        (b"null", Some("\"null\""), object),
        (
            br#"[{"itemId": "105"}]"#,
            Some(r#""[{\"itemId\": \"105\"}]""#),
            object,
        ),
        (
            br#"{"itemId": "105""#,
            Some(r#""{\"itemId\": \"105\"""#),
            object,
        ),
        (
            br#"{"itemId": "105",}"#,
            Some(r#""{\"itemId\": \"105\",}""#),
            object,
        ),
        (b"{'itemId': '105'}", Some("\"{'itemId': '105'}\""), object),
        (
            br#"{"itemId": "105"} {"itemId": "106"}"#,
            Some(r#""{\"itemId\": \"105\"} {\"itemId\": \"106\"}""#),
            object,
        ),
        (
            b"{\"itemId\": \"1\t05\"}",
            Some(r#""{\"itemId\": \"1\t05\"}""#),
            object,
        ),
        (b"\xff\xfe{", Some("\"\u{fffd}\u{fffd}{\""), object),
        (
            b"{\"itemId\": \"\xff\"}",
            Some("\"{\\\"itemId\\\": \\\"\u{fffd}\\\"}\""),
            object,
        ),
    ];
    for (line, echo, error) in cases {
        let shown = String::from_utf8_lossy(line).into_owned();
        let input = [
            b"{\"itemId\": \"105\"}\n",
            *line,
            b"\n{\"itemId\": \"105\"}\n",
        ]
        .concat();
        let ran = bench().run(&[("in", &input)]);
        let echo = echo.map_or(shown.clone(), str::to_owned);
        let answer = format!(
            "{{\"input\": {echo}, \"output\": {{\"usersList\": []}}, \"error\": \"{error}\"}}\n"
        );
        assert_eq!(
            ran.text(0),
            format!("{ANSWER_105}{answer}{ANSWER_105}"),
            "{shown}"
        );
        for line in ran.text(0).lines() {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|error| panic!("{shown}: {error}"));
        }
        assert_eq!(ran.result.unwrap().line_errors, 1, "{shown}");
    }
}

#[test]
fn a_line_that_is_too_long_is_answered_with_its_beginning() {
    let long = format!("{{\"itemId\": \"105\", \"x\": \"{}\"}}", "y".repeat(70_000));
    let input = format!("{{\"itemId\": \"105\"}}\n{long}\r\n{{\"itemId\": \"105\"}}");
    let ran = bench().run(&[("in", input.as_bytes())]);
    let echo = serde_json::to_string(&long[..64 << 10]).unwrap();
    let answer = format!(
        "{{\"input\": {echo}, \"output\": {{\"usersList\": []}}, \"error\": \"User error: Input line is not a valid JSON object\"}}\n"
    );
    let text = ran.text(0);
    assert!(
        text == format!("{ANSWER_105}{answer}{ANSWER_105}"),
        "{} bytes",
        text.len()
    );
}

#[test]
fn the_longest_line_is_answered() {
    let start = "{\"itemId\": \"105\", \"x\": \"";
    let line = format!("{start}{}\"}}", "y".repeat((64 << 10) - start.len() - 2));
    let ran = bench().run(&[("in", format!("{line}\r\n").as_bytes())]);
    let expected = format!(
        "{{\"input\": {line}, \"output\": {{\"usersList\": [\"7\",\"3\",\"12\"]}}, \"error\": null}}\n"
    );
    assert!(ran.text(0) == expected);
}

#[test]
fn byte_order_mark_line_ends_and_blank_lines_leave_no_trace() {
    let input = b"\xEF\xBB\xBF\r\n \t \r\n  {\"itemId\": \"105\"}  \r\n\n\r\n{\"itemId\": \"105\"}";
    let ran = bench().run(&[("in", input)]);
    assert_eq!(ran.text(0), format!("{ANSWER_105}{ANSWER_105}"));
    assert_eq!(ran.result.unwrap().lines, 2);
}

#[test]
fn an_escaped_id_is_the_same_query_and_echoed_as_written() {
    let input =
        b"{\"itemId\":\"\\u0031\\u0030\\u0035\"}\n{\"itemId\" : 105}\n{\"itemId\": \"105\"}\n";
    let ran = bench().run(&[("in", input)]);
    let rest = "\"output\": {\"usersList\": [\"7\",\"3\",\"12\"]}, \"error\": null}\n";
    let expected = format!(
        "{{\"input\": {{\"itemId\":\"\\u0031\\u0030\\u0035\"}}, {rest}{{\"input\": {{\"itemId\" : 105}}, {rest}{ANSWER_105}"
    );
    assert_eq!(ran.text(0), expected);
    assert_eq!(ran.result.unwrap().distinct_queries, 1);
}

#[test]
fn every_source_keeps_its_order_and_its_own_output() {
    let model = Model::generated(50, 40, 6, 3);
    let mut bench = Bench::new(model, 4);
    // Blocks of one query and hardly a rendered line kept: answers come from many files.
    bench.options.block_bytes = 8 * 4;
    let line = |item: usize| format!("{{\"itemId\": \"i{item:07}\"}}\n");
    let inputs: Vec<String> = (0..3)
        .map(|source| (0..120).map(|n| line((n * 7 + source * 13) % 40)).collect())
        .collect();
    let sources: Vec<(&str, &[u8])> = ["a", "b", "c"]
        .into_iter()
        .zip(&inputs)
        .map(|(name, text)| (name, text.as_bytes()))
        .collect();
    let ran = bench.run(&sources);
    let all: Vec<u32> = (0..40).collect();
    let rankings = bench.scorer.top_users(&all, 4, 1).unwrap();
    for (index, input) in inputs.iter().enumerate() {
        let mut expected = String::new();
        for line in input.lines() {
            let item: usize = line[13..20].parse().unwrap();
            let users: Vec<String> = rankings[item]
                .users
                .iter()
                .map(|user| format!("\"u{user:07}\""))
                .collect();
            expected.push_str(&format!(
                "{{\"input\": {line}, \"output\": {{\"usersList\": [{}]}}, \"error\": null}}\n",
                users.join(",")
            ));
        }
        assert_eq!(ran.text(index), expected, "source {index}");
    }
    assert_eq!(ran.result.unwrap().distinct_queries, 40);
}

#[test]
fn compressed_sources_are_unpacked_and_broken_ones_are_the_users() {
    use flate2::{Compression, write::GzEncoder};
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(b"{\"itemId\": \"105\"}\n").unwrap();
    let packed = packed.finish().unwrap();
    let ran = bench().run(&[("s3://b/q.json.gz", &packed)]);
    assert_eq!(ran.text(0), ANSWER_105);

    let bench = bench();
    for broken in [&packed[..packed.len() - 9], b"{\"itemId\": \"105\"}\n"] {
        let reason = bench
            .run(&[("s3://b/q.json.gz", broken)])
            .refused(&bench.scorer);
        assert!(
            reason.starts_with("Input s3://b/q.json.gz cannot be unpacked: "),
            "{reason}"
        );
    }
}

#[test]
fn arrays_and_pretty_printed_files_fail_before_any_scoring() {
    let good: &[u8] = b"{\"itemId\": \"105\"}\n";
    let bad: [&[u8]; 6] = [
        b"[{\"itemId\": \"105\"}]",
        b"[\n{\"itemId\": \"105\"},\n{\"itemId\": \"106\"}\n]\n",
        b"\xEF\xBB\xBF\n\r\n  [\n{\"itemId\": \"105\"}\n]",
        b"{\n  \"itemId\": \"105\"\n}\n",
        b"itemId\n105\n",
        b"\"105\"\n",
    ];
    for input in bad {
        let bench = bench();
        let expected = "Input s3://b/two is not JSON Lines: expected one JSON object per line.";
        let shown = String::from_utf8_lossy(input);
        assert_eq!(
            bench.run(&[("s3://b/two", input)]).refused(&bench.scorer),
            expected,
            "{shown}"
        );
        let both = bench.run(&[("s3://b/one", good), ("s3://b/two", input)]);
        assert_eq!(both.refused(&bench.scorer), expected, "{shown}");
    }
}

#[test]
fn the_limit_on_records_counts_all_sources_and_no_blank_lines() {
    let two: &[u8] = b"{\"itemId\": \"105\"}\n\n\nx\n";
    let one: &[u8] = b"\n{\"itemId\": \"105\"}\n";
    let mut bench = bench();
    bench.options.max_records = 2;
    let reason = bench.run(&[("a", two), ("b", one)]).refused(&bench.scorer);
    assert_eq!(reason, "Input has more than 2 records.");
    for limit in [3, 0] {
        bench.options.max_records = limit;
        let ran = bench.run(&[("a", two), ("b", one)]);
        assert_eq!(ran.text(1), ANSWER_105);
        assert_eq!(ran.result.unwrap().lines, 3);
    }
}

#[test]
fn empty_sources_have_empty_outputs() {
    let ran = bench().run(&[
        ("a", b""),
        ("b", b"\n \r\n"),
        ("c", b"{\"itemId\": \"105\"}"),
    ]);
    assert_eq!(
        (ran.text(0), ran.text(1), ran.text(2)),
        (String::new(), String::new(), ANSWER_105.into())
    );
    let ran = bench().run(&[]);
    assert_eq!(ran.result.unwrap().lines, 0);
}

#[test]
fn a_short_model_gives_all_its_users_once() {
    let mut bench = Bench::new(four_users(), 1000);
    let ran = bench.run(&[("in", b"{\"itemId\": \"106\"}\n")]);
    let all = "{\"input\": {\"itemId\": \"106\"}, \"output\": {\"usersList\": [\"3\",\"7\",\"1\",\"12\"]}, \"error\": null}\n";
    assert_eq!(ran.text(0), all);

    // No candidate at all: empty lists, which are no errors.
    bench.scorer = Scorer::new(Arc::new(four_users()), Some(&[]));
    let ran = bench.run(&[("in", b"{\"itemId\": \"106\"}\n")]);
    let none =
        "{\"input\": {\"itemId\": \"106\"}, \"output\": {\"usersList\": []}, \"error\": null}\n";
    assert_eq!(ran.text(0), none);
}

#[test]
fn equal_scores_are_ordered_by_the_bytes_of_the_user_ids() {
    let ids = ["10", "9", "A", "a", "ä"];
    let model = Model::new(Parts {
        dimension: 1,
        users: ids.iter().map(|id| (*id).to_owned()).collect(),
        items: vec!["x".into()],
        user_vectors: vec![0.5; 5],
        user_offsets: vec![0.0; 5],
        item_vectors: vec![1.0],
        item_offsets: vec![0.0],
        history: History {
            starts: vec![0; 2],
            ..History::default()
        },
        card: Card::default(),
    });
    let ran = Bench::new(model.unwrap(), 4).run(&[("in", b"{\"itemId\":\"x\"}")]);
    let expected = "{\"input\": {\"itemId\":\"x\"}, \"output\": {\"usersList\": [\"10\",\"9\",\"A\",\"a\"]}, \"error\": null}\n";
    assert_eq!(ran.text(0), expected);
}

#[test]
fn the_documented_format_has_both_lists() {
    let mut bench = bench();
    bench.options.documented_format = true;
    let ran = bench.run(&[("in", b"{\"itemId\": \"105\"}\nx\n")]);
    let expected = r#"{"input": {"itemId": "105"}, "output": {"usersList": ["7","3","12"], "recommendedUsers": ["7","3","12"]}, "error": null}
{"input": "x", "output": {"usersList": [], "recommendedUsers": []}, "error": "User error: Input line is not a valid JSON object"}
"#;
    assert_eq!(ran.text(0), expected);
}

/// Every item of a generated model twice, the second time backwards.
fn all_items(count: usize) -> Vec<u8> {
    let line = |item: usize| format!("{{\"itemId\": \"i{item:07}\"}}\n");
    let text: String = (0..count)
        .map(line)
        .chain((0..count).rev().map(line))
        .collect();
    text.into_bytes()
}

#[test]
fn a_stopped_run_goes_on_behind_its_last_block_with_the_same_bytes() {
    const ITEMS: usize = 30;
    const K: usize = 5;
    let model = Model::generated(200, ITEMS, 8, 11);
    let input = all_items(ITEMS);
    let expected = Bench::new(model.clone(), K).run(&[("in", &input)]).text(0);
    let source = MemorySource::new("in", input);
    // One query per block.
    let bench = || {
        let mut bench = Bench::new(model.clone(), K);
        bench.options.block_bytes = 8 * K;
        bench
    };
    let whole = bench();
    whole.run_with(&[&source], &Silent).result.unwrap();
    let tiles_of_all = whole.scorer.tiles().total;
    assert_eq!(tiles_of_all % ITEMS as u64, 0);

    for finished in [0, 1, 2, 17, 29] {
        let mut bench = bench();
        let stop = StopAt {
            step: "score queries",
            done: finished,
            ..StopAt::default()
        };
        let ran = bench.run_with(&[&source], &stop);
        assert!(
            matches!(ran.result, Err(SegmentError::Stopped)),
            "{:?}",
            ran.result
        );
        assert_eq!(ran.sinks_opened, 0);
        // Another process: a scorer of its own, the same scratch directory.
        bench.scorer = Scorer::new(Arc::new(model.clone()), None);
        let ran = bench.run_with(&[&source], &Silent);
        assert_eq!(ran.text(0), expected, "stopped after {finished} blocks");
        let left = tiles_of_all / ITEMS as u64 * (ITEMS as u64 - finished);
        assert_eq!(
            bench.scorer.tiles().total,
            left,
            "stopped after {finished} blocks"
        );
        assert_eq!(ran.result.unwrap().tiles_total, left);
    }
}

#[test]
fn a_damaged_block_is_scored_again_and_no_other() {
    const ITEMS: usize = 12;
    let model = Model::generated(100, ITEMS, 4, 5);
    let source = MemorySource::new("in", all_items(ITEMS));
    let mut bench = Bench::new(model.clone(), 5);
    bench.options.block_bytes = 8 * 5;
    let expected = bench.run_with(&[&source], &Silent).text(0);
    let each = bench.scorer.tiles().total / ITEMS as u64;
    let path = bench.options.scratch_dir.join("block-000007");
    let whole = std::fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        std::fs::write(&path, bytes).unwrap();
        bench.scorer = Scorer::new(Arc::new(model.clone()), None);
        assert_eq!(
            bench.run_with(&[&source], &Silent).text(0),
            expected,
            "byte {position}"
        );
        assert_eq!(bench.scorer.tiles().total, each, "byte {position}");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(bench.run_with(&[&source], &Silent).text(0), expected);
}

#[test]
fn blocks_of_other_options_or_queries_are_not_taken_up() {
    let model = Model::generated(60, 10, 4, 9);
    let mut bench = Bench::new(model.clone(), 3);
    let few: &[u8] = b"{\"itemId\": \"i0000003\"}\n";
    let others: &[u8] = b"{\"itemId\": \"i0000004\"}\n";
    let first = bench.run(&[("in", few)]).text(0);
    assert_eq!(
        bench.run(&[("in", others)]).text(0),
        Bench::new(model.clone(), 3).run(&[("in", others)]).text(0)
    );
    bench.options.k = 7;
    assert_eq!(
        bench.run(&[("in", few)]).text(0),
        Bench::new(model, 7).run(&[("in", few)]).text(0)
    );
    bench.options.k = 3;
    assert_eq!(bench.run(&[("in", few)]).text(0), first);
}

#[test]
fn a_stop_while_reading_or_writing_leaves_no_output() {
    let input = b"{\"itemId\": \"105\"}\n".repeat(70_000);
    let source = MemorySource::new("in", input);
    for step in ["read queries", "write segments"] {
        let stop = StopAt {
            step,
            ..StopAt::default()
        };
        let ran = bench().run_with(&[&source], &stop);
        assert!(
            matches!(ran.result, Err(SegmentError::Stopped)),
            "{step}: {:?}",
            ran.result
        );
        assert_eq!(ran.outputs, [None], "{step}");
    }
}

/// A source or sink whose every use fails.
struct Broken;

impl Source for Broken {
    fn name(&self) -> &str {
        "s3://b/gone"
    }

    fn size(&self) -> u64 {
        1
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Err(io::Error::other("away"))
    }
}

impl Write for Broken {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("full"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Broken {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn trouble_with_sources_and_sinks_keeps_its_cause() {
    let bench = bench();
    let error = bench.run_with(&[&Broken], &Silent).result.unwrap_err();
    assert!(
        matches!(&error, SegmentError::Read { name, .. } if name == "s3://b/gone"),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "cannot read s3://b/gone: away");

    let source = MemorySource::new("in", &b"{\"itemId\": \"105\"}\n"[..]);
    let mut sinks = |_: usize| -> io::Result<Box<dyn Sink>> { Ok(Box::new(Broken)) };
    let result = run(
        &bench.scorer,
        &[&source],
        &mut sinks,
        &bench.options,
        &Silent,
        &StillClock,
    );
    let error = result.unwrap_err();
    assert!(matches!(error, SegmentError::Write { .. }), "{error:?}");
    assert_eq!(error.to_string(), "cannot write the output: full");
}
