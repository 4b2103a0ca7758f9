//! Many lines, many of them bad: isolated and counted, the same bytes however they are read; and what
//! ends a run in the middle ends all of it.

use super::*;
use std::io::Write as _;
use std::ops::Range;

const NO_OBJECT: &str = "User error: Input line is not a valid JSON object";

/// Lines of all kinds, with CRLF here and there and without an end of the last one; and what is
/// expected of each: nothing of a good one, or the beginning of its error.
fn many_kinds(model: &Model, lines: usize) -> (Vec<u8>, Vec<Option<&'static str>>) {
    let ids = model.items();
    let long = "x".repeat(1 << 20);
    let (mut text, mut errors) = (String::new(), Vec::new());
    for line in 0..lines {
        let id = &ids[line * 7919 % ids.len()];
        let (content, error) = match line % 100 {
            13 if line % 1000 == 13 => (
                format!("{{\"itemId\": \"{id}\", \"x\": \"{long}\"}}"),
                Some(NO_OBJECT),
            ),
            13 => (format!("{{\"itemId\": \"{id}\""), Some(NO_OBJECT)),
            50 => (
                format!("{{\"itemId\": \"no{id}\"}}"),
                Some("User error: Item no"),
            ),
            77 => (
                "{\"item\": 1}".to_owned(),
                Some("User error: Required fields"),
            ),
            90 => (
                format!(" {{ \"note\": [1, {{}}], \"itemId\" : \"{id}\" }} "),
                None,
            ),
            _ => (format!("{{\"itemId\": \"{id}\"}}"), None),
        };
        text += &content;
        errors.push(error);
        text += match line % 30 {
            _ if line + 1 == lines => "",
            3 => "\r\n",
            4 => "\n\r\n  \n",
            _ => "\n",
        };
    }
    (text.into_bytes(), errors)
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bad_lines_are_isolated_and_the_bytes_do_not_depend_on_threads_memory_or_packing() {
    const LINES: usize = 30_000;
    let model = Arc::new(Model::generated(120, 499, 4, 3));
    let scorer = Scorer::new(Arc::clone(&model), None);
    let (input, errors) = many_kinds(&model, LINES);
    let gzip = packed(&input);
    let run = |name: &str, bytes: &[u8], threads: usize, memory_bytes: usize| {
        let dir = tempfile::tempdir().unwrap();
        let options = SegmentOptions {
            threads,
            memory_bytes,
            ..options(dir.path(), 9)
        };
        let files: Files<'_> = &[(name, bytes), ("more", b"{}\n")];
        let (statistics, outputs) = segment(&scorer, files, &options, &Silent);
        let statistics = statistics.unwrap();
        assert_eq!(statistics.lines, LINES as u64 + 1);
        let bad = errors.iter().filter(|error| error.is_some()).count();
        assert_eq!(statistics.line_errors, bad as u64 + 1);
        assert_eq!(statistics.distinct_queries, 499);
        outputs
    };
    let expected = run("a", &input, 1, 64 << 20);
    for (threads, memory_bytes) in [(2, 64 << 20), (3, 1 << 20), (2, 200_000), (8, 600_000)] {
        let outputs = run("a", &input, threads, memory_bytes);
        assert!(
            outputs == expected,
            "{threads} threads, {memory_bytes} bytes"
        );
        let outputs = run("a.gz", &gzip, threads, memory_bytes);
        assert!(
            outputs == expected,
            "packed, {threads} threads, {memory_bytes} bytes"
        );
    }
    let lines: Vec<&str> = expected[0].lines().collect();
    assert_eq!(lines.len(), LINES);
    for (line, error) in lines.iter().zip(&errors) {
        let tail = &line[line.rfind("\"error\": ").unwrap()..];
        match error {
            None => assert_eq!(tail, "\"error\": null}", "{line}"),
            Some(error) => assert!(tail.starts_with(&format!("\"error\": \"{error}")), "{tail}"),
        }
        // A long line is repeated by its beginning.
        assert!(line.len() < 70_000);
    }
}

/// Fails to be read behind a place, in ranges or as a stream.
struct Breaking<'a> {
    bytes: &'a [u8],
    breaks_at: u64,
    ranges: bool,
}

impl Source for Breaking<'_> {
    fn name(&self) -> &str {
        "s3://b/breaking"
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let good = self.bytes[..self.breaks_at as usize].to_vec();
        Ok(Box::new(io::Cursor::new(good).chain(Failing)))
    }

    fn open_range(&self, range: Range<u64>) -> io::Result<Option<Box<dyn Read + Send>>> {
        if !self.ranges {
            return Ok(None);
        }
        if range.end > self.breaks_at {
            return Ok(Some(Box::new(Failing)));
        }
        let good = &self.bytes[range.start as usize..range.end as usize];
        Ok(Some(Box::new(io::Cursor::new(good.to_vec()))))
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

#[test]
fn a_source_that_breaks_ends_the_run_with_its_error() {
    let input = b"{\"itemId\": \"105\"}\n".repeat(60_000);
    for ranges in [false, true] {
        for breaks_at in [0, 100, 500_000, input.len() as u64 - 1] {
            let dir = tempfile::tempdir().unwrap();
            let source = Breaking {
                bytes: &input,
                breaks_at,
                ranges,
            };
            let options = SegmentOptions {
                threads: 3,
                memory_bytes: 0,
                ..options(dir.path(), 3)
            };
            let (result, outputs) = segment_sources(&example(), &[&source], &options, &Silent);
            match result {
                Err(SegmentError::Read { name, source }) => {
                    assert_eq!(name, "s3://b/breaking");
                    assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
                }
                other => panic!("{breaks_at}: {other:?}"),
            }
            assert!(outputs.is_empty());
        }
    }
}

/// Takes so many bytes and then says no, or panics.
struct Full {
    room_bytes: usize,
    panics: bool,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(
            !self.panics || bytes.len() <= self.room_bytes,
            "the disk is gone"
        );
        let left = self.room_bytes.checked_sub(bytes.len());
        self.room_bytes = left.ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Full {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn run_into(
    room_bytes: usize,
    panics: bool,
    input: &[u8],
) -> Result<SegmentStatistics, SegmentError> {
    let dir = tempfile::tempdir().unwrap();
    let source = MemorySource::new("q", input.to_vec());
    let options = SegmentOptions {
        threads: 3,
        memory_bytes: 0,
        ..options(dir.path(), 3)
    };
    run(
        &example(),
        &Selection::default(),
        &[&source],
        &mut |_| Ok(Box::new(Full { room_bytes, panics })),
        &options,
        &Silent,
        &Ticking::default(),
    )
}

#[test]
fn a_full_disk_ends_the_run_with_its_error() {
    let input = b"{\"itemId\": \"105\"}\n".repeat(60_000);
    for room_bytes in [0, 1_000_000, 4_000_000] {
        match run_into(room_bytes, false, &input) {
            Err(SegmentError::Write { source }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(run_into(10_000_000, false, &input).is_ok());
}

#[test]
#[should_panic(expected = "the disk is gone")]
fn a_panic_while_writing_is_one_of_the_run() {
    let input = b"{\"itemId\": \"105\"}\n".repeat(60_000);
    let _ = run_into(1_000_000, true, &input);
}

#[test]
fn a_run_that_stopped_while_writing_scores_nothing_again() {
    let model = Arc::new(Model::generated(200, 40, 8, 11));
    let lines = (0..40_000).map(|line| format!("{{\"itemId\": \"i{:07}\"}}\n", line % 40));
    let input: Vec<u8> = lines.collect::<String>().into_bytes();
    let files: Files<'_> = &[("a", &input)];
    let whole = tempfile::tempdir().unwrap();
    let scorer = || Scorer::new(Arc::clone(&model), None);
    let (_, expected) = segment(&scorer(), files, &options(whole.path(), 5), &Silent);

    /// Stops at the so-many-th report of writing.
    struct StopWriting(AtomicUsize);
    impl Progress for StopWriting {
        fn report(&self, step: &str, _: u64, _: u64, _: &str) {
            if step == "write segments" {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        fn stopped(&self) -> bool {
            self.0.load(Ordering::SeqCst) == 0
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for memory_bytes in [0, 64 << 20] {
        let options = SegmentOptions {
            memory_bytes,
            block_bytes: 8 * 5 * 7,
            ..options(&dir.path().join(format!("{memory_bytes}")), 5)
        };
        let stop = StopWriting(AtomicUsize::new(1));
        let (result, outputs) = segment(&scorer(), files, &options, &stop);
        assert!(matches!(result, Err(SegmentError::Stopped)) && outputs.is_empty());
        let (result, outputs) = segment(&scorer(), files, &options, &Silent);
        assert!(outputs == expected);
        assert_eq!(result.unwrap().tiles_total, 0);
    }
}
