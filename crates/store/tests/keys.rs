//! The key ring, encrypted objects and sealed files: what opens, what does not, and what is found.

mod parts;

use bytes::Bytes;
use kindred_store::embedded::{Attributes, PutOptions};
use kindred_store::keys::master::MasterKey;
use kindred_store::keys::{Context, KeyInfo, Secret};
use kindred_store::{
    EmbeddedStore, Error, KeyProblem, KeyRing, KeyService, Location, Store, Vault,
};
use kindred_types::arn::Account;
use parts::{SeededRandom, TickingClock, blob_files, noise, open};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

fn master(byte: u8) -> MasterKey {
    MasterKey::Given(Secret::new([byte; 32]))
}

fn try_ring(path: &Path, master: MasterKey) -> Result<KeyRing, Error> {
    let clock = Arc::new(TickingClock::default());
    // Another seed at every opening: nonces and ids must not repeat.
    static OPENINGS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(77);
    let seed = OPENINGS.fetch_add(0x5851_f42d_4c95_7f2d, std::sync::atomic::Ordering::Relaxed);
    let random = Arc::new(SeededRandom(seed.into()));
    KeyRing::open(path, Account::default(), master, clock, random)
}

fn ring(dir: &Path) -> Arc<KeyRing> {
    Arc::new(try_ring(&dir.join("keys.ring"), master(1)).unwrap())
}

fn context(name: &str) -> Context {
    Context::from([("name".to_owned(), name.to_owned())])
}

fn problem<T: std::fmt::Debug>(result: Result<T, Error>) -> KeyProblem {
    match result {
        Err(Error::Key { problem, .. }) => problem,
        other => panic!("expected a refused key, found {other:?}"),
    }
}

#[test]
fn a_data_key_comes_back_from_its_key_and_context_only() {
    let dir = parts::directory();
    let ring = ring(dir.path());
    let (one, two) = (ring.create("one").unwrap(), ring.create("two").unwrap());
    let made = ring.generate_data_key(&one.arn, &context("a")).unwrap();
    assert_eq!(made.key_arn, one.arn);
    let back = |key: &KeyInfo, name: &str| ring.decrypt(&key.arn, &made.wrapped, &context(name));
    assert_eq!(back(&one, "a").unwrap(), made.secret);
    assert_eq!(
        ring.decrypt(&one.id, &made.wrapped, &context("a")).unwrap(),
        made.secret
    );
    assert_eq!(problem(back(&one, "b")), KeyProblem::Ciphertext);
    assert_eq!(problem(back(&two, "a")), KeyProblem::Ciphertext);
    for at in 0..made.wrapped.len() {
        let mut changed = made.wrapped.clone();
        changed[at] ^= 0x10;
        ring.decrypt(&one.arn, &changed, &context("a")).unwrap_err();
        let cut = &made.wrapped[..at];
        ring.decrypt(&one.arn, cut, &context("a")).unwrap_err();
    }
    assert_ne!(
        made.secret,
        ring.generate_data_key(&one.arn, &context("a"))
            .unwrap()
            .secret
    );
}

#[test]
fn a_ring_survives_being_opened_again_and_a_rotation_makes_nothing_unreadable() {
    let dir = parts::directory();
    let first = ring(dir.path());
    let key = first.create("for segments").unwrap();
    let before = first.generate_data_key(&key.arn, &context("a")).unwrap();
    let rotated = first.rotate(&key.id).unwrap();
    assert_eq!((rotated.versions, rotated.rotated.is_some()), (2, true));
    let after = first.generate_data_key(&key.arn, &context("a")).unwrap();
    drop(first);
    let second = ring(dir.path());
    assert_eq!(second.list(), [rotated]);
    for made in [before, after] {
        assert_eq!(
            second
                .decrypt(&key.arn, &made.wrapped, &context("a"))
                .unwrap(),
            made.secret
        );
    }
}

#[test]
fn a_disabled_key_does_nothing_until_it_is_enabled() {
    let dir = parts::directory();
    let ring = ring(dir.path());
    let key = ring.create("").unwrap();
    let made = ring.generate_data_key(&key.arn, &context("a")).unwrap();
    assert!(!ring.set_enabled(&key.arn, false).unwrap().enabled);
    let again = self::ring(dir.path());
    for ring in [&ring, &again] {
        assert_eq!(problem(ring.describe(&key.arn)), KeyProblem::Disabled);
        let generated = ring.generate_data_key(&key.arn, &context("a"));
        assert_eq!(problem(generated), KeyProblem::Disabled);
        let opened = ring.decrypt(&key.arn, &made.wrapped, &context("a"));
        assert_eq!(problem(opened), KeyProblem::Disabled);
    }
    assert_eq!(problem(ring.rotate(&key.arn)), KeyProblem::Disabled);
    ring.set_enabled(&key.arn, true).unwrap();
    assert_eq!(
        ring.decrypt(&key.arn, &made.wrapped, &context("a"))
            .unwrap(),
        made.secret
    );
    assert_eq!(problem(ring.describe("nobody")), KeyProblem::NotFound);
}

#[test]
fn the_ring_is_private_tells_nothing_and_notices_every_change() {
    let dir = parts::directory();
    let path = dir.path().join("keys.ring");
    ring(dir.path()).create("a description of ours").unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let stored = std::fs::read(&path).unwrap();
    assert!(!stored.windows(11).any(|window| window == b"description"));
    let refused = |error: Error| assert!(error.to_string().contains("cannot be opened"), "{error}");
    refused(try_ring(&path, master(2)).unwrap_err());
    for at in 0..stored.len() {
        let mut changed = stored.clone();
        changed[at] ^= 1;
        std::fs::write(&path, changed).unwrap();
        refused(try_ring(&path, master(1)).unwrap_err());
    }
    std::fs::write(&path, &stored).unwrap();
    assert_eq!(try_ring(&path, master(1)).unwrap().list().len(), 1);
}

#[test]
fn a_master_key_of_its_own_is_made_with_the_first_key() {
    let dir = parts::directory();
    let (path, own) = (dir.path().join("keys.ring"), dir.path().join("master.key"));
    let first = try_ring(&path, MasterKey::Own(own.clone())).unwrap();
    assert!(!own.exists());
    let key = first.create("").unwrap();
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = try_ring(&path, MasterKey::Own(own.clone())).unwrap();
    assert_eq!(again.list(), [key]);
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = try_ring(&path, MasterKey::Own(own.clone())).unwrap_err();
    assert!(
        refused.to_string().contains("can be read by others"),
        "{refused}"
    );
    std::fs::remove_file(&own).unwrap();
    let refused = try_ring(&path, MasterKey::Own(own)).unwrap_err();
    assert!(refused.to_string().contains("there is none"), "{refused}");
}

/// A store with a bucket and a key.
fn world(dir: &Path) -> (EmbeddedStore, Arc<KeyRing>, KeyInfo) {
    let ring = ring(dir);
    let store = open(dir).with_keys(ring.clone());
    store.create_bucket("bucket").unwrap();
    let key = ring.create("").unwrap();
    (store, ring, key)
}

fn at(key: &str) -> Location {
    Location::new("bucket", key)
}

fn whole(store: &EmbeddedStore, key: &str) -> Result<Vec<u8>, Error> {
    Ok(store.read(&at(key), 0..u64::MAX, None)?.to_vec())
}

fn secret_text(bytes: usize) -> Vec<u8> {
    b"user-4711,".iter().copied().cycle().take(bytes).collect()
}

fn assert_unreadable(dir: &Path) {
    for file in blob_files(dir) {
        let stored = std::fs::read(&file).unwrap();
        assert!(
            !stored.windows(9).any(|window| window == b"user-4711"),
            "{}",
            file.display()
        );
    }
}

#[test]
fn an_encrypted_object_reads_as_it_was_and_needs_its_key() {
    let dir = parts::directory();
    let (store, ring, key) = world(dir.path());
    for bytes in [0, 1, 700_000] {
        let content = secret_text(bytes);
        let meta = store
            .put_with_key(&at("a"), content.clone().into(), &key.id)
            .unwrap();
        let plain = store.put(&at("b"), content.clone().into()).unwrap();
        assert_eq!((meta.size, &meta.etag), (plain.size, &plain.etag));
        store.delete(&at("b")).unwrap();
        assert_eq!(whole(&store, "a").unwrap(), content);
        assert_unreadable(dir.path());
        let info = store.object(&at("a")).unwrap();
        assert_eq!(info.attributes.encryption.unwrap().key_arn, key.arn);
        let (start, end) = (bytes as u64 / 3, bytes as u64 / 3 * 2);
        let part = store.read(&at("a"), start..end, None).unwrap();
        assert_eq!(part, content[start as usize..end as usize]);
        ring.set_enabled(&key.id, false).unwrap();
        assert_eq!(problem(whole(&store, "a")), KeyProblem::Disabled, "{bytes}");
        let refused = store.put_with_key(&at("c"), Bytes::new(), &key.arn);
        assert_eq!(problem(refused), KeyProblem::Disabled);
        assert!(matches!(store.head(&at("c")), Err(Error::NotFound(_))));
        ring.set_enabled(&key.id, true).unwrap();
        assert_eq!(whole(&store, "a").unwrap(), content);
    }
    assert_eq!(
        problem(store.put_with_key(&at("c"), Bytes::new(), "no")),
        KeyProblem::NotFound
    );
    drop((store, ring));
    // Without the ring there is no key, and what is not encrypted stays readable.
    std::fs::remove_file(dir.path().join("keys.ring")).unwrap();
    let store = open(dir.path()).with_keys(self::ring(dir.path()));
    assert_eq!(problem(whole(&store, "a")), KeyProblem::NotFound);
    store.put(&at("b"), Bytes::from_static(b"plain")).unwrap();
    assert_eq!(whole(&store, "b").unwrap(), b"plain");
}

#[test]
fn an_encrypted_upload_has_encrypted_parts() {
    let dir = parts::directory();
    let (store, ring, key) = world(dir.path());
    let parts = [secret_text(5 << 20), secret_text(100)];
    let put = |key: Option<&str>, name: &str| {
        let location = at(name);
        let upload = match key {
            Some(key) => store.start_upload_with_key(&location, key).unwrap(),
            None => store.start_upload(&location).unwrap(),
        };
        let put = |(number, part): (usize, &Vec<u8>)| {
            let body = Bytes::from(part.clone());
            store
                .upload_part(&location, &upload, number as u32 + 1, body)
                .unwrap()
        };
        let tags: Vec<_> = parts.iter().enumerate().map(put).collect();
        let meta = store.complete_upload(&location, &upload, &tags).unwrap();
        // An answer that was lost is given again.
        assert_eq!(
            store.complete_upload(&location, &upload, &tags).unwrap(),
            meta
        );
        meta
    };
    let plain = put(None, "plain");
    store.delete(&at("plain")).unwrap();
    let sealed = put(Some(&key.arn), "sealed");
    assert_eq!((plain.size, plain.etag), (sealed.size, sealed.etag));
    assert_unreadable(dir.path());
    assert_eq!(whole(&store, "sealed").unwrap(), parts.concat());
    let span = (5 << 20) - 10..(5 << 20) + 10;
    let expected = &parts.concat()[span.start as usize..span.end as usize];
    assert_eq!(store.read(&at("sealed"), span, None).unwrap(), expected);
    // A part in the clear cannot get into an encrypted upload.
    let upload = store.start_upload_with_key(&at("mixed"), &key.arn).unwrap();
    let mut writer = store.writer().unwrap();
    writer.write(b"user-4711").unwrap();
    let refused = store.put_part(&at("mixed"), &upload, 1, writer, &Default::default());
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    ring.set_enabled(&key.id, false).unwrap();
    assert_eq!(problem(whole(&store, "sealed")), KeyProblem::Disabled);
    let refused = store.upload_part(&at("mixed"), &upload, 1, Bytes::new());
    assert_eq!(problem(refused), KeyProblem::Disabled);
}

#[test]
fn tags_and_copies_keep_and_lose_the_encryption_as_they_should() {
    let dir = parts::directory();
    let (store, _ring, key) = world(dir.path());
    store
        .put_with_key(&at("a"), Bytes::from_static(b"user-4711"), &key.arn)
        .unwrap();
    let tags = [("k".to_owned(), "v".to_owned())].into();
    store.set_tags(&at("a"), tags).unwrap();
    assert_eq!(whole(&store, "a").unwrap(), b"user-4711");
    let attributes = store.object(&at("a")).unwrap().attributes;
    assert!(attributes.encryption.is_some());
    // The attributes of an encrypted object do not make another one encrypted, or unreadable.
    let mut writer = store.writer().unwrap();
    writer.write(b"plain").unwrap();
    let options = PutOptions {
        attributes: Attributes { ..attributes },
        ..PutOptions::default()
    };
    let copy = store.put_blob(&at("b"), writer, options).unwrap();
    assert_eq!(copy.attributes.encryption, None);
    assert_eq!(whole(&store, "b").unwrap(), b"plain");
}

#[test]
fn blobs_cannot_change_places() {
    let dir = parts::directory();
    let (store, _ring, key) = world(dir.path());
    let text = |byte: u8| Bytes::from(vec![byte; 9]);
    store.put_with_key(&at("a"), text(b'a'), &key.arn).unwrap();
    store.put_with_key(&at("b"), text(b'b'), &key.arn).unwrap();
    let files = blob_files(dir.path());
    let aside = dir.path().join("aside");
    std::fs::rename(&files[0], &aside).unwrap();
    std::fs::rename(&files[1], &files[0]).unwrap();
    std::fs::rename(&aside, &files[1]).unwrap();
    assert!(matches!(whole(&store, "a"), Err(Error::Damaged(_))));
    assert!(matches!(whole(&store, "b"), Err(Error::Damaged(_))));
    std::fs::rename(&files[0], &aside).unwrap();
    std::fs::rename(&files[1], &files[0]).unwrap();
    std::fs::rename(&aside, &files[1]).unwrap();
    assert_eq!(whole(&store, "a").unwrap(), text(b'a'));
}

#[test]
fn a_flipped_bit_of_an_encrypted_blob_is_found() {
    let dir = parts::directory();
    let (store, _ring, key) = world(dir.path());
    let content = noise(300_000, 4);
    store
        .put_with_key(&at("a"), content.clone().into(), &key.arn)
        .unwrap();
    let path = blob_files(dir.path()).remove(0);
    let stored = std::fs::read(&path).unwrap();
    for step in 0..40 {
        let mut changed = stored.clone();
        changed[step * (stored.len() - 1) / 39] ^= 1 << (step % 8);
        std::fs::write(&path, changed).unwrap();
        assert!(
            matches!(whole(&store, "a"), Err(Error::Damaged(_))),
            "step {step}"
        );
    }
    std::fs::write(&path, stored).unwrap();
    assert_eq!(whole(&store, "a").unwrap(), content);
}

/// A vault over `ring` for the directory called `identity`.
fn vault(ring: &Arc<KeyRing>, key: &str, identity: &str) -> Vault {
    let random = Arc::new(SeededRandom((identity.len() as u64).into()));
    Vault::sealed(ring.clone(), random, key, identity)
}

fn write(vault: &Vault, path: &Path, content: &[u8]) {
    let mut file = vault.create(path).unwrap();
    for piece in content.chunks(10_000) {
        file.write_all(piece).unwrap();
    }
    file.finish().unwrap();
}

#[test]
fn files_of_a_vault_come_back_and_open_nowhere_else() {
    let dir = parts::directory();
    let ring = ring(dir.path());
    let key = ring.create("").unwrap();
    let sealed = vault(&ring, &key.arn, "datasets/1");
    let path = dir.path().join("part");
    for bytes in [0, 9, 300_000] {
        let content = secret_text(bytes);
        for vault in [&sealed, &Vault::plain()] {
            write(vault, &path, &content);
            assert_eq!(vault.read(&path).unwrap(), content);
            let mut streamed = Vec::new();
            vault
                .open(&path)
                .unwrap()
                .read_to_end(&mut streamed)
                .unwrap();
            assert_eq!(streamed, content);
            let mut part = Vec::new();
            let reader = vault.open(&path).unwrap();
            let range = reader.length() / 4..reader.length() / 2;
            reader.read_range(range.clone(), &mut part).unwrap();
            assert_eq!(part, content[range.start as usize..range.end as usize]);
        }
        // A plain file is none of a sealed vault's.
        sealed.open(&path).unwrap_err();
        write(&sealed, &path, &content);
        let stored = std::fs::read(&path).unwrap();
        assert!(!stored.windows(9).any(|window| window == b"user-4711"));
        let other = dir.path().join("other");
        std::fs::copy(&path, &other).unwrap();
        sealed.open(&other).unwrap_err();
        vault(&ring, &key.arn, "datasets/2")
            .open(&path)
            .unwrap_err();
        std::fs::write(&path, &stored[..stored.len() - 1]).unwrap();
        sealed.open(&path).unwrap_err();
    }
    // A staged name counts as the final one.
    let staged = dir.path().join("final.new");
    write(&sealed, &staged, b"content");
    let path = dir.path().join("final");
    std::fs::rename(staged, &path).unwrap();
    assert_eq!(sealed.read(&path).unwrap(), b"content");
    // A new handle asks for the key again.
    ring.set_enabled(&key.id, false).unwrap();
    let error = vault(&ring, &key.arn, "datasets/1")
        .open(&path)
        .unwrap_err();
    let error = error.downcast::<Error>().unwrap();
    assert_eq!(problem::<()>(Err(error)), KeyProblem::Disabled);
}
