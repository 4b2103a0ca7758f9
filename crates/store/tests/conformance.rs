//! What every store must do, whatever is behind it. A new back end adds one test at the end.

mod parts;

use bytes::Bytes;
use kindred_store::fault::{Call, Fault, Planned};
use kindred_store::{Error, FaultStore, Location, PartProblem, PartTag, Store};
use parts::noise;
use std::sync::Arc;

const BUCKET: &str = "conformance";
const PART: usize = 5 << 20;

fn at(key: &str) -> Location {
    Location::new(BUCKET, key)
}

fn whole(store: &dyn Store, key: &str) -> Vec<u8> {
    store.read(&at(key), 0..u64::MAX, None).unwrap().to_vec()
}

fn suite(store: &dyn Store) {
    put_and_read(store);
    replace_and_delete(store);
    what_is_not_there(store);
    strange_keys(store);
    list_pages(store);
    multipart(store);
    multipart_refusals(store);
}

fn put_and_read(store: &dyn Store) {
    let content = noise(700_001, 1);
    let put = store
        .put(&at("put/one"), Bytes::from(content.clone()))
        .unwrap();
    assert_eq!((put.key.as_str(), put.size), ("put/one", 700_001));
    assert_eq!(store.head(&at("put/one")).unwrap(), put);
    assert_eq!(whole(store, "put/one"), content);
    let block = 256 * 1024;
    for range in [
        0..0,
        0..1,
        1..block,
        block - 1..block + 1,
        block..2 * block,
        700_000..700_001,
        5..699_999,
    ] {
        let read = store
            .read(&at("put/one"), range.start as u64..range.end as u64, None)
            .unwrap();
        assert_eq!(read, content[range.clone()], "{range:?}");
    }
    // Past the end there is nothing, and a range over the end is clipped.
    assert_eq!(
        store
            .read(&at("put/one"), 700_000..800_000, None)
            .unwrap()
            .len(),
        1
    );
    assert!(
        store
            .read(&at("put/one"), 800_000..900_000, None)
            .unwrap()
            .is_empty()
    );
    store.put(&at("put/empty"), Bytes::new()).unwrap();
    assert_eq!(store.head(&at("put/empty")).unwrap().size, 0);
    assert!(whole(store, "put/empty").is_empty());
}

fn replace_and_delete(store: &dyn Store) {
    let first = store
        .put(&at("replace"), Bytes::from_static(b"first"))
        .unwrap();
    assert_eq!(
        store.read(&at("replace"), 0..9, Some(&first.etag)).unwrap(),
        "first"
    );
    let second = store
        .put(&at("replace"), Bytes::from_static(b"second"))
        .unwrap();
    assert_ne!(first.etag, second.etag);
    assert!(second.modified >= first.modified);
    assert!(matches!(
        store.read(&at("replace"), 0..9, Some(&first.etag)),
        Err(Error::Changed(found)) if found == at("replace")
    ));
    assert_eq!(whole(store, "replace"), b"second");
    store.delete(&at("replace")).unwrap();
    assert!(matches!(
        store.head(&at("replace")),
        Err(Error::NotFound(_))
    ));
    store.delete(&at("replace")).unwrap();
}

fn what_is_not_there(store: &dyn Store) {
    assert!(matches!(
        store.head(&at("nothing")),
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        store.read(&at("nothing"), 0..1, None),
        Err(Error::NotFound(_))
    ));
    let elsewhere = Location::new("no-such-bucket", "key");
    assert!(matches!(
        store.head(&elsewhere),
        Err(Error::NoSuchBucket(_))
    ));
    assert!(matches!(
        store.put(&elsewhere, Bytes::new()),
        Err(Error::NoSuchBucket(_))
    ));
    assert!(matches!(
        store.list("no-such-bucket", "", None, 1),
        Err(Error::NoSuchBucket(_))
    ));
    assert!(matches!(
        store.start_upload(&elsewhere),
        Err(Error::NoSuchBucket(_))
    ));
    assert!(store.put(&at(""), Bytes::new()).is_err());
    assert!(store.put(&at(&"k".repeat(1025)), Bytes::new()).is_err());
}

fn strange_keys(store: &dyn Store) {
    let long = "k".repeat(1024);
    let mut keys = vec![
        "odd/..",
        "odd/../..",
        "odd/a",
        "odd/a/b",
        "odd/a//b",
        "odd/A",
        "odd/%2e%2e",
        "odd/\\",
        "odd/#1",
        "odd/ä",
        "odd/日本",
        "odd/ ",
        "odd/+",
        "odd/\u{1}",
        "odd/a/",
        "odd//",
        "/odd",
        long.as_str(),
    ];
    for key in &keys {
        store
            .put(&at(key), Bytes::from(format!("content of {key}")))
            .unwrap();
    }
    for key in &keys {
        assert_eq!(
            whole(store, key),
            format!("content of {key}").as_bytes(),
            "{key}"
        );
    }
    keys.retain(|key| key.starts_with("odd/"));
    keys.sort_unstable();
    let page = store.list(BUCKET, "odd/", None, 100).unwrap();
    let listed: Vec<_> = page
        .objects
        .iter()
        .map(|object| object.key.as_str())
        .collect();
    assert_eq!(listed, keys);
}

fn list_pages(store: &dyn Store) {
    for number in 0..25 {
        store
            .put(&at(&format!("page/{number:02}")), Bytes::from_static(b"x"))
            .unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(BUCKET, "page/", after.as_deref(), 7).unwrap();
        assert!(page.objects.len() <= 7);
        seen.extend(page.objects.iter().map(|object| object.key.clone()));
        after = seen.last().cloned();
        if !page.truncated {
            break;
        }
        assert_eq!(page.objects.len(), 7);
    }
    let expected: Vec<_> = (0..25).map(|number| format!("page/{number:02}")).collect();
    assert_eq!(seen, expected);
    assert!(!store.list(BUCKET, "page/", None, 25).unwrap().truncated);
    assert_eq!(
        store
            .list(BUCKET, "page/1", None, 99)
            .unwrap()
            .objects
            .len(),
        10
    );
    assert!(
        store
            .list(BUCKET, "page/", Some("page/24"), 9)
            .unwrap()
            .objects
            .is_empty()
    );
}

fn multipart(store: &dyn Store) {
    let location = at("multi/part");
    let upload = store.start_upload(&location).unwrap();
    let (first, second) = (noise(PART, 2), noise(1000, 3));
    let last = store
        .upload_part(&location, &upload, 7, Bytes::from(second.clone()))
        .unwrap();
    store
        .upload_part(&location, &upload, 2, Bytes::from_static(b"replaced below"))
        .unwrap();
    let front = store
        .upload_part(&location, &upload, 2, Bytes::from(first.clone()))
        .unwrap();
    assert_eq!((front.number, last.number), (2, 7));
    assert!(matches!(store.head(&location), Err(Error::NotFound(_))));
    let parts = [front, last];
    let made = store.complete_upload(&location, &upload, &parts).unwrap();
    assert_eq!(made.size, (PART + 1000) as u64);
    assert!(made.etag.ends_with("-2"), "{}", made.etag);
    assert_eq!(store.head(&location).unwrap(), made);
    assert_eq!(
        whole(store, "multi/part"),
        [first.clone(), second.clone()].concat()
    );
    let seam = PART as u64 - 5..PART as u64 + 5;
    let read = store.read(&location, seam, Some(&made.etag)).unwrap();
    assert_eq!(read, [&first[PART - 5..], &second[..5]].concat());
    // The answer may have been lost: the same completion again gives the same object.
    assert_eq!(
        store.complete_upload(&location, &upload, &parts).unwrap(),
        made
    );
    store.put(&location, Bytes::from_static(b"other")).unwrap();
    assert!(matches!(
        store.complete_upload(&location, &upload, &parts),
        Err(Error::NoSuchUpload(_))
    ));
}

fn multipart_refusals(store: &dyn Store) {
    let location = at("multi/refused");
    let upload = store.start_upload(&location).unwrap();
    let small = store
        .upload_part(&location, &upload, 1, Bytes::from_static(b"small"))
        .unwrap();
    let next = store
        .upload_part(&location, &upload, 2, Bytes::from_static(b"next"))
        .unwrap();
    let refused = |parts: &[PartTag], expected: PartProblem| {
        let result = store.complete_upload(&location, &upload, parts);
        assert!(
            matches!(&result, Err(Error::PartRefused { problem, .. }) if *problem == expected),
            "{result:?}"
        );
    };
    refused(&[small.clone(), next.clone()], PartProblem::TooSmall);
    refused(&[next.clone(), small.clone()], PartProblem::OutOfOrder);
    refused(
        &[PartTag {
            number: 3,
            ..small.clone()
        }],
        PartProblem::Missing,
    );
    refused(
        &[PartTag {
            etag: next.etag.clone(),
            ..small.clone()
        }],
        PartProblem::Missing,
    );
    assert!(store.complete_upload(&location, &upload, &[]).is_err());
    assert!(
        store
            .upload_part(&location, &upload, 0, Bytes::new())
            .is_err()
    );
    assert!(
        store
            .upload_part(&location, &upload, 10_001, Bytes::new())
            .is_err()
    );
    // An upload belongs to its key.
    let stranger = store.upload_part(&at("multi/other"), &upload, 1, Bytes::new());
    assert!(matches!(stranger, Err(Error::NoSuchUpload(_))));
    // After all refusals it can still be finished, with less than was uploaded.
    let made = store.complete_upload(&location, &upload, &[next]).unwrap();
    assert_eq!(made.size, 4);
    let upload = store.start_upload(&location).unwrap();
    store
        .upload_part(&location, &upload, 1, Bytes::from_static(b"gone"))
        .unwrap();
    store.abort_upload(&location, &upload).unwrap();
    store.abort_upload(&location, &upload).unwrap();
    assert!(matches!(
        store.upload_part(&location, &upload, 1, Bytes::new()),
        Err(Error::NoSuchUpload(_))
    ));
    assert_eq!(whole(store, "multi/refused"), b"next");
}

#[test]
fn embedded() {
    let dir = parts::directory();
    let store = parts::open(dir.path());
    assert!(store.create_bucket(BUCKET).unwrap());
    suite(&store);
    // Every key that is listed can be read, also after a restart, and no blob is left over.
    let keys = store.list(BUCKET, "", None, 1000).unwrap().objects;
    let files = parts::blob_files(dir.path());
    drop(store);
    let store = parts::open(dir.path());
    assert_eq!(store.list(BUCKET, "", None, 1000).unwrap().objects, keys);
    assert_eq!(parts::blob_files(dir.path()), files);
    for object in &keys {
        assert_eq!(whole(&store, &object.key).len() as u64, object.size);
    }
}

#[test]
fn embedded_behind_faults_that_never_fire() {
    let dir = parts::directory();
    let store = parts::open(dir.path());
    store.create_bucket(BUCKET).unwrap();
    let store = FaultStore::new(Arc::new(store), Vec::new());
    suite(&store);
    assert_eq!(store.fired(), 0);
    assert!(store.calls(Call::Put) > 10);
}

#[test]
fn planned_faults_fire_once_each() {
    let dir = parts::directory();
    let store = parts::open(dir.path());
    store.create_bucket(BUCKET).unwrap();
    let plan = |call, nth, fault| Planned { call, nth, fault };
    let store = FaultStore::new(
        Arc::new(store),
        vec![
            plan(Call::Put, 1, Fault::Unavailable),
            plan(Call::Put, 2, Fault::AnswerLost),
            plan(Call::Read, 1, Fault::Truncated),
            plan(Call::Head, 1, Fault::Denied),
            plan(
                Call::List,
                1,
                Fault::Slow(std::time::Duration::from_millis(1)),
            ),
        ],
    );
    let body = || Bytes::from_static(b"0123456789");
    assert!(matches!(
        store.put(&at("a"), body()),
        Err(Error::Unavailable(_))
    ));
    assert!(store.list(BUCKET, "", None, 9).unwrap().objects.is_empty());
    assert!(matches!(
        store.put(&at("a"), body()),
        Err(Error::Unavailable(_))
    ));
    assert_eq!(store.list(BUCKET, "", None, 9).unwrap().objects.len(), 1);
    assert_eq!(store.read(&at("a"), 0..10, None).unwrap(), "01234");
    assert_eq!(store.read(&at("a"), 0..10, None).unwrap(), body());
    assert!(matches!(
        store.head(&at("a")),
        Err(Error::Denied {
            operation: "s3:GetObject",
            ..
        })
    ));
    assert!(store.head(&at("a")).is_ok());
    assert_eq!(store.fired(), 5);
}
