//! What may be called what, and how large things may be: the rules for buckets, keys and parts.
//!
//! Keys are bytes to us: nothing in them means anything, so nothing in them is refused except what
//! could not be listed again (NUL, which XML cannot carry).

use crate::Error;

/// Longest object key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;
/// Most buckets in one store.
pub const BUCKETS_MAX: u64 = 1_000;
/// Most unfinished multipart uploads in one store.
pub const UPLOADS_MAX: u64 = 10_000;
/// Largest part number.
pub const PARTS_MAX: u32 = 10_000;
/// Smallest part that is not the last, in bytes.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Largest single put and largest part, in bytes.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// Largest object, in bytes.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// Most user metadata of an object: names and values together, in bytes.
pub const METADATA_BYTES_MAX: usize = 2048;
/// Longest bucket policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 20 * 1024;

/// Checks a bucket name: 3 to 63 of lower-case letters, digits, dots and hyphens, beginning and
/// ending with a letter or digit, not an IP address, none of the reserved prefixes and suffixes.
pub fn check_bucket(name: &str) -> Result<(), Error> {
    let bytes = name.as_bytes();
    let edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let allowed = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
    };
    let reserved_start = ["xn--", "sthree-", "amzn-s3-demo-"];
    let reserved_end = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    let good = (3..=63).contains(&bytes.len())
        && bytes.iter().all(allowed)
        && edge(bytes.first())
        && edge(bytes.last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !reserved_start.iter().any(|start| name.starts_with(start))
        && !reserved_end.iter().any(|end| name.ends_with(end));
    if good {
        Ok(())
    } else {
        Err(Error::Invalid(format!("not a bucket name: {name:?}")))
    }
}

/// Checks an object key: 1 to 1,024 bytes, no NUL.
pub fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid("an object key may not be empty".into()));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::TooLarge {
            what: "the object key",
            limit: KEY_BYTES_MAX as u64,
        });
    }
    if key.contains('\0') {
        return Err(Error::Invalid(
            "an object key may not hold a NUL character".into(),
        ));
    }
    Ok(())
}

/// Checks a part number: 1 to 10,000.
pub fn check_part_number(number: u32) -> Result<(), Error> {
    if (1..=PARTS_MAX).contains(&number) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "part number {number} is not between 1 and {PARTS_MAX}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names() {
        for good in ["abc", "a.b-c", "0ab", &"a".repeat(63)] {
            assert!(check_bucket(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "a..b",
            "192.168.0.1",
            "xn--abc",
            "abc-s3alias",
            "a/b",
            "..",
            "a%2e",
            &"a".repeat(64),
        ] {
            assert!(check_bucket(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys() {
        for good in ["a", "..", "a//b", "/", "\\", "ä", &"k".repeat(1024)] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for bad in ["", "a\0b", &"k".repeat(1025), &"ä".repeat(513)] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }
}
