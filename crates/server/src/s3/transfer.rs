//! Bytes in and bytes out: bodies into the store and objects into bodies, a megabyte at a time.
//!
//! The disk is only touched on threads that may wait. A body is hashed while it arrives; it belongs
//! to no key before everything it claims was checked. The first bytes of an answer are read before
//! its headers go out, so that damage there is an error and not a broken connection.

use super::bodies::too_slow;
use super::checksums::{self, Algorithm, Claims, Sums};
use super::chunked::Trailers;
use super::errors::{blocking, custom, refused};
use crate::http::bodies::TooSlow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use kindred_store::embedded::{BlobWriter, ObjectReader};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, StdError, TrailingHeaders};
use std::ops::Range;

/// Bytes collected before they go to the disk.
const BATCH_BYTES: usize = 1 << 20;

/// A body that has arrived, is what it claims to be, and belongs to no key yet.
pub(super) struct Received {
    pub(super) content: BlobWriter,
    pub(super) sums: Sums,
}

/// What a request says about its body.
pub(super) struct Expected {
    claims: Claims,
    md5: Option<[u8; 16]>,
    bytes: Option<u64>,
    trailers: Option<TrailingHeaders>,
    own_trailers: Option<Trailers>,
}

impl Expected {
    /// Reads it from a request; `content_md5` is the header of that name.
    pub(super) fn of<T>(
        request: &S3Request<T>,
        content_md5: Option<&str>,
        bytes: Option<i64>,
    ) -> S3Result<Self> {
        let md5 = match content_md5 {
            None => None,
            Some(text) => Some(decode_md5(text)?),
        };
        Ok(Expected {
            claims: Claims::of(&request.headers)?,
            md5,
            bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            trailers: request.trailing_headers.clone(),
            own_trailers: request.extensions.get::<Trailers>().cloned(),
        })
    }

    /// Also computes this checksum.
    pub(super) fn want(&mut self, algorithm: Algorithm) {
        self.claims.wanted.insert(algorithm);
    }

    /// The algorithms that the client itself speaks of.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.claims.wanted.iter().copied()
    }

    fn check(&self, content: &BlobWriter, sums: &Sums) -> S3Result<()> {
        if self.bytes.is_some_and(|bytes| bytes != content.bytes()) {
            return Err(refused(
                S3ErrorCode::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header",
            ));
        }
        if self.md5.is_some_and(|md5| md5 != content.md5()) {
            return Err(refused(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        let mut trailers = HeaderMap::new();
        if let Some(found) = self.trailers.as_ref().and_then(TrailingHeaders::take) {
            trailers = found;
        } else if let Some(found) = &self.own_trailers {
            trailers = found.get();
        }
        self.claims.check(sums, &trailers)
    }
}

fn decode_md5(text: &str) -> S3Result<[u8; 16]> {
    let raw = STANDARD.decode(text).ok();
    raw.and_then(|raw| raw.try_into().ok()).ok_or_else(|| {
        refused(
            S3ErrorCode::InvalidDigest,
            "The Content-MD5 you specified is not valid.",
        )
    })
}

/// Takes a whole body into `content`, which has taken nothing yet, and checks it.
pub(super) async fn receive(
    mut content: BlobWriter,
    body: Option<StreamingBlob>,
    mut expected: Expected,
) -> S3Result<Received> {
    if expected.claims.wanted.is_empty() {
        expected.want(Algorithm::Crc64Nvme);
    }
    let mut hasher = checksums::hasher(&expected.claims.wanted);
    let mut body = body;
    loop {
        let (batch, last) = next_batch(body.as_mut()).await?;
        if !batch.is_empty() {
            (content, hasher) = blocking(move || {
                for piece in &batch {
                    hasher.update(piece);
                    content.write(piece)?;
                }
                Ok((content, hasher))
            })
            .await?;
        }
        if last {
            break;
        }
    }
    let sums = checksums::sums(hasher);
    expected.check(&content, &sums)?;
    Ok(Received { content, sums })
}

async fn next_batch(body: Option<&mut StreamingBlob>) -> S3Result<(Vec<Bytes>, bool)> {
    let Some(body) = body else {
        return Ok((Vec::new(), true));
    };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        match body.next().await {
            Some(Ok(piece)) => {
                bytes += piece.len();
                batch.push(piece);
            }
            Some(Err(error)) => return Err(body_error(&error)),
            None => return Ok((batch, true)),
        }
    }
    Ok((batch, false))
}

/// What S3 answers for a body that did not arrive as announced. The protocol layer does not export
/// its error types, so their words decide; a test holds them.
fn body_error(error: &StdError) -> S3Error {
    let words = error.to_string();
    if words.contains("Sha256Mismatch") {
        let message =
            "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return custom(
            "XAmzContentSHA256Mismatch",
            StatusCode::BAD_REQUEST,
            message,
        );
    }
    if words.contains(&TooSlow.to_string()) {
        return too_slow();
    }
    if words.contains("SignatureMismatch") {
        let message = "A chunk's signature does not match what was computed.";
        return refused(S3ErrorCode::SignatureDoesNotMatch, message);
    }
    tracing::debug!(%error, "a request body broke off");
    refused(
        S3ErrorCode::IncompleteBody,
        "The request body terminated unexpectedly",
    )
}

/// The bytes `range` of an object as an answer's body.
pub(super) async fn send(mut reader: ObjectReader, range: Range<u64>) -> S3Result<StreamingBlob> {
    let Range { start, end } = range;
    let (first, reader) = blocking(move || {
        let first = reader.read_some(range)?;
        Ok((first, reader))
    })
    .await?;
    let next = start + first.len() as u64;
    let rest = futures::stream::try_unfold((reader, next), move |(mut reader, at)| async move {
        if at >= end {
            return Ok::<_, S3Error>(None);
        }
        let (bytes, reader) = blocking(move || {
            let bytes = reader.read_some(at..end)?;
            Ok((bytes, reader))
        })
        .await?;
        let next = at + bytes.len() as u64;
        Ok((!bytes.is_empty()).then(|| (Bytes::from(bytes), (reader, next))))
    });
    let first = futures::stream::iter((!first.is_empty()).then(|| Ok(Bytes::from(first))));
    Ok(StreamingBlob::wrap(first.chain(rest)))
}

/// Copies a stretch of an object into `content`, which has taken nothing yet.
pub(super) async fn copy(
    mut content: BlobWriter,
    mut reader: ObjectReader,
    range: Range<u64>,
    wanted: Algorithm,
) -> S3Result<Received> {
    let copied = blocking(move || {
        let mut hasher = checksums::hasher(&[wanted].into());
        let mut at = range.start;
        while at < range.end {
            let bytes = reader.read_some(at..range.end)?;
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
            hasher.update(&bytes);
            content.write(&bytes)?;
        }
        Ok((content, hasher))
    });
    let (content, hasher) = copied.await?;
    Ok(Received {
        content,
        sums: checksums::sums(hasher),
    })
}
