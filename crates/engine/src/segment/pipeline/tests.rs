//! The pipeline over memory: the specification's example, odd lines and files, changing inputs.

mod attributes;
mod bulk;
mod filters;
mod interruptions;

use super::*;
use crate::data::source::MemorySource;
use crate::model::{Card, History, Model, Parts};
use crate::progress::Silent;
use crate::score::Scorer;
use kindred_types::time::Timestamp;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A model whose rankings are known: the users of an item's list in this order, then all others by id.
fn scorer(users: &[&str], items: &[(&str, &[&str])]) -> Scorer {
    let number = |id: &&str| users.iter().position(|user| user == id).unwrap() as u32;
    let mut history = History {
        starts: vec![0],
        ..History::default()
    };
    for (_, list) in items {
        let places = list.iter().enumerate();
        let mut pairs: Vec<(u32, f32)> = places
            .map(|(place, id)| (number(id), 100.0 - place as f32))
            .collect();
        pairs.sort_by_key(|pair| pair.0);
        history.users.extend(pairs.iter().map(|pair| pair.0));
        history.scores.extend(pairs.iter().map(|pair| pair.1));
        history.starts.push(history.users.len());
    }
    let parts = Parts {
        dimension: 1,
        users: users.iter().map(|id| (*id).to_owned()).collect(),
        items: items.iter().map(|(id, _)| (*id).to_owned()).collect(),
        user_vectors: vec![0.0; users.len()],
        user_offsets: vec![0.0; users.len()],
        user_log_rates: vec![0.0; users.len()],
        item_vectors: vec![0.0; items.len()],
        item_offsets: vec![0.0; items.len()],
        history,
        card: Card::default(),
    };
    Scorer::new(Arc::new(Model::new(parts).unwrap()), None)
}

/// The users and items of the specification's example.
fn example() -> Scorer {
    scorer(
        &["1", "12", "3", "7"],
        &[("105", &["7", "3", "12"]), ("106", &["3", "7", "1"])],
    )
}

/// Keeps the bytes; they are an output only once the sink was finished.
struct Kept {
    bytes: Vec<u8>,
    outputs: Arc<Mutex<Vec<String>>>,
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Kept {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let text = std::str::from_utf8(&self.bytes).map(str::to_owned);
        let text = text.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.outputs.lock().unwrap().push(text);
        Ok(())
    }
}

/// Every look at the clock takes half a second.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        unreachable!("a segment job does not ask for the date")
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.fetch_add(500, Ordering::SeqCst)
    }
}

/// Stops at the so-many-th report of scoring, and counts them.
struct StopAt {
    reports: AtomicUsize,
    at: usize,
}

impl StopAt {
    fn new(at: usize) -> Self {
        StopAt {
            reports: AtomicUsize::new(0),
            at,
        }
    }
}

impl Progress for StopAt {
    fn report(&self, step: &str, _: u64, _: u64, _: &str) {
        if step == "score queries" {
            self.reports.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn stopped(&self) -> bool {
        self.reports.load(Ordering::SeqCst) >= self.at
    }
}

type Outcome = (Result<SegmentStatistics, SegmentError>, Vec<String>);
type Files<'a> = &'a [(&'a str, &'a [u8])];

fn segment(
    scorer: &dyn Answerer,
    files: Files<'_>,
    options: &SegmentOptions,
    progress: &dyn Progress,
) -> Outcome {
    let sources: Vec<MemorySource> = files
        .iter()
        .map(|(name, bytes)| MemorySource::new(*name, bytes.to_vec()))
        .collect();
    let sources: Vec<&dyn Source> = sources.iter().map(|source| source as &dyn Source).collect();
    segment_sources(scorer, &sources, options, progress)
}

fn segment_sources(
    scorer: &dyn Answerer,
    sources: &[&dyn Source],
    options: &SegmentOptions,
    progress: &dyn Progress,
) -> Outcome {
    segment_selected(scorer, &Selection::default(), sources, options, progress)
}

fn segment_selected(
    scorer: &dyn Answerer,
    selection: &Selection,
    sources: &[&dyn Source],
    options: &SegmentOptions,
    progress: &dyn Progress,
) -> Outcome {
    let outputs = Arc::new(Mutex::new(Vec::new()));
    let mut sinks = |_: usize| -> io::Result<Box<dyn Sink>> {
        let outputs = Arc::clone(&outputs);
        Ok(Box::new(Kept {
            bytes: Vec::new(),
            outputs,
        }))
    };
    let result = run(
        scorer,
        selection,
        sources,
        &mut sinks,
        options,
        progress,
        &Ticking::default(),
    );
    let outputs = outputs.lock().unwrap().clone();
    (result, outputs)
}

fn options(dir: &Path, k: usize) -> SegmentOptions {
    SegmentOptions {
        k,
        max_records: 0,
        documented_format: false,
        scores: false,
        memory_bytes: 64 << 20,
        block_bytes: 1 << 20,
        threads: 2,
        scratch_dir: dir.to_owned(),
        scratch_vault: Default::default(),
    }
}

#[test]
fn the_specifications_example_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let input: &[u8] = b"{\"itemId\": \"105\"}
{\"itemId\":\"nope\"}

{\"itemId\": 106, \"filterValues\": {\"AGE\": \"30\"}}
not json
";
    let expected = r#"{"input": {"itemId": "105"}, "output": {"usersList": ["7","3","12"]}, "error": null}
{"input": {"itemId":"nope"}, "output": {"usersList": []}, "error": "User error: Item nope was not present when the solution version was created"}
{"input": {"itemId": 106, "filterValues": {"AGE": "30"}}, "output": {"usersList": ["3","7","1"]}, "error": null}
{"input": "not json", "output": {"usersList": []}, "error": "User error: Input line is not a valid JSON object"}
"#;
    let (statistics, outputs) = segment(
        &example(),
        &[("q.json", input)],
        &options(dir.path(), 3),
        &Silent,
    );
    assert_eq!(outputs, [expected]);
    let statistics = statistics.unwrap();
    assert_eq!(
        (
            statistics.lines,
            statistics.line_errors,
            statistics.distinct_queries
        ),
        (4, 2, 2)
    );
    assert_eq!(
        (
            statistics.users,
            statistics.items,
            statistics.dimension,
            statistics.k
        ),
        (4, 2, 1, 3)
    );
    assert_eq!(
        (statistics.score_seconds, statistics.render_seconds),
        (0.5, 0.5)
    );
    assert_eq!(statistics.output_bytes, expected.len() as u64);
}

#[test]
fn the_documented_format_has_both_lists() {
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        documented_format: true,
        ..options(dir.path(), 3)
    };
    let input: &[u8] = b"{\"itemId\":\"105\"}\n{}";
    let (_, outputs) = segment(&example(), &[("q", input)], &options, &Silent);
    assert_eq!(
        outputs,
        [
            r#"{"input": {"itemId":"105"}, "output": {"usersList": ["7","3","12"], "recommendedUsers": ["7","3","12"]}, "error": null}
{"input": {}, "output": {"usersList": [], "recommendedUsers": []}, "error": "User error: Required fields for the provided recipe are itemId"}
"#
        ]
    );
}

#[test]
fn scores_are_written_beside_the_users_when_asked_for() {
    // log λ(x,y) is the user's score plus the item's offset: 7 expects 1 event of 105, and so on.
    let model = Model::new(Parts {
        dimension: 1,
        users: ["1", "12", "3", "7"].map(String::from).into(),
        items: ["105", "106"].map(String::from).into(),
        user_vectors: vec![-6.0, -4.0, 1.0, 2.0],
        user_offsets: vec![-1.0, -1.0, -2.0, -1.0],
        user_log_rates: vec![0.0; 4],
        item_vectors: vec![1.0, 0.0],
        item_offsets: vec![-1.0, -15.0],
        history: History {
            starts: vec![0, 1, 1],
            users: vec![1],
            scores: vec![0.5],
        },
        card: Card::default(),
    });
    let scorer = Scorer::new(Arc::new(model.unwrap()), None);
    let dir = tempfile::tempdir().unwrap();
    let plain = options(dir.path(), 3);
    let input: &[u8] = b"{\"itemId\":\"105\"}\n{}\n{\"itemId\":\"106\"}\n{\"itemId\":\"105\"}";
    let first = r#"{"input": {"itemId":"105"}, "output": {"usersList": ["7","12","3"], "scores": [0.632121,0.454761,0.126577]}, "error": null}"#;
    let error = r#"{"input": {}, "output": {"usersList": []}, "error": "User error: Required fields for the provided recipe are itemId"}"#;
    let second = r#"{"input": {"itemId":"106"}, "output": {"usersList": ["1","12","7"], "scores": [1.12535e-7,1.12535e-7,1.12535e-7]}, "error": null}"#;
    let expected = format!("{first}\n{error}\n{second}\n{first}\n");
    let with = SegmentOptions {
        scores: true,
        ..plain.clone()
    };
    let (_, outputs) = segment(&scorer, &[("q", input)], &with, &Silent);
    assert_eq!(outputs, [expected.as_str()]);
    // No room to keep rendered lines, one query per block: the same bytes.
    let narrow = SegmentOptions {
        memory_bytes: 0,
        ..with.clone()
    };
    let (_, outputs) = segment(&scorer, &[("q", input)], &narrow, &Silent);
    assert_eq!(outputs, [expected.as_str()]);
    // Blocks with scores are of no use to a job without, and the other way round.
    let (_, outputs) = segment(&scorer, &[("q", input)], &plain, &Silent);
    assert_eq!(
        outputs[0].lines().next().unwrap(),
        r#"{"input": {"itemId":"105"}, "output": {"usersList": ["7","12","3"]}, "error": null}"#
    );
    let (_, outputs) = segment(&scorer, &[("q", input)], &with, &Silent);
    assert_eq!(outputs, [expected.as_str()]);
}

#[test]
fn inputs_that_fail_the_job_before_anything_is_scored() {
    let ok: &[u8] = b"{\"itemId\":\"105\"}\n";
    let not =
        |name: &str| format!("Input {name} is not JSON Lines: expected one JSON object per line.");
    let table: &[(Files<'_>, u64, String)] = &[
        (&[("a", b"[{\"itemId\":\"105\"}]\n")], 0, not("a")),
        (&[("a", b"\n  [\n{\"itemId\":\"105\"}\n]\n")], 0, not("a")),
        (&[("a", b"{\n\"itemId\": \"105\"\n}\n")], 0, not("a")),
        (&[("a", b"itemId\n105\n")], 0, not("a")),
        (&[("a", b"\x00\x01\x02")], 0, not("a")),
        (&[("a", b"{\"itemId\":\"105\"")], 0, not("a")),
        (&[("a", ok), ("b", b"x")], 0, not("b")),
        (&[("a", &[b'{'; 100_000])], 0, not("a")),
        (
            &[("a", &ok.repeat(3))],
            2,
            "Input has more than 2 records.".into(),
        ),
        (
            &[("a", ok), ("b", &ok.repeat(2))],
            2,
            "Input has more than 2 records.".into(),
        ),
    ];
    for (files, max_records, expected) in table {
        let dir = tempfile::tempdir().unwrap();
        let progress = StopAt::new(usize::MAX);
        let options = SegmentOptions {
            max_records: *max_records,
            ..options(dir.path(), 3)
        };
        let (result, outputs) = segment(&example(), files, &options, &progress);
        match result {
            Err(SegmentError::Input(reason)) => assert_eq!(&reason, expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!(progress.reports.load(Ordering::SeqCst), 0);
        assert!(outputs.is_empty());
    }
    let dir = tempfile::tempdir().unwrap();
    let (result, _) = segment(
        &example(),
        &[("a.gz", ok)],
        &options(dir.path(), 3),
        &Silent,
    );
    let reason = result.unwrap_err().to_string();
    assert!(
        reason.starts_with("Input a.gz cannot be unpacked"),
        "{reason}"
    );
}

#[test]
fn every_line_gets_a_line_of_json_whatever_its_bytes() {
    let no_object = "User error: Input line is not a valid JSON object";
    let no_item = "User error: Required fields for the provided recipe are itemId";
    let table: &[(&[u8], &str)] = &[
        (b"{\"itemId\":\"105\"}", ""),
        (b"  {\"itemId\":\"105\"}\t\r", ""),
        (b"{\"other\":[{}],\"itemId\":\"105\"}", ""),
        (b"{}", no_item),
        (b"{\"itemid\":\"105\"}", no_item),
        (b"{\"itemId\":null}", no_item),
        (b"{\"itemId\":1.5}", no_item),
        (b"{\"itemId\":1e3}", no_item),
        (b"{\"itemId\":[\"105\"]}", no_item),
        (b"{\"itemId\":{\"itemId\":\"105\"}}", no_item),
        (b"not json", no_object),
        (b"\"105\"", no_object),
        (b"105", no_object),
        (b"null", no_object),
        (b"{\"itemId\":\"105\"", no_object),
        (b"{\"itemId\":\"105\"} x", no_object),
        (b"{\"itemId\":\"105\"}{\"itemId\":\"105\"}", no_object),
        (b"{\"itemId\":\"105\",}", no_object),
        (b"{'itemId':'105'}", no_object),
        (b"{itemId:105}", no_object),
        (b"{\"itemId\":0105}", no_object),
        (b"{\"itemId\":\"\xff\"}", no_object),
        (b"{\"itemId\":\"105\",\"note\":\"\xff\"}", no_object),
        (b"{\"itemId\":\"105\",\"\xff\":1}", no_object),
        (b"{\"itemId\":\"tab\there\"}", no_object),
        (b"\x00", no_object),
        (
            b"{\"itemId\":\"105 \"}",
            "User error: Item 105  was not present when the solution version was created",
        ),
        (
            b"{\"itemId\":\"a\\\"b\\n\"}",
            "User error: Item a\"b\n was not present when the solution version was created",
        ),
    ];
    let input: Vec<u8> = table
        .iter()
        .flat_map(|(line, _)| [line, &b"\n"[..]].concat())
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let (statistics, outputs) = segment(
        &example(),
        &[("q", &input)],
        &options(dir.path(), 3),
        &Silent,
    );
    let lines: Vec<&str> = outputs[0].split_terminator('\n').collect();
    assert_eq!(lines.len(), table.len());
    for ((line, error), output) in table.iter().zip(lines) {
        let json: serde_json::Value = serde_json::from_str(output).expect(output);
        assert_eq!(
            json["error"].as_str().unwrap_or_default(),
            *error,
            "{output}"
        );
        let users = json["output"]["usersList"].as_array().unwrap().len();
        assert_eq!(users, if error.is_empty() { 3 } else { 0 }, "{output}");
        let line = String::from_utf8_lossy(line.trim_ascii());
        if *error == no_object {
            assert_eq!(json["input"], *line);
        } else {
            assert!(
                output.starts_with(&format!("{{\"input\": {line}, \"output\": ")),
                "{output}"
            );
        }
    }
    assert_eq!(statistics.unwrap().line_errors, table.len() as u64 - 3);
}

#[test]
fn long_lines_blank_lines_and_empty_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("{{\"itemId\":\"{}\"}}", "x".repeat(200_000));
    let text = format!("\u{feff}{{\"itemId\":\"105\"}}\r\n\r\n{long}\n \t\n{{\"itemId\":\"106\"}}");
    let files: Files<'_> = &[("a", text.as_bytes()), ("b", b""), ("c", b"\n\r\n")];
    let (statistics, outputs) = segment(&example(), files, &options(dir.path(), 3), &Silent);
    let lines: Vec<&str> = outputs[0].lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[0],
        r#"{"input": {"itemId":"105"}, "output": {"usersList": ["7","3","12"]}, "error": null}"#
    );
    assert!(lines[1].starts_with(r#"{"input": "{\"itemId\":\"xxx"#));
    assert!(lines[1].ends_with(r#"x", "output": {"usersList": []}, "error": "User error: Input line is not a valid JSON object"}"#));
    assert!(lines[1].len() < 70_000);
    assert!(lines[2].contains(r#"["3","7","1"]"#));
    assert_eq!(outputs[1..], [String::new(), String::new()]);
    assert_eq!(statistics.unwrap().lines, 3);
}

/// A model with many items, and lines that ask for all of them and for others.
fn many() -> (Scorer, Vec<u8>) {
    let model = Arc::new(Model::generated(300, 50, 5, 1));
    let ids: Vec<String> = model.items().to_vec();
    let input = (0..20_000usize)
        .map(|line| match line % 97 {
            0 => "\n".to_owned(),
            1 => format!("junk {line}\n"),
            2 => "{\"itemId\": \"unknown\"}\n".to_owned(),
            _ => format!("{{\"itemId\": \"{}\"}}\n", ids[line * 31 % ids.len()]),
        })
        .collect::<String>()
        .into_bytes();
    (Scorer::new(model, None), input)
}

#[test]
fn threads_and_memory_do_not_change_a_byte() {
    let (scorer, input) = many();
    let files: Files<'_> = &[("a", &input), ("b", &input[..999])];
    let mut seen: Option<Vec<String>> = None;
    for (threads, block_bytes, memory_bytes) in [
        (1, 1 << 20, 64 << 20),
        (3, 8 * 20 * 7, 64 << 20),
        (2, 0, 64 << 20),
        (2, 1 << 20, 0),
        (3, 8 * 20 * 7, 1 << 20),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = SegmentOptions {
            threads,
            block_bytes,
            memory_bytes,
            ..options(dir.path(), 20)
        };
        let (statistics, outputs) = segment(&scorer, files, &options, &Silent);
        let statistics = statistics.unwrap();
        assert_eq!(statistics.distinct_queries, 50);
        assert_eq!(statistics.lines as usize, outputs.concat().lines().count());
        match &seen {
            None => seen = Some(outputs),
            Some(first) => assert!(first == &outputs, "{threads} {block_bytes}"),
        }
    }
    // Line by line against the scorer itself.
    let (outputs, model) = (seen.unwrap(), scorer.model());
    let text = String::from_utf8(input.clone()).unwrap();
    let asked = text.lines().filter(|line| !line.is_empty());
    for (line, output) in asked.zip(outputs[0].lines()) {
        let output: serde_json::Value = serde_json::from_str(output).unwrap();
        let item = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|query| model.item(query["itemId"].as_str().unwrap()));
        let expected: Vec<&str> = match item {
            None => Vec::new(),
            Some(item) => scorer.top_users(&[item], 20, 1).unwrap()[0]
                .users
                .iter()
                .map(|user| model.users()[*user as usize].as_str())
                .collect(),
        };
        assert_eq!(
            output["output"]["usersList"],
            serde_json::json!(expected),
            "{line}"
        );
    }
}

#[test]
fn a_stopped_job_goes_on_where_it_was_and_gives_the_same_bytes() {
    let (scorer, input) = many();
    let files: Files<'_> = &[("a", &input)];
    let whole = tempfile::tempdir().unwrap();
    let (_, expected) = segment(&scorer, files, &options(whole.path(), 20), &Silent);
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        block_bytes: 8 * 20 * 7,
        ..options(dir.path(), 20)
    };
    let blocks = || std::fs::read_dir(dir.path()).unwrap().count();
    let (result, outputs) = segment(&scorer, files, &options, &StopAt::new(4));
    assert!(matches!(result, Err(SegmentError::Stopped)) && outputs.is_empty());
    assert_eq!(blocks(), 3);
    // What was being written when the power went, and a block that went bad since.
    std::fs::write(dir.path().join("block-000003.new"), "half").unwrap();
    let bad = dir.path().join("block-000001");
    let mut bytes = std::fs::read(&bad).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bad, bytes).unwrap();
    let kept = |name: &str| {
        std::fs::metadata(dir.path().join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = [kept("block-000000"), kept("block-000002")];
    let (result, outputs) = segment(&scorer, files, &options, &Silent);
    assert!(result.is_ok() && outputs == expected);
    assert_eq!(
        before,
        [kept("block-000000"), kept("block-000002")],
        "a finished block was scored again"
    );
    assert_eq!(blocks(), 8);
    // Another k in the same directory takes nothing over.
    let other = SegmentOptions {
        k: 21,
        ..options.clone()
    };
    let (result, outputs) = segment(&scorer, files, &other, &Silent);
    assert!(result.is_ok());
    assert!(outputs[0].lines().all(|line| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        matches!(
            json["output"]["usersList"].as_array().unwrap().len(),
            0 | 21
        )
    }));
}

#[test]
fn changing_inputs_and_failing_stores_end_the_job() {
    struct Moody(AtomicUsize, [&'static [u8]; 2]);
    impl Source for Moody {
        fn name(&self) -> &str {
            "s3://b/moody"
        }
        fn size(&self) -> u64 {
            1
        }
        fn open(&self) -> io::Result<Box<dyn Read + Send>> {
            match self.1[self.0.fetch_add(1, Ordering::SeqCst)] {
                b"" => Err(io::ErrorKind::PermissionDenied.into()),
                bytes => Ok(Box::new(bytes)),
            }
        }
    }
    let one: &[u8] = b"{\"itemId\":\"105\"}";
    let table: &[([&'static [u8]; 2], io::ErrorKind)] = &[
        ([one, b"{\"itemId\":\"106\"}"], io::ErrorKind::Other),
        ([one, b"{\"itemId\":\"105\"}\n{}"], io::ErrorKind::Other),
        ([b"", one], io::ErrorKind::PermissionDenied),
        ([one, b""], io::ErrorKind::PermissionDenied),
    ];
    for (passes, expected) in table {
        let dir = tempfile::tempdir().unwrap();
        let source = Moody(AtomicUsize::new(0), *passes);
        let (result, outputs) =
            segment_sources(&example(), &[&source], &options(dir.path(), 3), &Silent);
        match result {
            Err(SegmentError::Read { name, source }) => {
                assert_eq!((name.as_str(), source.kind()), ("s3://b/moody", *expected));
            }
            other => panic!("{other:?}"),
        }
        assert!(outputs.is_empty());
    }
}
