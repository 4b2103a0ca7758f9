//! Bodies that are documents: read whole, under a limit, before the protocol layer sees them.
//!
//! Only the content of objects and parts flows through piece by piece. Everything else is small XML
//! or JSON, and what is wrong with it (too long, cut off, not what was signed) would come out of the
//! protocol layer as an internal error, which it is not.

use super::errors::{custom, refused};
use crate::http::bodies::{BodyRoom, TooSlow, stated_length};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use s3s::{Body, S3Error, S3ErrorCode};
use sha2::{Digest as _, Sha256};

/// Largest document: a completion that names 10,000 parts with checksums takes about three
/// megabytes, 1,000 keys to delete a little more than one.
pub(super) const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// Large documents that are in memory at the same time.
pub(super) const LARGE_DOCUMENTS_MAX: usize = 8;

/// Operations on an object that are PUT with a document.
const DOCUMENTS: [&str; 8] = [
    "acl",
    "annotation",
    "attributes",
    "encryption",
    "legal-hold",
    "restore",
    "retention",
    "tagging",
];

/// Reads the body, unless it is the content of an object. What is too long by its own account is
/// not read at all.
pub(super) async fn collect(
    request: Request<Body>,
    room: &BodyRoom,
) -> Result<Request<Body>, S3Error> {
    if is_content(&request) || is_packed(&request) {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    if stated_length(&head.headers).is_some_and(|bytes| bytes > DOCUMENT_BYTES_MAX as u64) {
        return Err(too_big());
    }
    let room = room.enter(&head.headers).await;
    let read = Limited::new(body, DOCUMENT_BYTES_MAX).collect().await;
    drop(room);
    let bytes = read.map(|read| read.to_bytes()).map_err(|error| {
        if error.is::<LengthLimitError>() {
            return too_big();
        }
        if TooSlow::is_cause_of(&*error) {
            return too_slow();
        }
        cut_off()
    })?;
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if header("content-length").is_some_and(|length| length.parse() != Ok(bytes.len())) {
        return Err(cut_off());
    }
    if header("x-amz-content-sha256").is_some_and(|claim| !claim_holds(claim, &bytes)) {
        let message =
            "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return Err(custom(
            "XAmzContentSHA256Mismatch",
            StatusCode::BAD_REQUEST,
            message,
        ));
    }
    Ok(Request::from_parts(head, Body::from(bytes)))
}

fn is_content(request: &Request<Body>) -> bool {
    let path = request.uri().path().trim_start_matches('/');
    let has_key = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let query = request.uri().query().unwrap_or("");
    let document = query
        .split('&')
        .any(|pair| DOCUMENTS.contains(&pair.split('=').next().unwrap_or("")));
    request.method() == Method::PUT && has_key && !document
}

/// Whether the body is in `aws-chunked` packing, which only the protocol layer can check.
fn is_packed(request: &Request<Body>) -> bool {
    let payload = request.headers().get("x-amz-content-sha256");
    payload.is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"))
}

fn claim_holds(claim: &str, bytes: &Bytes) -> bool {
    // Any other word, such as UNSIGNED-PAYLOAD, claims nothing about the bytes.
    claim.len() != 64 || hex::encode(Sha256::digest(bytes)).eq_ignore_ascii_case(claim)
}

fn cut_off() -> S3Error {
    refused(
        S3ErrorCode::IncompleteBody,
        "The request body terminated unexpectedly",
    )
}

fn too_big() -> S3Error {
    let message = "Your request was too big.";
    refused(S3ErrorCode::MaxMessageLengthExceeded, message)
}

/// What S3 answers to who sends too slowly.
pub(super) fn too_slow() -> S3Error {
    refused(
        S3ErrorCode::RequestTimeout,
        "Your socket connection to the server was not read from or written to within the timeout \
         period. Idle connections will be closed.",
    )
}
