//! What the embedded store promises beyond the common suite: privacy, damage, crashes, full disks,
//! readers of replaced objects, conditions, delimiters, and keys that stay apart.

mod parts;

use bytes::Bytes;
use kindred_store::embedded::{Attributes, Condition, ListQuery, PutOptions};
use kindred_store::{EmbeddedStore, Error, Location, Store};
use parts::{FailNth, blob_files, noise, open, open_watched};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const EIO: i64 = 5;
const ENOSPC: i64 = 28;

fn at(key: &str) -> Location {
    Location::new("bucket", key)
}

fn with_bucket(dir: &Path) -> EmbeddedStore {
    let store = open(dir);
    store.create_bucket("bucket").unwrap();
    store
}

fn text(store: &EmbeddedStore, key: &str) -> Result<Vec<u8>, Error> {
    store
        .read(&at(key), 0..u64::MAX, None)
        .map(|bytes| bytes.to_vec())
}

#[test]
fn files_are_private_and_a_second_opening_is_refused() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    store.put(&at("a"), Bytes::from_static(b"x")).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for name in ["objects.db", "objects.db-wal", "objects.db-shm"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&dir.path().join("objects")), 0o700);
    assert_eq!(mode(&dir.path().join("objects/staging")), 0o700);
    for file in blob_files(dir.path()) {
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }
    let clock = Arc::new(parts::TickingClock::default());
    let random = Arc::new(parts::SeededRandom(7.into()));
    let second = EmbeddedStore::open(dir.path(), clock, random);
    assert!(matches!(second, Err(Error::Unavailable(_))));
}

#[test]
fn a_newer_format_is_refused() {
    let dir = parts::directory();
    drop(with_bucket(dir.path()));
    let database = rusqlite::Connection::open(dir.path().join("objects.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let clock = Arc::new(parts::TickingClock::default());
    let random = Arc::new(parts::SeededRandom(7.into()));
    let opened = EmbeddedStore::open(dir.path(), clock, random);
    assert!(matches!(opened, Err(Error::Invalid(message)) if message.contains("newer")));
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    let content = noise(600_000, 4);
    store.put(&at("a"), Bytes::from(content.clone())).unwrap();
    let path = blob_files(dir.path()).remove(0);
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let length = file.metadata().unwrap().len();
    for step in 0..60 {
        let offset = step * (length - 1) / 59;
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << (step % 8)], offset)
            .unwrap();
        assert!(
            matches!(text(&store, "a"), Err(Error::Damaged(_))),
            "offset {offset}"
        );
        file.write_all_at(&byte, offset).unwrap();
    }
    assert_eq!(text(&store, "a").unwrap(), content);
    file.set_len(length - 1).unwrap();
    assert!(matches!(text(&store, "a"), Err(Error::Damaged(_))));
}

#[test]
fn blobs_that_changed_places_are_found() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    store.put(&at("a"), Bytes::from_static(b"one")).unwrap();
    store.put(&at("b"), Bytes::from_static(b"two")).unwrap();
    let files = blob_files(dir.path());
    let other = dir.path().join("aside");
    std::fs::rename(&files[0], &other).unwrap();
    std::fs::rename(&files[1], &files[0]).unwrap();
    std::fs::rename(&other, &files[1]).unwrap();
    assert!(matches!(text(&store, "a"), Err(Error::Damaged(_))));
    assert!(matches!(text(&store, "b"), Err(Error::Damaged(_))));
}

#[test]
fn a_changed_row_is_found() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    store.put(&at("a"), Bytes::from_static(b"content")).unwrap();
    drop(store);
    let database = rusqlite::Connection::open(dir.path().join("objects.db")).unwrap();
    database
        .execute("UPDATE objects SET modified = modified + 1", [])
        .unwrap();
    drop(database);
    let store = open(dir.path());
    assert!(matches!(store.head(&at("a")), Err(Error::Damaged(_))));
    assert!(matches!(
        store.list("bucket", "", None, 5),
        Err(Error::Damaged(_))
    ));
}

#[test]
fn a_symlink_in_place_of_a_blob_is_not_followed() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    store.put(&at("a"), Bytes::from_static(b"content")).unwrap();
    let path = blob_files(dir.path()).remove(0);
    let outside = dir.path().join("outside");
    std::fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    assert!(text(&store, "a").is_err());
}

#[test]
fn a_reader_keeps_what_it_opened_and_nothing_is_left_after_it() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    let content = noise(3_000_000, 5);
    store.put(&at("a"), Bytes::from(content.clone())).unwrap();
    let mut reader = store.open_object(&at("a"), None).unwrap();
    let mut second = store.open_object(&at("a"), None).unwrap();
    let mut read = reader.read_some(0..u64::MAX).unwrap();
    store.put(&at("a"), Bytes::from_static(b"new")).unwrap();
    while (read.len() as u64) < reader.info().meta.size {
        let next = reader.read_some(read.len() as u64..u64::MAX).unwrap();
        assert!(!next.is_empty());
        read.extend(next);
    }
    assert_eq!(read, content);
    assert!(reader.read_some(3_000_000..u64::MAX).unwrap().is_empty());
    drop(reader);
    store.delete(&at("a")).unwrap();
    assert_eq!(second.read(10..20).unwrap(), content[10..20]);
    drop(second);
    assert!(blob_files(dir.path()).is_empty());
}

#[test]
fn content_that_was_never_put_leaves_nothing() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    let mut writer = store.writer().unwrap();
    writer.write(&noise(300_000, 6)).unwrap();
    drop(writer);
    let mut writer = store.writer().unwrap();
    writer.write(b"refused").unwrap();
    let metadata = BTreeMap::from([("name".to_owned(), "v".repeat(2048))]);
    let attributes = Attributes {
        metadata,
        ..Attributes::default()
    };
    let options = PutOptions {
        attributes,
        condition: Condition::Always,
    };
    assert!(matches!(
        store.put_blob(&at("a"), writer, options),
        Err(Error::TooLarge { .. })
    ));
    assert!(blob_files(dir.path()).is_empty());
}

#[test]
fn conditions_hold_at_the_moment_of_the_write() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    let put = |content: &[u8], condition| {
        let mut writer = store.writer().unwrap();
        writer.write(content).unwrap();
        let options = PutOptions {
            condition,
            ..PutOptions::default()
        };
        store
            .put_blob(&at("a"), writer, options)
            .map(|info| info.meta.etag)
    };
    let refused = |result| matches!(result, Err(Error::PreconditionFailed(_)));
    assert!(matches!(
        put(b"x", Condition::Etag("e".into())),
        Err(Error::NotFound(_))
    ));
    let first = put(b"1", Condition::Absent).unwrap();
    assert!(refused(put(b"2", Condition::Absent)));
    let second = put(b"2", Condition::Etag(first.clone())).unwrap();
    assert!(refused(put(b"3", Condition::Etag(first))));
    assert_eq!(store.head(&at("a")).unwrap().etag, second);
    assert_eq!(blob_files(dir.path()).len(), 1);
}

#[test]
fn only_one_of_many_creates_once() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    let made: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|number| {
                let store = store.clone();
                scope.spawn(move || {
                    let mut writer = store.writer().unwrap();
                    writer.write(&[number]).unwrap();
                    let condition = Condition::Absent;
                    let options = PutOptions {
                        condition,
                        ..PutOptions::default()
                    };
                    usize::from(store.put_blob(&at("once"), writer, options).is_ok())
                })
            })
            .collect();
        tries.into_iter().map(|handle| handle.join().unwrap()).sum()
    });
    assert_eq!(made, 1);
}

#[test]
fn a_delimiter_rolls_up_and_pages_go_on_behind_it() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    for key in [
        "a",
        "b/1",
        "b/2",
        "b/3",
        "c",
        "d/x/1",
        "d/x/2",
        "e\u{ff}/1",
        "f",
    ] {
        store.put(&at(key), Bytes::from_static(b"x")).unwrap();
    }
    let list = |prefix, after: Option<&str>, max| {
        let query = ListQuery {
            prefix,
            delimiter: Some("/"),
            after,
            max,
        };
        let page = store.list_objects("bucket", &query).unwrap();
        let keys: Vec<_> = page
            .objects
            .into_iter()
            .map(|object| object.meta.key)
            .collect();
        (keys, page.common_prefixes, page.next)
    };
    let all = list("", None, 100);
    assert_eq!(all.0, ["a", "c", "f"]);
    assert_eq!(all.1, ["b/", "d/", "e\u{ff}/"]);
    assert_eq!(all.2, None);
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let (keys, prefixes, next) = list("", after.as_deref(), 1);
        assert_eq!(keys.len() + prefixes.len(), 1);
        seen.extend(keys.into_iter().chain(prefixes));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b/", "c", "d/", "e\u{ff}/", "f"]);
    assert_eq!(list("d/", None, 9).1, ["d/x/"]);
    assert_eq!(list("b/", Some("b/1"), 9).0, ["b/2", "b/3"]);
    assert_eq!(list("", Some("b/1"), 1).1, ["b/"]);
}

#[test]
fn buckets_come_and_go() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    assert!(!store.create_bucket("bucket").unwrap());
    assert!(matches!(
        store.create_bucket("Not_A_Bucket"),
        Err(Error::Invalid(_))
    ));
    store.set_bucket_policy("bucket", Some("{}")).unwrap();
    assert_eq!(
        store.bucket("bucket").unwrap().policy.as_deref(),
        Some("{}")
    );
    store.put(&at("a"), Bytes::new()).unwrap();
    assert!(matches!(
        store.delete_bucket("bucket"),
        Err(Error::BucketNotEmpty(_))
    ));
    store.delete(&at("a")).unwrap();
    let upload = store.start_upload(&at("a")).unwrap();
    assert!(matches!(
        store.delete_bucket("bucket"),
        Err(Error::BucketNotEmpty(_))
    ));
    store.abort_upload(&at("a"), &upload).unwrap();
    store.delete_bucket("bucket").unwrap();
    assert!(matches!(
        store.bucket("bucket"),
        Err(Error::NoSuchBucket(_))
    ));
    assert!(matches!(
        store.delete_bucket("bucket"),
        Err(Error::NoSuchBucket(_))
    ));
    assert!(store.buckets().unwrap().is_empty());
}

#[test]
fn uploads_and_parts_are_listed_in_pages() {
    let dir = parts::directory();
    let store = with_bucket(dir.path());
    let mut ids = Vec::new();
    for key in ["a", "a", "b"] {
        ids.push((key, store.start_upload(&at(key)).unwrap()));
    }
    ids.sort();
    let (mut seen, mut after) = (Vec::new(), None::<(String, String)>);
    loop {
        let marker = after.as_ref().map(|(key, id)| (key.as_str(), id.as_str()));
        let page = store.list_uploads("bucket", "", marker, 1).unwrap();
        seen.extend(
            page.uploads
                .iter()
                .map(|upload| (upload.location.key.clone(), upload.id.clone())),
        );
        after = seen.last().cloned();
        if !page.truncated {
            break;
        }
    }
    let expected: Vec<_> = ids
        .iter()
        .map(|(key, id)| ((*key).to_owned(), id.clone()))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(
        store
            .list_uploads("bucket", "b", None, 9)
            .unwrap()
            .uploads
            .len(),
        1
    );
    assert_eq!(
        store
            .list_uploads("bucket", "", Some(("a", "")), 9)
            .unwrap()
            .uploads
            .len(),
        1
    );
    let upload = &ids[2].1;
    for number in [3, 1, 2] {
        store
            .upload_part(&at("b"), upload, number, Bytes::from_static(b"part"))
            .unwrap();
    }
    let page = store.list_parts(&at("b"), upload, 1, 1).unwrap();
    assert_eq!(
        page.parts
            .iter()
            .map(|part| part.number)
            .collect::<Vec<_>>(),
        [2]
    );
    assert!(page.truncated);
    assert!(!store.list_parts(&at("b"), upload, 2, 1).unwrap().truncated);
}

/// One script of writes. Gives what was acknowledged: key and content, none for deleted.
fn script(
    store: &EmbeddedStore,
) -> (
    BTreeMap<&'static str, Option<Vec<u8>>>,
    Option<&'static str>,
) {
    let mut acknowledged = BTreeMap::new();
    let put = |key, seed| {
        let content = noise(300_000, seed);
        store
            .put(&at(key), Bytes::from(content.clone()))
            .map(|_| Some(content))
    };
    let multi = |key| {
        let content = noise(1000, 13);
        let upload = store.start_upload(&at(key))?;
        let part = store.upload_part(&at(key), &upload, 1, Bytes::from(content.clone()))?;
        store
            .complete_upload(&at(key), &upload, &[part])
            .map(|_| Some(content))
    };
    type Step<'a> = (
        &'static str,
        Box<dyn Fn() -> Result<Option<Vec<u8>>, Error> + 'a>,
    );
    let steps: [Step<'_>; 6] = [
        ("a", Box::new(|| put("a", 10))),
        ("b", Box::new(|| put("b", 11))),
        ("a", Box::new(|| put("a", 12))),
        ("m", Box::new(|| multi("m"))),
        ("b", Box::new(|| store.delete(&at("b")).map(|()| None))),
        ("c", Box::new(|| put("c", 14))),
    ];
    let mut unknown = None;
    for (key, step) in &steps {
        match step() {
            Ok(content) => {
                acknowledged.insert(*key, content);
            }
            Err(_) if unknown.is_none() => unknown = Some(*key),
            Err(error) => assert!(
                matches!(error, Error::Poisoned) || !store.is_poisoned(),
                "a poisoned store must refuse, not {error:?}"
            ),
        }
    }
    (acknowledged, unknown)
}

/// Fails every step of the script in turn. Whatever was acknowledged is there after a restart,
/// whole; a key whose write failed is as before or as written; nothing is left over.
fn fail_every_step(errno: i64) -> u64 {
    let mut fired = 0;
    for nth in 1.. {
        let dir = parts::directory();
        let watch = Arc::new(FailNth::default());
        let store = open_watched(dir.path(), Arc::clone(&watch));
        store.create_bucket("bucket").unwrap();
        watch.seen.store(0, Ordering::SeqCst);
        watch.errno.store(errno, Ordering::SeqCst);
        watch.nth.store(nth, Ordering::SeqCst);
        let (acknowledged, unknown) = script(&store);
        let this = watch.fired.load(Ordering::SeqCst);
        fired += this;
        if this == 0 {
            assert!(unknown.is_none() && !store.is_poisoned());
            return fired;
        }
        // Reading goes on, also on a poisoned store.
        check(&store, &acknowledged, unknown);
        drop(store);
        let store = open(dir.path());
        check(&store, &acknowledged, unknown);
        let named = store.list("bucket", "", None, 99).unwrap().objects.len();
        let uploads = store.list_uploads("bucket", "", None, 99).unwrap().uploads;
        let parts: usize = uploads
            .iter()
            .map(|upload| {
                store
                    .list_parts(&upload.location, &upload.id, 0, 99)
                    .unwrap()
                    .parts
                    .len()
            })
            .sum();
        assert_eq!(blob_files(dir.path()).len(), named + parts, "step {nth}");
        let (_, unknown) = script(&store);
        assert!(unknown.is_none(), "everything works again after a restart");
    }
    fired
}

fn check(
    store: &EmbeddedStore,
    acknowledged: &BTreeMap<&'static str, Option<Vec<u8>>>,
    unknown: Option<&'static str>,
) {
    for (key, content) in acknowledged {
        match (text(store, key), content) {
            (Ok(found), Some(content)) if found == *content => {}
            (Err(Error::NotFound(_)), None) => {}
            (result, _) if unknown == Some(*key) => {
                // Not acknowledged: absent or whole, never a mixture.
                assert!(
                    matches!(&result, Ok(found) if found.len() == 300_000 || found.len() == 1000)
                        || matches!(result, Err(Error::NotFound(_)))
                );
            }
            (result, _) => panic!("{key}: {:?}", result.map(|found| found.len())),
        }
    }
}

#[test]
fn every_failing_step_is_survived() {
    assert!(fail_every_step(EIO) > 20);
}

#[test]
fn every_full_disk_is_survived() {
    assert!(fail_every_step(ENOSPC) > 20);
}

#[test]
fn a_failed_sync_is_the_last_write_and_a_full_disk_is_not() {
    for (errno, step, poisons) in [
        (EIO, 4, true),
        (ENOSPC, 3, false),
        (EIO, 5, false),
        (EIO, 6, true),
    ] {
        let dir = parts::directory();
        let watch = Arc::new(FailNth::default());
        let store = open_watched(dir.path(), Arc::clone(&watch));
        store.create_bucket("bucket").unwrap();
        store.put(&at("old"), Bytes::from_static(b"kept")).unwrap();
        watch.seen.store(0, Ordering::SeqCst);
        watch.errno.store(errno, Ordering::SeqCst);
        // Create, write twice (content, checksums), sync, rename, sync the directory, commit.
        watch.nth.store(step, Ordering::SeqCst);
        assert!(store.put(&at("new"), Bytes::from_static(b"lost")).is_err());
        assert_eq!(watch.fired.load(Ordering::SeqCst), 1);
        assert_eq!(store.is_poisoned(), poisons, "step {step}");
        assert_eq!(text(&store, "old").unwrap(), b"kept");
        let again = store.put(&at("new"), Bytes::from_static(b"again"));
        assert_eq!(again.is_err(), poisons);
        if poisons {
            assert!(matches!(again, Err(Error::Poisoned)));
        }
    }
}

fn any_key() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("%2e%2E".to_owned()),
        Just("/".to_owned()),
        Just("//".to_owned()),
        Just("\\".to_owned()),
        Just("#1".to_owned()),
        Just("a".to_owned()),
        Just("A".to_owned()),
        Just("ä".to_owned()),
        Just("a\u{308}".to_owned()),
        Just("staging".to_owned()),
        Just("k".repeat(1000)),
        "\\PC{1,3}",
    ];
    proptest::collection::vec(piece, 1..5)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("within the limit", |key| {
            key.len() <= 1024 && !key.contains('\0')
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// No key leaves its bucket and no two keys share bytes: two buckets with the same keys, every
    /// key with its own content, and no file anywhere but under ids.
    #[test]
    fn keys_stay_apart(keys in proptest::collection::btree_set(any_key(), 1..24)) {
        let dir = parts::directory();
        let store = open(dir.path());
        let content = |bucket: &str, key: &str| format!("{bucket}:{key}").into_bytes();
        for bucket in ["first", "second"] {
            store.create_bucket(bucket).unwrap();
            for key in &keys {
                store.put(&Location::new(bucket, key), content(bucket, key).into()).unwrap();
            }
        }
        for bucket in ["first", "second"] {
            let listed = store.list(bucket, "", None, 100).unwrap();
            let listed: Vec<_> = listed.objects.into_iter().map(|object| object.key).collect();
            prop_assert_eq!(&listed, &keys.iter().cloned().collect::<Vec<_>>());
            for key in &keys {
                let read = store.read(&Location::new(bucket, key), 0..u64::MAX, None).unwrap();
                prop_assert_eq!(read.to_vec(), content(bucket, key));
            }
        }
        let files = blob_files(dir.path());
        prop_assert_eq!(files.len(), keys.len() * 2);
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap();
            prop_assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        // Deleting in one bucket leaves the other alone.
        for key in &keys {
            store.delete(&Location::new("first", key)).unwrap();
            prop_assert!(store.head(&Location::new("second", key)).is_ok());
        }
        let around: Vec<_> = std::fs::read_dir(dir.path()).unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        prop_assert!(around.iter().all(|name| name.starts_with("objects")));
    }
}
