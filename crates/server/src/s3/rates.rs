//! How many requests an access key may send to S3.
//!
//! Asked behind the signature (`access`), so that nobody can use up the tokens of a key that is not
//! his. Where signatures are not checked, the claimed key counts.

use super::errors::refused;
use crate::http::RateLimiter;
use crate::telemetry;
use s3s::{S3ErrorCode, S3Result};

/// Refuses a request above the rate of its key.
pub(super) fn admit(limiter: &RateLimiter, access_key: &str) -> S3Result<()> {
    if limiter.admit(access_key) {
        return Ok(());
    }
    telemetry::limited("s3");
    Err(refused(
        S3ErrorCode::SlowDown,
        "Please reduce your request rate.",
    ))
}
