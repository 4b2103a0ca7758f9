//! How many requests an access key may send to S3.
//!
//! Asked by the protocol layer behind the signature, so that nobody can use up the tokens of a key
//! that is not his. Where signatures are not checked, the claimed key counts.

use super::errors::refused;
use crate::http::RateLimiter;
use crate::telemetry;
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3ErrorCode, S3Result};
use std::sync::Arc;

/// Lets signed requests through, at the rate of their key.
pub(super) struct RateAccess(pub(super) Arc<RateLimiter>);

#[async_trait::async_trait]
impl S3Access for RateAccess {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        match cx.credentials() {
            Some(credentials) => admit(&self.0, &credentials.access_key),
            None => Err(refused(S3ErrorCode::AccessDenied, "Signature is required")),
        }
    }
}

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
