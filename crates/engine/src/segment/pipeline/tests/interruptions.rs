//! What an interrupted job leaves, and what the next try makes of it; ties, short models, cut lines.
//!
//! Outputs are compared byte for byte, and the scorer's tiles tell what was scored again.

use crate::data::source::MemorySource;
use crate::model::Model;
use crate::model::{Card, History, Parts};
use crate::progress::Silent;
use crate::score::Scorer;
use crate::segment::pipeline::*;
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
}

impl Bench {
    fn new(model: Model, k: usize) -> Bench {
        let scratch = tempfile::tempdir().unwrap();
        let options = SegmentOptions {
            k,
            max_records: 0,
            documented_format: false,
            scores: false,
            memory_bytes: 64 << 20,
            block_bytes: 1 << 20,
            threads: 2,
            scratch_dir: scratch.path().join("blocks"),
            scratch_vault: Default::default(),
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
            &Selection::default(),
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
        user_log_rates: vec![0.0; 4],
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
        user_log_rates: vec![0.0; 5],
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

#[test]
fn a_stopped_run_with_scores_goes_on_with_the_same_bytes() {
    const ITEMS: usize = 30;
    let model = Model::generated(200, ITEMS, 8, 11);
    let source = MemorySource::new("in", all_items(ITEMS));
    let bench = |block_bytes| {
        let mut bench = Bench::new(model.clone(), 5);
        bench.options.scores = true;
        bench.options.block_bytes = block_bytes;
        bench
    };
    let expected = bench(1 << 20).run_with(&[&source], &Silent).text(0);
    let whole = bench(8 * 5);
    assert_eq!(whole.run_with(&[&source], &Silent).text(0), expected);
    let tiles_of_one = whole.scorer.tiles().total / ITEMS as u64;
    for finished in [1, 17, 29] {
        let mut bench = bench(8 * 5);
        let stop = StopAt {
            step: "score queries",
            done: finished,
            ..StopAt::default()
        };
        let ran = bench.run_with(&[&source], &stop);
        assert!(matches!(ran.result, Err(SegmentError::Stopped)));
        bench.scorer = Scorer::new(Arc::new(model.clone()), None);
        let ran = bench.run_with(&[&source], &Silent);
        assert_eq!(ran.text(0), expected, "stopped after {finished} blocks");
        let left = tiles_of_one * (ITEMS as u64 - finished);
        assert_eq!(bench.scorer.tiles().total, left, "{finished} blocks");
    }
    // The numbers are those of the scorer, one for each user, and never ascend.
    let scorer = Scorer::new(Arc::new(model), None);
    for line in expected.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let item = scorer
            .model()
            .item(json["input"]["itemId"].as_str().unwrap());
        let ranking = &scorer.top_users(&[item.unwrap()], 5, 1).unwrap()[0];
        let scores = json["output"]["scores"].as_array().unwrap();
        assert_eq!(scores.len(), ranking.scores.len());
        let mut last = 1.0;
        for (written, score) in scores.iter().zip(&ranking.scores) {
            let written = written.as_f64().unwrap();
            let exact = 1.0 - (-f64::from(*score).exp()).exp();
            assert!((written - exact).abs() <= 6e-6 * exact && written <= last);
            last = written;
        }
    }
}
