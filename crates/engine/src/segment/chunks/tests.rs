//! Whatever the borders of the stretches, the lines are those of the whole source.

use super::*;
use crate::data::source::MemorySource;
use crate::segment::lines::LINE_BYTES_MAX;
use proptest::prelude::*;
use std::io::Write as _;

type Found = Vec<(usize, Vec<u8>, bool)>;

/// The lines of the sources as the stretches give them, with the number of their source.
fn by_chunks(sources: &[&dyn Source], chunk_bytes: usize) -> Found {
    let chunks = Chunks::new(sources, chunk_bytes);
    let mut found = Vec::new();
    let mut buffer = Vec::new();
    let (mut numbers, mut ended) = (0.., 0);
    while let Some((place, chunk)) = chunks.next(buffer) {
        let chunk = chunk.unwrap();
        assert_eq!(Some(place.number), numbers.next());
        assert_eq!(place.source, ended);
        ended += usize::from(place.last);
        let lines = chunk.lines();
        found.extend(lines.map(|line| (place.source, line.bytes.to_vec(), line.too_long)));
        buffer = chunk.into_buffer();
    }
    assert_eq!(ended, sources.len());
    found
}

/// The same as the definition has it.
fn by_definition(files: &[Vec<u8>]) -> Found {
    let mut found = Vec::new();
    for (source, bytes) in files.iter().enumerate() {
        let lines = Lines::new(bytes, 0, bytes.len(), true);
        found.extend(lines.map(|line| (source, line.bytes.to_vec(), line.too_long)));
    }
    found
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn check(files: &[Vec<u8>], chunk_bytes: usize) {
    let expected = by_definition(files);
    for gzip in [false, true] {
        let made = |(number, bytes): (usize, &Vec<u8>)| match gzip {
            false => MemorySource::new(format!("{number}"), bytes.clone()),
            true => MemorySource::new(format!("{number}.gz"), packed(bytes)),
        };
        let sources: Vec<MemorySource> = files.iter().enumerate().map(made).collect();
        let sources: Vec<&dyn Source> = sources.iter().map(|source| source as _).collect();
        let found = by_chunks(&sources, chunk_bytes);
        assert!(found == expected, "{chunk_bytes} bytes, gzip {gzip}");
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::collection::vec(prop_oneof![Just(b'x'), Just(b' '), Just(b'\r'), Just(0xEF)], 0..30),
        1 => Just(b"\xEF\xBB\xBF{}".to_vec()),
        1 => (0..9usize).prop_map(|more| vec![b'y'; LINE_BYTES_MAX - 4 + more]),
        1 => (0..9usize).prop_map(|more| [vec![b'z'; LINE_BYTES_MAX - 4 + more], b"\r".to_vec()].concat()),
        1 => (0..4usize).prop_map(|more| vec![b' '; LINE_BYTES_MAX + more]),
        1 => Just(vec![b'l'; 5 * LINE_BYTES_MAX]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn borders_change_no_line(
        files in proptest::collection::vec((proptest::collection::vec(line(), 0..12), any::<bool>()), 1..4),
        chunk_bytes in prop_oneof![1..40usize, 40..5_000usize, 60_000..70_000usize, Just(1 << 20)],
    ) {
        let files: Vec<Vec<u8>> = files
            .into_iter()
            .map(|(lines, ended)| {
                let mut bytes = lines.join(&b'\n');
                if ended {
                    bytes.push(b'\n');
                }
                bytes
            })
            .collect();
        // Single bytes of long lines take long and show nothing that short ones do not.
        let long = files.iter().any(|bytes| bytes.len() > 2_000);
        check(&files, if long { chunk_bytes.max(3_001) } else { chunk_bytes });
    }
}

#[test]
fn every_border_of_a_small_source_is_a_good_one() {
    let text = b"\xEF\xBB\xBFab\r\n\n c \n\r\nd\n\ne".to_vec();
    for chunk_bytes in 1..=text.len() + 1 {
        check(std::slice::from_ref(&text), chunk_bytes);
        check(
            &[text.clone(), Vec::new(), b"\n".to_vec(), text.clone()],
            chunk_bytes,
        );
    }
}

#[test]
fn an_unreadable_source_ends_with_its_error_and_the_next_is_read() {
    let good = MemorySource::new("good", "a\nb\n");
    let bad = MemorySource::new("bad.gz", "not packed");
    let sources: [&dyn Source; 3] = [&good, &bad, &good];
    let chunks = Chunks::new(&sources, 1 << 10);
    let mut found = Vec::new();
    while let Some((place, chunk)) = chunks.next(Vec::new()) {
        let text = chunk.map_or_else(
            |error| error.to_string(),
            |chunk| chunk.lines().count().to_string(),
        );
        found.push((place.source, place.last, text));
    }
    assert!(found[1].2.starts_with("Input bad.gz cannot be unpacked: "));
    found[1].2.clear();
    let lines = |source, text: &str| (source, true, text.to_owned());
    assert_eq!(found, [lines(0, "2"), lines(1, ""), lines(2, "2")]);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    /// A hundred megabytes without a line end.
    struct Endless;
    impl Source for Endless {
        fn name(&self) -> &str {
            "endless"
        }
        fn size(&self) -> u64 {
            100 << 20
        }
        fn open(&self) -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(io::repeat(b'x').take(100 << 20)))
        }
    }
    let sources: [&dyn Source; 1] = [&Endless];
    let chunks = Chunks::new(&sources, 1 << 16);
    let (place, chunk) = chunks.next(Vec::new()).unwrap();
    let chunk = chunk.unwrap();
    assert!(place.last && chunk.bytes.capacity() < 1 << 20);
    assert_eq!(chunk.lines().count(), 1);
    assert!(chunks.next(Vec::new()).is_none());
}
