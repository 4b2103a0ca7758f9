//! Operations on single objects: put, get, head, copy, delete, tags.

use super::backend::{Answer, Backend};
use super::buckets::no_acls;
use super::checksums::{self, Algorithm, FULL_OBJECT, Sums, TYPE};
use super::encryption::{key_of, set_encryption};
use super::errors::{blocking, from_store, refused};
use super::gate::object_encoding;
use super::transfer::{self, Expected};
use kindred_store::Location as ObjectLocation;
use kindred_store::embedded::{
    Attributes, BlobWriter, Condition, ObjectInfo, ObjectReader, PutOptions,
};
use kindred_store::names::PUT_BYTES_MAX;
use kindred_types::time::Timestamp as Moment;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use std::collections::BTreeMap;
use std::ops::Range as Span;

const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";
/// Most keys in one DeleteObjects.
const DELETE_MAX: usize = 1000;
const TAGS_MAX: usize = 10;
const TAG_KEY_CHARACTERS_MAX: usize = 128;
const TAG_VALUE_CHARACTERS_MAX: usize = 256;

/// Fills the five checksum members of an output, and with `kind` its type.
macro_rules! set_checksums {
    ($output:expr, $sums:expr) => {{
        let sums: &Sums = $sums;
        $output.checksum_crc32 = sums.get("crc32").cloned();
        $output.checksum_crc32c = sums.get("crc32c").cloned();
        $output.checksum_crc64nvme = sums.get("crc64nvme").cloned();
        $output.checksum_sha1 = sums.get("sha1").cloned();
        $output.checksum_sha256 = sums.get("sha256").cloned();
    }};
    ($output:expr, $sums:expr, kind) => {{
        set_checksums!($output, $sums);
        $output.checksum_type = checksum_type($sums);
    }};
}
pub(super) use set_checksums;

/// The system headers of an object among the members of an input.
macro_rules! attributes_of {
    ($input:expr) => {{
        let mut attributes = Attributes::default();
        let mut keep = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                attributes.headers.insert(name.to_owned(), value);
            }
        };
        keep("cache-control", $input.cache_control.take());
        keep("content-disposition", $input.content_disposition.take());
        keep(
            "content-encoding",
            object_encoding($input.content_encoding.take().as_deref()),
        );
        keep("content-language", $input.content_language.take());
        keep("content-type", $input.content_type.take());
        keep(
            "expires",
            $input.expires.take().as_ref().and_then(http_date),
        );
        let metadata = $input.metadata.take().unwrap_or_default();
        attributes.metadata = metadata
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        attributes.tags = parse_tags($input.tagging.as_deref())?;
        check_metadata(&attributes)?;
        attributes
    }};
}
pub(super) use attributes_of;

/// Refuses what an input asks for and this server does not do.
macro_rules! refuse_unsupported {
    ($input:expr) => {{
        if $input.object_lock_mode.is_some() || $input.object_lock_legal_hold_status.is_some() {
            let message = "Bucket is missing Object Lock Configuration";
            return Err(refused(S3ErrorCode::InvalidRequest, message));
        }
        check_acl($input.acl.as_ref())?;
    }};
}
pub(super) use refuse_unsupported;

/// Copies the kept system headers into an output.
macro_rules! set_headers {
    ($output:expr, $info:expr) => {{
        let header = |name: &str| $info.attributes.headers.get(name).cloned();
        $output.cache_control = header("cache-control");
        $output.content_disposition = header("content-disposition");
        $output.content_encoding = header("content-encoding");
        $output.content_language = header("content-language");
        $output.content_type =
            header("content-type").or_else(|| Some(CONTENT_TYPE_DEFAULT.to_owned()));
        $output.expires = header("expires")
            .and_then(|text| Timestamp::parse(TimestampFormat::HttpDate, &text).ok());
    }};
}
impl Backend {
    pub(super) async fn put(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> Answer<PutObjectOutput> {
        refuse_unsupported!(request.input);
        let key = key_of!(request.input)?;
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        if request.input.write_offset_bytes.is_some() {
            let message = "Appending to objects is not supported by this server.";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        check_length(request.input.content_length)?;
        let expected = Expected::of(
            &request,
            request.input.content_md5.as_deref(),
            request.input.content_length,
        )?;
        let input = &mut request.input;
        let mut attributes = attributes_of!(input);
        let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let location = ObjectLocation::new(&input.bucket, &input.key);
        self.require(&location.bucket).await?;
        let content = self.writer(&location, key).await?;
        let received = transfer::receive(content, input.body.take(), expected).await?;
        attributes.checksums = full_object(received.sums);
        let options = PutOptions {
            attributes,
            condition,
        };
        let store = self.store.clone();
        let info = blocking(move || store.put_blob(&location, received.content, options)).await?;
        let mut output = PutObjectOutput {
            e_tag: Some(etag(&info.meta.etag)),
            ..Default::default()
        };
        set_encryption!(output, &info.attributes);
        set_checksums!(output, &info.attributes.checksums, kind);
        Ok(S3Response::new(output))
    }

    pub(super) async fn get(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        check_version(input.version_id.as_deref())?;
        let location = ObjectLocation::new(&input.bucket, &input.key);
        let reader = self.open(location).await?;
        let wish = Wish {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        };
        wish.check(reader.info())?;
        let Selected {
            span,
            part,
            parts_count,
        } = select(&reader, input.range.as_ref(), input.part_number)?;
        let info = reader.info().clone();
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some((span.end - span.start) as i64),
            content_range: (part || input.range.is_some()).then(|| content_range(&span, &info)),
            e_tag: Some(etag(&info.meta.etag)),
            last_modified: Some(timestamp(info.meta.modified)),
            metadata: metadata(&info),
            parts_count,
            tag_count: tag_count(&info),
            ..Default::default()
        };
        set_headers!(output, info);
        set_encryption!(output, &info.attributes);
        let asked = input
            .checksum_mode
            .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        if asked && span == (0..info.meta.size) {
            set_checksums!(output, &info.attributes.checksums, kind);
        }
        output.body = Some(transfer::send(reader, span).await?);
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> Answer<HeadObjectOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        check_version(input.version_id.as_deref())?;
        let location = ObjectLocation::new(&input.bucket, &input.key);
        let reader = self.open(location).await?;
        let wish = Wish {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        };
        wish.check(reader.info())?;
        let Selected {
            span,
            part,
            parts_count,
        } = select(&reader, input.range.as_ref(), input.part_number)?;
        let info = reader.info().clone();
        let partial = part || input.range.is_some();
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some((span.end - span.start) as i64),
            content_range: partial.then(|| content_range(&span, &info)),
            e_tag: Some(etag(&info.meta.etag)),
            last_modified: Some(timestamp(info.meta.modified)),
            metadata: metadata(&info),
            parts_count,
            ..Default::default()
        };
        set_headers!(output, info);
        set_encryption!(output, &info.attributes);
        let asked = input
            .checksum_mode
            .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        if asked && span == (0..info.meta.size) {
            set_checksums!(output, &info.attributes.checksums, kind);
        }
        Ok(S3Response::new(output))
    }

    pub(super) async fn remove(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> Answer<DeleteObjectOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        check_version(input.version_id.as_deref())?;
        if input.if_match.is_some()
            || input.if_match_size.is_some()
            || input.if_match_last_modified_time.is_some()
        {
            let message = "Conditional deletes are not supported by this server.";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        let location = ObjectLocation::new(input.bucket, input.key);
        let store = self.store.clone();
        blocking(move || store.delete_object(&location)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn remove_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let (objects, quiet) = (input.delete.objects, input.delete.quiet == Some(true));
        if objects.is_empty() || objects.len() > DELETE_MAX {
            let message = "The XML you provided was not well-formed or did not validate against our published schema";
            return Err(refused(S3ErrorCode::MalformedXML, message));
        }
        self.require(&input.bucket).await?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in objects {
            let key = object.key;
            let conditional = object.e_tag.is_some()
                || object.size.is_some()
                || object.last_modified_time.is_some();
            let result = if conditional {
                let message = "Conditional deletes are not supported by this server.";
                Err(refused(S3ErrorCode::NotImplemented, message))
            } else if let Err(error) = check_version(object.version_id.as_deref()) {
                Err(error)
            } else {
                let location = ObjectLocation::new(&input.bucket, &key);
                let store = self.store.clone();
                blocking(move || store.delete_object(&location)).await
            };
            match result {
                Ok(_) => deleted.push(DeletedObject {
                    key: Some(key),
                    ..Default::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..Default::default()
        }))
    }

    pub(super) async fn copy(
        &self,
        mut request: S3Request<CopyObjectInput>,
    ) -> Answer<CopyObjectOutput> {
        refuse_unsupported!(request.input);
        let key = key_of!(request.input)?;
        let input = &mut request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        self.check_owner(input.expected_source_bucket_owner.as_deref())?;
        let source = source_of(&input.copy_source)?;
        let target = ObjectLocation::new(&input.bucket, &input.key);
        self.require(&target.bucket).await?;
        let replace = |directive: Option<&str>| directive == Some("REPLACE");
        let replace_metadata = replace(input.metadata_directive.as_ref().map(|it| it.as_str()));
        let replace_tags = replace(input.tagging_directive.as_ref().map(|it| it.as_str()));
        if source == target && !replace_metadata && !replace_tags && key.is_none() {
            return Err(refused(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself \
                 without changing the object's metadata, storage class, website redirect location \
                 or encryption attributes.",
            ));
        }
        let reader = self.open(source).await?;
        let wish = Wish {
            if_match: input.copy_source_if_match.as_ref(),
            if_none_match: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        wish.check_copy(reader.info())?;
        let info = reader.info().clone();
        if info.meta.size > PUT_BYTES_MAX {
            return Err(refused(
                S3ErrorCode::InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy \
                 source: 5368709120",
            ));
        }
        let own = attributes_of!(input);
        let mut attributes = info.attributes.clone();
        if replace_metadata {
            attributes.headers = own.headers;
            attributes.metadata = own.metadata;
        }
        if replace_tags {
            attributes.tags = own.tags;
        }
        let wanted = match &input.checksum_algorithm {
            Some(algorithm) => Algorithm::parse(algorithm.as_str())?,
            None => stored_algorithm(&info.attributes.checksums).unwrap_or(Algorithm::Crc64Nvme),
        };
        let content = self.writer(&target, key).await?;
        let received = transfer::copy(content, reader, 0..info.meta.size, wanted).await?;
        attributes.checksums = full_object(received.sums);
        let options = PutOptions {
            attributes,
            condition: Condition::Always,
        };
        let store = self.store.clone();
        let made = blocking(move || store.put_blob(&target, received.content, options)).await?;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(&made.meta.etag)),
            last_modified: Some(timestamp(made.meta.modified)),
            ..Default::default()
        };
        set_checksums!(result, &made.attributes.checksums, kind);
        let copy_object_result = Some(result);
        let mut output = CopyObjectOutput {
            copy_object_result,
            ..Default::default()
        };
        set_encryption!(output, &made.attributes);
        Ok(S3Response::new(output))
    }

    pub(super) async fn tags(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Answer<GetObjectTaggingOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        check_version(input.version_id.as_deref())?;
        let location = ObjectLocation::new(input.bucket, input.key);
        let store = self.store.clone();
        let info = blocking(move || store.object(&location)).await?;
        let tag = |(key, value)| Tag {
            key: Some(key),
            value: Some(value),
        };
        let tag_set = info.attributes.tags.into_iter().map(tag).collect();
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set,
            version_id: None,
        }))
    }

    pub(super) async fn replace_tags(
        &self,
        owner: Option<&str>,
        location: ObjectLocation,
        tags: Vec<Tag>,
    ) -> S3Result<()> {
        self.check_owner(owner)?;
        let pairs = tags
            .into_iter()
            .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
        let tags = checked_tags(pairs.collect())?;
        let store = self.store.clone();
        blocking(move || store.set_tags(&location, tags)).await
    }

    /// Takes the content of an object, encrypted if a key is named.
    async fn writer(&self, location: &ObjectLocation, key: Option<String>) -> S3Result<BlobWriter> {
        let (store, location) = (self.store.clone(), location.clone());
        blocking(move || match key {
            Some(key) => store.writer_with_key(&location, &key),
            None => store.writer(),
        })
        .await
    }

    /// Opens an object for reading.
    pub(super) async fn open(&self, location: ObjectLocation) -> S3Result<ObjectReader> {
        let store = self.store.clone();
        blocking(move || store.open_object(&location, None)).await
    }

    /// Fails early, before a body is read, when the bucket is not there.
    pub(super) async fn require(&self, bucket: &str) -> S3Result<()> {
        let (store, bucket) = (self.store.clone(), bucket.to_owned());
        blocking(move || store.bucket(&bucket)).await.map(|_| ())
    }
}

/// Conditions on an object as it is now, in the order of RFC 9110, section 13.2.2.
pub(super) struct Wish<'i> {
    pub(super) if_match: Option<&'i ETagCondition>,
    pub(super) if_none_match: Option<&'i ETagCondition>,
    pub(super) modified_since: Option<&'i Timestamp>,
    pub(super) unmodified_since: Option<&'i Timestamp>,
}

impl Wish<'_> {
    fn check(&self, info: &ObjectInfo) -> S3Result<()> {
        if !self.must_hold(info) {
            return Err(from_store(kindred_store::Error::PreconditionFailed(
                ObjectLocation::new("", &info.meta.key),
            )));
        }
        if self.unchanged(info) {
            let mut error = S3Error::new(S3ErrorCode::NotModified);
            let mut headers = http::HeaderMap::new();
            if let Ok(value) = format!("\"{}\"", info.meta.etag).parse() {
                headers.insert(http::header::ETAG, value);
            }
            error.set_headers(headers);
            return Err(error);
        }
        Ok(())
    }

    /// For the source of a copy every condition that fails is a failed precondition.
    pub(super) fn check_copy(&self, info: &ObjectInfo) -> S3Result<()> {
        if self.must_hold(info) && !self.unchanged(info) {
            return Ok(());
        }
        let location = ObjectLocation::new("", &info.meta.key);
        Err(from_store(kindred_store::Error::PreconditionFailed(
            location,
        )))
    }

    fn must_hold(&self, info: &ObjectInfo) -> bool {
        match (self.if_match, self.unmodified_since) {
            (Some(condition), _) => matches(condition, info),
            (None, Some(since)) => seconds(info.meta.modified) <= unix_seconds(since),
            (None, None) => true,
        }
    }

    fn unchanged(&self, info: &ObjectInfo) -> bool {
        match (self.if_none_match, self.modified_since) {
            (Some(condition), _) => matches(condition, info),
            (None, Some(since)) => seconds(info.meta.modified) <= unix_seconds(since),
            (None, None) => false,
        }
    }
}

fn matches(condition: &ETagCondition, info: &ObjectInfo) -> bool {
    condition.is_any()
        || condition
            .as_etag()
            .is_some_and(|etag| etag.value() == info.meta.etag)
}

/// The bytes that a request asks for.
struct Selected {
    span: Span<u64>,
    /// Whether a part was asked for by its number.
    part: bool,
    parts_count: Option<i32>,
}

fn select(
    reader: &ObjectReader,
    range: Option<&Range>,
    part_number: Option<i32>,
) -> S3Result<Selected> {
    let size = reader.info().meta.size;
    let unsatisfiable = || {
        refused(
            S3ErrorCode::InvalidRange,
            "The requested range is not satisfiable",
        )
    };
    match (range, part_number) {
        (Some(_), Some(_)) => {
            let message = "Cannot specify both Range header and partNumber query parameter";
            Err(refused(S3ErrorCode::InvalidRequest, message))
        }
        (Some(range), None) => {
            let span = range.check(size).map_err(|_| unsatisfiable())?;
            Ok(Selected {
                span,
                part: false,
                parts_count: None,
            })
        }
        (None, Some(number)) => {
            let parts = reader.parts().map_err(from_store)?;
            let found = parts
                .iter()
                .find(|part| i64::from(part.number) == i64::from(number));
            match found {
                Some(part) => {
                    let parts_count = i32::try_from(parts.len()).ok();
                    Ok(Selected {
                        span: part.range.clone(),
                        part: true,
                        parts_count,
                    })
                }
                // An object in one piece is its own part 1.
                None if parts.is_empty() && number == 1 => Ok(Selected {
                    span: 0..size,
                    part: size > 0,
                    parts_count: None,
                }),
                None => Err(super::errors::custom(
                    "InvalidPartNumber",
                    http::StatusCode::RANGE_NOT_SATISFIABLE,
                    "The requested partnumber is not satisfiable",
                )),
            }
        }
        (None, None) => Ok(Selected {
            span: 0..size,
            part: false,
            parts_count: None,
        }),
    }
}

/// Bucket and key of a copy source.
pub(super) fn source_of(source: &CopySource) -> S3Result<ObjectLocation> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            check_version(version_id.as_deref())?;
            Ok(ObjectLocation::new(bucket.as_ref(), key.as_ref()))
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            let message = "Access points and outposts are not supported by this server.";
            Err(refused(S3ErrorCode::NotImplemented, message))
        }
    }
}

pub(super) fn condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Condition> {
    let unsupported = |message: &'static str| Err(refused(S3ErrorCode::NotImplemented, message));
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (None, Some(condition)) if condition.is_any() => Ok(Condition::Absent),
        (Some(condition), None) => match condition.as_etag() {
            Some(etag) => Ok(Condition::Etag(etag.value().to_owned())),
            None => unsupported("If-Match takes an entity tag here."),
        },
        _ => unsupported("Only If-None-Match: * or If-Match with an entity tag is supported here."),
    }
}

pub(super) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(_) => Err(refused(
            S3ErrorCode::NoSuchVersion,
            "The specified version does not exist.",
        )),
    }
}

pub(super) fn check_acl(acl: Option<&ObjectCannedACL>) -> S3Result<()> {
    match acl.map(ObjectCannedACL::as_str) {
        None | Some("private" | "bucket-owner-full-control") => Ok(()),
        Some(_) => Err(no_acls()),
    }
}

pub(super) fn check_length(length: Option<i64>) -> S3Result<()> {
    if length.is_some_and(|length| length as u64 > PUT_BYTES_MAX) {
        let message = "Your proposed upload exceeds the maximum allowed size";
        return Err(refused(S3ErrorCode::EntityTooLarge, message));
    }
    Ok(())
}

pub(super) fn check_metadata(attributes: &Attributes) -> S3Result<()> {
    attributes.check().map_err(|_| {
        let message = "Your metadata headers exceed the maximum allowed metadata size";
        refused(S3ErrorCode::MetadataTooLarge, message)
    })
}

/// Reads the tagging header: pairs as in a query.
pub(super) fn parse_tags(header: Option<&str>) -> S3Result<BTreeMap<String, String>> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced)
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = header
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    });
    checked_tags(pairs.collect())
}

fn checked_tags(pairs: Vec<(String, String)>) -> S3Result<BTreeMap<String, String>> {
    if pairs.len() > TAGS_MAX {
        let message = "Object tags cannot be greater than 10";
        return Err(refused(S3ErrorCode::InvalidTag, message));
    }
    let count = pairs.len();
    let bad = pairs.iter().any(|(key, value)| {
        key.is_empty()
            || key.chars().count() > TAG_KEY_CHARACTERS_MAX
            || value.chars().count() > TAG_VALUE_CHARACTERS_MAX
    });
    let tags: BTreeMap<String, String> = pairs.into_iter().collect();
    if bad || tags.len() != count {
        let message = "The tags you provided are invalid: a key is empty, too long or given twice";
        return Err(refused(S3ErrorCode::InvalidTag, message));
    }
    Ok(tags)
}

pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

pub(super) fn timestamp(moment: Moment) -> Timestamp {
    let nanos = i128::from(moment.0) * 1_000_000;
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .map_or_else(|_| Timestamp::default(), Timestamp::from)
}

fn seconds(moment: Moment) -> i64 {
    moment.0.div_euclid(1000)
}

fn unix_seconds(timestamp: &Timestamp) -> i64 {
    time::OffsetDateTime::from(timestamp.clone()).unix_timestamp()
}

pub(super) fn http_date(timestamp: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    timestamp
        .format(TimestampFormat::HttpDate, &mut text)
        .ok()?;
    String::from_utf8(text).ok()
}

fn content_range(span: &Span<u64>, info: &ObjectInfo) -> String {
    format!(
        "bytes {}-{}/{}",
        span.start,
        span.end.saturating_sub(1),
        info.meta.size
    )
}

fn metadata(info: &ObjectInfo) -> Option<Metadata> {
    let pairs = info.attributes.metadata.iter();
    Some(
        pairs
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

fn tag_count(info: &ObjectInfo) -> Option<i32> {
    i32::try_from(info.attributes.tags.len())
        .ok()
        .filter(|count| *count > 0)
}

fn full_object(mut sums: Sums) -> Sums {
    sums.insert(TYPE.to_owned(), FULL_OBJECT.to_owned());
    sums
}

fn stored_algorithm(sums: &Sums) -> Option<Algorithm> {
    checksums::ALL
        .into_iter()
        .find(|algorithm| sums.contains_key(algorithm.name()))
}

/// The type of an object's checksum, where it has one.
pub(super) fn checksum_type(sums: &Sums) -> Option<ChecksumType> {
    stored_algorithm(sums)?;
    sums.get(TYPE).cloned().map(ChecksumType::from)
}
