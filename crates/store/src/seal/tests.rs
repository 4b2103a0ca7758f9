//! Sealed bytes survive no change at all.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of a chunk with its tag.
const STRIDE: usize = CHUNK_BYTES + TAG_BYTES;

#[derive(Debug)]
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let start = self.0.fetch_add(1, Ordering::Relaxed);
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = (start as u8).wrapping_mul(31).wrapping_add(at as u8);
        }
    }
}

fn data_key(seed: u8) -> DataKey {
    DataKey {
        key_arn: "arn:aws:kms:us-east-1:000000000000:key/k".into(),
        wrapped: vec![seed; 93],
        secret: Secret::new([seed; 32]),
    }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn seal_as(identity: &str, salt: u64, key: &DataKey, plain: &[u8], piece: usize) -> Vec<u8> {
    let mut sealer = Sealer::new(key, identity, &Counting(salt.into())).unwrap();
    let mut out = Vec::new();
    for piece in plain.chunks(piece.max(1)) {
        sealer.push(piece, &mut out);
    }
    sealer.finish(&mut out);
    out
}

fn seal(plain: &[u8]) -> Vec<u8> {
    seal_as("a", 1, &data_key(1), plain, 1000)
}

fn open_as(identity: &str, key: &DataKey, stored: &[u8]) -> Result<Vec<u8>, Broken> {
    let header = Header::parse(stored)?;
    let opener = Opener::new(&header, &key.secret, identity, stored.len() as u64)?;
    let fetch = |range: Range<u64>, out: &mut Vec<u8>| {
        let found = stored.get(range.start as usize..range.end as usize);
        out.extend_from_slice(found.ok_or(Broken)?);
        Ok::<_, Broken>(())
    };
    let mut plain = Vec::new();
    opener.read(0..opener.plain_bytes(), &mut plain, fetch)?;
    opener.check_end(fetch)?;
    Ok(plain)
}

fn open(stored: &[u8]) -> Result<Vec<u8>, Broken> {
    open_as("a", &data_key(1), stored)
}

#[test]
fn content_of_every_shape_comes_back() {
    let key = data_key(1);
    for bytes in [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        2 * CHUNK_BYTES,
        200_000,
    ] {
        let plain = content(bytes);
        for piece in [1 + bytes / 3, CHUNK_BYTES, 1 << 20] {
            let stored = seal_as("a", 1, &key, &plain, piece);
            assert_eq!(
                open(&stored).as_ref(),
                Ok(&plain),
                "{bytes} in pieces of {piece}"
            );
            let expected = sealed_bytes(&key.key_arn, &key.wrapped, bytes as u64);
            assert_eq!(stored.len() as u64, expected);
        }
    }
}

#[test]
fn nothing_of_the_content_shows() {
    let plain = b"user-4711,".repeat(20_000);
    let stored = seal(&plain);
    assert!(!stored.windows(9).any(|window| window == b"user-4711"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("SEAL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
    ))]

    #[test]
    fn ranges_are_those_of_the_content(
        bytes in 0usize..200_000, start in 0usize..200_000, length in 0usize..150_000,
    ) {
        let plain = content(bytes);
        let stored = seal(&plain);
        let (start, end) = (start.min(bytes), (start + length).min(bytes).max(start.min(bytes)));
        let header = Header::parse(&stored).unwrap();
        let opener = Opener::new(&header, &data_key(1).secret, "a", stored.len() as u64).unwrap();
        let mut found = Vec::new();
        opener.read(start as u64..end as u64, &mut found, |range, out| {
            out.extend_from_slice(&stored[range.start as usize..range.end as usize]);
            Ok::<_, Broken>(())
        }).unwrap();
        prop_assert_eq!(&found[..], &plain[start..end]);
    }

    #[test]
    fn any_flipped_bit_is_an_error(at in 0usize..140_000, bit in 0u8..8) {
        let mut stored = seal(&content(133_000));
        let at = at % stored.len();
        stored[at] ^= 1 << bit;
        prop_assert_eq!(open(&stored), Err(Broken));
    }
}

#[test]
fn any_flipped_bit_of_header_and_tags_is_an_error() {
    let stored = seal(b"short");
    for at in 0..stored.len() {
        for bit in 0..8 {
            let mut changed = stored.clone();
            changed[at] ^= 1 << bit;
            assert_eq!(open(&changed), Err(Broken), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn chunks_cannot_be_moved_cut_joined_or_repeated() {
    let plain = content(3 * CHUNK_BYTES + 100);
    let stored = seal(&plain);
    let head = stored.len() - 3 * STRIDE - 100 - TAG_BYTES;
    let chunk = |n: usize| {
        let start = head + n * STRIDE;
        stored[start..(start + STRIDE).min(stored.len())].to_vec()
    };
    let made = |chunks: &[Vec<u8>]| [&stored[..head], &chunks.concat()].concat();
    let all = [chunk(0), chunk(1), chunk(2), chunk(3)];
    assert_eq!(open(&made(&all)), Ok(plain));
    let [a, b, c, d] = all;
    let changed: [(&str, Vec<Vec<u8>>); 8] = [
        ("swapped", vec![b.clone(), a.clone(), c.clone(), d.clone()]),
        (
            "the last one cut off",
            vec![a.clone(), b.clone(), c.clone()],
        ),
        (
            "the first one cut off",
            vec![b.clone(), c.clone(), d.clone()],
        ),
        (
            "one in the middle cut out",
            vec![a.clone(), c.clone(), d.clone()],
        ),
        (
            "one repeated",
            vec![a.clone(), b.clone(), b.clone(), d.clone()],
        ),
        (
            "the last one repeated",
            vec![a.clone(), b.clone(), c.clone(), d.clone(), d.clone()],
        ),
        ("the last one alone", vec![d]),
        ("nothing", vec![]),
    ];
    for (what, chunks) in changed {
        assert_eq!(open(&made(&chunks)), Err(Broken), "{what}");
    }
    for length in [
        0,
        1,
        head - 1,
        head,
        head + 15,
        head + STRIDE - 1,
        stored.len() - 1,
    ] {
        assert_eq!(open(&stored[..length]), Err(Broken), "cut to {length}");
    }
    assert_eq!(open(&[&stored[..], b"x"].concat()), Err(Broken));
}

#[test]
fn full_last_chunks_are_last() {
    // Cut at a chunk's border, so that only the mark of the last chunk tells.
    let long = seal(&content(2 * CHUNK_BYTES));
    assert_eq!(open(&long[..long.len() - STRIDE]), Err(Broken));
    // And two contents of one chunk each do not make one of two.
    let short = seal(&content(CHUNK_BYTES));
    let joined = [&short[..], &short[short.len() - STRIDE..]].concat();
    assert_eq!(open(&joined), Err(Broken));
}

#[test]
fn chunks_of_other_content_are_foreign() {
    // The same data key, as parts of one upload have it; another salt, as each content has it.
    let key = data_key(1);
    let one = seal_as("a", 1, &key, &content(2 * CHUNK_BYTES), CHUNK_BYTES);
    let two = seal_as("a", 2, &key, &content(2 * CHUNK_BYTES), CHUNK_BYTES);
    let head = one.len() - 2 * STRIDE;
    let mixed = [&one[..head + STRIDE], &two[head + STRIDE..]].concat();
    assert_eq!(open(&mixed), Err(Broken));
    let under_a_foreign_header = [&one[..head], &two[head..]].concat();
    assert_eq!(open(&under_a_foreign_header), Err(Broken));
}

#[test]
fn content_opens_under_its_own_identity_and_key_only() {
    let stored = seal(b"content");
    assert_eq!(open_as("b", &data_key(1), &stored), Err(Broken));
    assert_eq!(open_as("a", &data_key(2), &stored), Err(Broken));
    assert_eq!(open_as("a", &data_key(1), &stored), Ok(b"content".to_vec()));
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let with_magic = [MAGIC, &bytes[..]].concat();
        for bytes in [bytes, with_magic] {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(bytes.starts_with(&header.encode()));
            }
        }
    }
}
