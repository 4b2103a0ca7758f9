//! ListObjects in both versions.

use super::backend::{Answer, Backend};
use super::checksums::{self, TYPE};
use super::errors::{blocking, refused};
use super::objects::{etag, timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kindred_store::embedded::{ListQuery, Listing, ObjectInfo};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

/// Most entries of a page.
pub(super) const PAGE_MAX: usize = 1000;

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b'*');

/// How names are written in an answer: as they are, or percent-encoded when the client asked.
#[derive(Clone, Copy)]
pub(super) struct Names {
    encoded: bool,
}

impl Names {
    pub(super) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Names { encoded: false }),
            Some(EncodingType::URL) => Ok(Names { encoded: true }),
            Some(_) => Err(refused(
                S3ErrorCode::InvalidArgument,
                "Invalid Encoding Method specified in Request",
            )),
        }
    }

    pub(super) fn write(self, name: String) -> String {
        if self.encoded {
            utf8_percent_encode(&name, ENCODED).to_string()
        } else {
            name
        }
    }
}

impl Backend {
    pub(super) async fn list_first(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> Answer<ListObjectsOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let names = Names::of(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.marker.clone().filter(|marker| !marker.is_empty());
        let listing = self
            .page(&input.bucket, prefix, input.delimiter.clone(), after, max)
            .await?;
        let delimited = input
            .delimiter
            .as_ref()
            .is_some_and(|delimiter| !delimiter.is_empty());
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(input.prefix.unwrap_or_default())),
            marker: Some(names.write(input.marker.unwrap_or_default())),
            max_keys: Some(max as i32),
            is_truncated: Some(listing.truncated),
            // Without a delimiter clients go on behind the last key; S3 sends no marker then.
            next_marker: listing
                .next
                .clone()
                .filter(|_| delimited)
                .map(|next| names.write(next)),
            common_prefixes: common_prefixes(&listing, names),
            contents: Some(self.contents(listing.objects, names, true)),
            delimiter: input.delimiter.map(|delimiter| names.write(delimiter)),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    pub(super) async fn list_second(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let names = Names::of(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => Some(decode_token(token)?),
            None => input.start_after.clone().filter(|after| !after.is_empty()),
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        let listing = self
            .page(&input.bucket, prefix, input.delimiter.clone(), after, max)
            .await?;
        let count = listing.objects.len() + listing.common_prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.write(input.prefix.unwrap_or_default())),
            max_keys: Some(max as i32),
            key_count: Some(count as i32),
            continuation_token: input.continuation_token,
            is_truncated: Some(listing.truncated),
            next_continuation_token: listing.next.as_deref().map(encode_token),
            common_prefixes: common_prefixes(&listing, names),
            contents: Some(self.contents(listing.objects, names, input.fetch_owner == Some(true))),
            delimiter: input.delimiter.map(|delimiter| names.write(delimiter)),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|after| names.write(after)),
            request_charged: None,
        }))
    }

    async fn page(
        &self,
        bucket: &str,
        prefix: String,
        delimiter: Option<String>,
        after: Option<String>,
        max: usize,
    ) -> S3Result<Listing> {
        let (store, bucket) = (self.store.clone(), bucket.to_owned());
        blocking(move || {
            let (delimiter, after) = (delimiter.as_deref(), after.as_deref());
            store.list_objects(
                &bucket,
                &ListQuery {
                    prefix: &prefix,
                    delimiter,
                    after,
                    max,
                },
            )
        })
        .await
    }

    fn contents(&self, objects: Vec<ObjectInfo>, names: Names, owned: bool) -> Vec<Object> {
        let entry = |info: ObjectInfo| {
            let sums = &info.attributes.checksums;
            let algorithms: Vec<ChecksumAlgorithm> = checksums::ALL
                .into_iter()
                .filter(|algorithm| sums.contains_key(algorithm.name()))
                .map(|algorithm| ChecksumAlgorithm::from(algorithm.name().to_uppercase()))
                .collect();
            Object {
                checksum_type: sums
                    .get(TYPE)
                    .filter(|_| !algorithms.is_empty())
                    .cloned()
                    .map(ChecksumType::from),
                checksum_algorithm: (!algorithms.is_empty()).then_some(algorithms),
                e_tag: Some(etag(&info.meta.etag)),
                last_modified: Some(timestamp(info.meta.modified)),
                owner: owned.then(|| self.owner()),
                restore_status: None,
                size: Some(info.meta.size as i64),
                storage_class: Some(ObjectStorageClass::from_static(
                    ObjectStorageClass::STANDARD,
                )),
                key: Some(names.write(info.meta.key)),
            }
        };
        objects.into_iter().map(entry).collect()
    }
}

/// The size of a page: what was asked for, at most [`PAGE_MAX`].
pub(super) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(PAGE_MAX),
        Some(asked) => usize::try_from(asked)
            .map(|asked| asked.min(PAGE_MAX))
            .map_err(|_| {
                refused(
                    S3ErrorCode::InvalidArgument,
                    "Argument must be an integer of at least 0",
                )
            }),
    }
}

fn common_prefixes(listing: &Listing, names: Names) -> Option<Vec<CommonPrefix>> {
    let written = |prefix: &String| CommonPrefix {
        prefix: Some(names.write(prefix.clone())),
    };
    Some(listing.common_prefixes.iter().map(written).collect())
}

fn encode_token(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

fn decode_token(token: &str) -> S3Result<String> {
    let raw = URL_SAFE_NO_PAD.decode(token).ok();
    raw.and_then(|raw| String::from_utf8(raw).ok())
        .ok_or_else(|| {
            let message = "The continuation token provided is incorrect";
            refused(S3ErrorCode::InvalidArgument, message)
        })
}
