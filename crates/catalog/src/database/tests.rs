use super::*;
use crate::records::{Schema, Solution};
use crate::{NewWork, WorkKind};
use std::sync::atomic::{AtomicI64, Ordering};

#[derive(Debug, Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst).unsigned_abs()
    }
}

fn open(dir: &Path, at: i64) -> (Catalog, Arc<TestClock>) {
    let clock = Arc::new(TestClock(AtomicI64::new(at)));
    (
        Catalog::open(&dir.join("kindred.db"), clock.clone()).unwrap(),
        clock,
    )
}

fn schema(name: &str, created: i64) -> Schema {
    Schema {
        arn: format!("arn:schema/{name}"),
        name: name.into(),
        schema: "{}".into(),
        domain: None,
        created: Timestamp(created),
        updated: Timestamp(created),
    }
}

fn insert(catalog: &Catalog, record: &Schema) {
    catalog.write(|tx| tx.insert(record)).unwrap();
}

#[test]
fn a_failed_transaction_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, _) = open(dir.path(), 1);
    let failed: Result<()> = catalog.write(|tx| {
        tx.insert(&schema("a", 1))?;
        Err(Error::Missing("b".into()))
    });
    assert!(failed.is_err());
    let found: Option<Schema> = catalog.read(|tx| tx.get("arn:schema/a")).unwrap();
    assert_eq!(found, None);
}

#[test]
fn records_survive_reopening_and_kinds_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, _) = open(dir.path(), 1);
    insert(&catalog, &schema("a", 1));
    assert!(matches!(
        catalog.write(|tx| tx.insert(&schema("a", 2))),
        Err(Error::Exists(_))
    ));
    drop(catalog);
    let (catalog, _) = open(dir.path(), 1);
    let found: Option<Schema> = catalog.read(|tx| tx.get("arn:schema/a")).unwrap();
    assert_eq!(found, Some(schema("a", 1)));
    let other: Option<Solution> = catalog.read(|tx| tx.get("arn:schema/a")).unwrap();
    assert_eq!(other, None);
}

#[test]
fn pages_go_from_new_to_old_with_ties_by_arn() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, _) = open(dir.path(), 1);
    for (name, at) in [("b", 5), ("a", 5), ("old", 1), ("new", 9)] {
        insert(&catalog, &schema(name, at));
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page: Vec<Schema> = catalog.read(|tx| tx.list(None, after.as_ref(), 2)).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(PageStart {
            created: last.created,
            arn: last.arn.clone(),
        });
        names.extend(page.into_iter().map(|record| record.name));
    }
    assert_eq!(names, ["new", "a", "b", "old"]);
}

#[test]
fn a_flipped_bit_is_an_error_not_another_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, _) = open(dir.path(), 1);
    insert(&catalog, &schema("a", 1));
    let connection = lock(&catalog.writer);
    connection
        .execute(
            "UPDATE resource SET body = CAST(replace(CAST(body AS TEXT), 'a', 'b') AS BLOB)",
            [],
        )
        .unwrap();
    drop(connection);
    let found: Result<Option<Schema>> = catalog.read(|tx| tx.get("arn:schema/a"));
    assert!(matches!(found, Err(Error::Damaged(_))), "{found:?}");
}

#[test]
fn time_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, clock) = open(dir.path(), 1_000);
    insert(&catalog, &schema("a", 1));
    clock.0.store(10, Ordering::SeqCst);
    let now = catalog.read(|tx| Ok::<_, Error>(tx.now())).unwrap();
    assert_eq!(now, Timestamp(1_000));
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kindred.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .pragma_update(None, "user_version", FORMAT + 1)
        .unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let clock = Arc::new(TestClock::default());
    assert!(matches!(
        Catalog::open(&path, clock),
        Err(Error::Newer { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

fn enqueue(catalog: &Catalog, arn: &str, queue: &str) {
    let work = NewWork {
        arn,
        kind: WorkKind::Import,
        queue,
    };
    catalog.write(|tx| tx.enqueue(&work)).unwrap();
}

fn claim(catalog: &Catalog) -> Option<crate::Claim> {
    catalog.write(|tx| tx.claim(1_000)).unwrap()
}

#[test]
fn work_runs_in_order_and_one_at_a_time_per_queue() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, _) = open(dir.path(), 1);
    enqueue(&catalog, "one", "dataset");
    enqueue(&catalog, "two", "dataset");
    enqueue(&catalog, "three", "three");
    let first = claim(&catalog).unwrap();
    assert_eq!(first.arn, "one");
    assert_eq!(claim(&catalog).unwrap().arn, "three");
    assert_eq!(claim(&catalog), None, "two waits for one");
    catalog.write(|tx| tx.finish("one", first.token)).unwrap();
    assert_eq!(claim(&catalog).unwrap().arn, "two");
}

#[test]
fn a_lost_lease_cannot_finish() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, clock) = open(dir.path(), 1);
    enqueue(&catalog, "one", "one");
    let first = claim(&catalog).unwrap();
    clock.0.store(2_000, Ordering::SeqCst);
    let second = claim(&catalog).unwrap();
    assert_ne!(first.token, second.token);
    let late = catalog.write(|tx| tx.finish("one", first.token));
    assert!(matches!(late, Err(Error::LeaseLost(_))));
    catalog.write(|tx| tx.finish("one", second.token)).unwrap();
}

#[test]
fn tries_count_until_a_checkpoint_and_not_for_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, _) = open(dir.path(), 1);
    enqueue(&catalog, "one", "one");
    let first = claim(&catalog).unwrap();
    catalog
        .write(|tx| tx.release("one", first.token, 0, true))
        .unwrap();
    let second = claim(&catalog).unwrap();
    assert_eq!(second.tries, 1);
    drop(catalog);
    let (catalog, _) = open(dir.path(), 1);
    let third = claim(&catalog).unwrap();
    assert_eq!(third.tries, 1);
    catalog
        .write(|tx| tx.checkpoint("one", third.token, b"half"))
        .unwrap();
    catalog
        .write(|tx| tx.release("one", third.token, 0, false))
        .unwrap();
    let fourth = claim(&catalog).unwrap();
    assert_eq!(
        (fourth.tries, fourth.checkpoint.as_slice()),
        (0, &b"half"[..])
    );
}
