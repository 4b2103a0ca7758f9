//! `s3://bucket/key` as a checked pair.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A bucket and a key in it. The key may be empty (a whole bucket as prefix) and is never
/// normalised: `a//b`, `../x` and `a` beside `a/b` are different keys like any others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Bucket name, 3 to 63 characters.
    pub bucket: String,
    /// Object key, up to 1,024 bytes of UTF-8; empty for the bucket itself.
    pub key: String,
}

impl Location {
    /// Makes a location from its parts, unchecked.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Location {
            bucket: bucket.into(),
            key: key.into(),
        }
    }

    /// Reads `s3://bucket/key`. `None` for any other scheme or an empty bucket.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("s3://")?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        (!bucket.is_empty()).then(|| Location::new(bucket, key))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}
