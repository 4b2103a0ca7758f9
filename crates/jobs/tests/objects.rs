//! Objects as jobs read and write them: ranges, uploads whose parts go side by side, and what becomes
//! of an upload that fails or is given up.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kindred_jobs::{ObjectReader, ObjectWriter};
use kindred_store::fault::{Call, Fault, FaultStore, Planned};
use kindred_store::{EmbeddedStore, Error, Location, Store};
use kindred_types::parts::{Clock, Random};
use kindred_types::time::Timestamp;

#[derive(Debug)]
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

/// Counts, so that ids differ.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::SeqCst).to_le_bytes();
        for (byte, value) in bytes.iter_mut().zip(count.into_iter().cycle()) {
            *byte = value;
        }
    }
}

/// More than four parts of an upload.
fn content() -> Vec<u8> {
    let words = (0..9_500_000u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes());
    words.take((35 << 20) + 7).collect()
}

fn store(dir: &Path, plan: Vec<Planned>) -> (EmbeddedStore, Arc<FaultStore>) {
    let inner = EmbeddedStore::open(dir, Arc::new(NoClock), Arc::new(Counting::default())).unwrap();
    inner.create_bucket("data").unwrap();
    let faulty = FaultStore::new(Arc::new(inner.clone()), plan);
    (inner, Arc::new(faulty))
}

fn target() -> Location {
    Location::new("data".to_owned(), "a/b".to_owned())
}

fn open_uploads(store: &EmbeddedStore) -> usize {
    store
        .list_uploads("data", "", None, 10)
        .unwrap()
        .uploads
        .len()
}

#[test]
fn parts_that_are_sent_side_by_side_are_one_object_that_is_read_by_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, store) = store(dir.path(), Vec::new());
    let content = content();
    let mut writer = ObjectWriter::new(store.clone(), target(), Some(dir.path().join("journal")));
    for piece in content.chunks(1_000_003) {
        writer.write_all(piece).unwrap();
    }
    let meta = writer.finish().unwrap();
    assert_eq!(meta.size, content.len() as u64);
    assert_eq!(store.calls(Call::UploadPart), 5);
    assert_eq!(open_uploads(&inner), 0);

    let whole = 0..meta.size;
    let ends = [
        0,
        1,
        255 << 10,
        (8 << 20) - 1,
        (8 << 20) + 1,
        meta.size - 1,
        meta.size,
        meta.size + 9,
    ];
    let ranges = ends
        .iter()
        .flat_map(|start| ends.iter().map(move |end| *start..*end));
    for range in ranges
        .filter(|range| range.start <= range.end)
        .chain([whole])
    {
        let clip = |at: u64| at.min(meta.size) as usize;
        let expected = &content[clip(range.start)..clip(range.end)];
        let mut found = Vec::new();
        ObjectReader::of_range(store.clone(), "data", meta.clone(), range.clone())
            .read_to_end(&mut found)
            .unwrap();
        assert!(found == expected, "{range:?}");
    }
}

#[test]
fn a_part_that_fails_ends_the_upload_and_leaves_nothing() {
    let content = content();
    for nth in 1..=5 {
        let dir = tempfile::tempdir().unwrap();
        let fault = Planned {
            call: Call::UploadPart,
            nth,
            fault: Fault::Unavailable,
        };
        let (inner, store) = store(dir.path(), vec![fault]);
        let mut writer = ObjectWriter::new(store.clone(), target(), None);
        let written = content
            .chunks(3_000_000)
            .try_for_each(|piece| writer.write_all(piece));
        let error = match written {
            Ok(()) => writer.finish().unwrap_err(),
            Err(error) => {
                drop(writer);
                *error.into_inner().unwrap().downcast::<Error>().unwrap()
            }
        };
        assert!(
            matches!(error, Error::Unavailable(_)),
            "part {nth}: {error}"
        );
        assert_eq!(store.fired(), 1);
        assert_eq!(open_uploads(&inner), 0, "part {nth}");
        assert!(matches!(inner.head(&target()), Err(Error::NotFound(_))));
    }
}

#[test]
fn an_upload_that_is_given_up_is_aborted() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, store) = store(dir.path(), Vec::new());
    let mut writer = ObjectWriter::new(store.clone(), target(), None);
    writer.write_all(&content()).unwrap();
    assert_eq!(open_uploads(&inner), 1);
    drop(writer);
    assert_eq!(open_uploads(&inner), 0);
    assert!(matches!(inner.head(&target()), Err(Error::NotFound(_))));
}
