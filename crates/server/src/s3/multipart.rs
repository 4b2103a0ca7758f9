//! Operations on multipart uploads.

use super::backend::{Answer, Backend};
use super::checksums::{self, ALGORITHM, Algorithm, COMPOSITE, FULL_OBJECT, PartSum, Sums, TYPE};
use super::encryption::{key_of, set_encryption};
use super::errors::{blocking, refused};
use super::gate::object_encoding;
use super::listing::{Names, page_size};
use super::objects::{
    Wish, attributes_of, check_acl, check_length, check_metadata, checksum_type, condition, etag,
    http_date, parse_tags, refuse_unsupported, set_checksums, source_of, timestamp,
};
use super::transfer::{self, Expected};
use kindred_store::embedded::{Attributes, BlobWriter, PartInfo, PutOptions, UploadInfo};
use kindred_store::names::{PARTS_MAX, PUT_BYTES_MAX};
use kindred_store::{Location as ObjectLocation, PartTag};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use std::collections::{BTreeMap, HashMap};

impl Backend {
    pub(super) async fn start(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let input = &mut request.input;
        refuse_unsupported!(input);
        let key = key_of!(input)?;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let mut attributes = attributes_of!(input);
        let asked = input.checksum_algorithm.as_ref();
        let algorithm =
            asked.map_or(Ok(Algorithm::Crc64Nvme), |it| Algorithm::parse(it.as_str()))?;
        let kind = checksum_kind(algorithm, input.checksum_type.as_ref())?;
        attributes
            .checksums
            .insert(ALGORITHM.into(), algorithm.name().into());
        attributes.checksums.insert(TYPE.into(), kind.into());
        let location = ObjectLocation::new(&input.bucket, &input.key);
        let store = self.store.clone();
        let (id, begun) = blocking(move || {
            let id = match key {
                Some(key) => store.create_upload_with_key(&location, &attributes, &key),
                None => store.create_upload(&location, &attributes),
            }?;
            let begun = store.upload(&location, &id)?;
            Ok((id, begun))
        })
        .await?;
        let mut output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id),
            checksum_type: input
                .checksum_algorithm
                .as_ref()
                .map(|_| ChecksumType::from(kind.to_owned())),
            checksum_algorithm: input.checksum_algorithm.take(),
            ..Default::default()
        };
        set_encryption!(output, &begun.attributes);
        Ok(S3Response::new(output))
    }

    pub(super) async fn part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> Answer<UploadPartOutput> {
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        if request.input.sse_customer_algorithm.is_some() {
            let message = "Encryption with keys of the client is not supported by this server.";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        check_length(request.input.content_length)?;
        let mut expected = Expected::of(
            &request,
            request.input.content_md5.as_deref(),
            request.input.content_length,
        )?;
        let input = &mut request.input;
        let number = part_number(input.part_number)?;
        let location = ObjectLocation::new(&input.bucket, &input.key);
        let upload = self.upload(&location, &input.upload_id).await?;
        let attributes = upload.attributes.clone();
        let spoken: Vec<Algorithm> = expected.wanted().collect();
        expected.want(algorithm_of(&upload)?);
        let content = self.part_writer(&location, &upload.id).await?;
        let received = transfer::receive(content, input.body.take(), expected).await?;
        let (store, sums) = (self.store.clone(), received.sums);
        let part = blocking(move || {
            store.put_part(&location, &upload.id, number, received.content, &sums)
        })
        .await?;
        let mut output = UploadPartOutput {
            e_tag: Some(etag(&part.etag)),
            ..Default::default()
        };
        set_encryption!(output, &attributes);
        let mut shown = part.checksums;
        shown.retain(|name, _| spoken.iter().any(|algorithm| algorithm.name() == name));
        set_checksums!(output, &shown);
        Ok(S3Response::new(output))
    }

    pub(super) async fn part_by_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        self.check_owner(input.expected_source_bucket_owner.as_deref())?;
        let number = part_number(input.part_number)?;
        let location = ObjectLocation::new(&input.bucket, &input.key);
        let upload = self.upload(&location, &input.upload_id).await?;
        let reader = self.open(source_of(&input.copy_source)?).await?;
        let wish = Wish {
            if_match: input.copy_source_if_match.as_ref(),
            if_none_match: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        wish.check_copy(reader.info())?;
        let size = reader.info().meta.size;
        let span = match &input.copy_source_range {
            None => 0..size,
            Some(text) => copy_range(text, size)?,
        };
        if span.end - span.start > PUT_BYTES_MAX {
            let message = "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
            return Err(refused(S3ErrorCode::InvalidRequest, message));
        }
        let wanted = algorithm_of(&upload)?;
        let attributes = upload.attributes.clone();
        let content = self.part_writer(&location, &upload.id).await?;
        let received = transfer::copy(content, reader, span, wanted).await?;
        let (store, sums) = (self.store.clone(), received.sums);
        let part = blocking(move || {
            store.put_part(&location, &upload.id, number, received.content, &sums)
        })
        .await?;
        let mut result = CopyPartResult {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(part.modified)),
            ..Default::default()
        };
        set_checksums!(result, &part.checksums);
        let copy_part_result = Some(result);
        let mut output = UploadPartCopyOutput {
            copy_part_result,
            ..Default::default()
        };
        set_encryption!(output, &attributes);
        Ok(S3Response::new(output))
    }

    pub(super) async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let host = request
            .headers
            .get(http::header::HOST)
            .and_then(|value| value.to_str().ok());
        let host = host.unwrap_or("localhost").to_owned();
        let claimed = checksums::given(&request.headers);
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let named = input
            .multipart_upload
            .and_then(|upload| upload.parts)
            .unwrap_or_default();
        let tags = part_tags(&named)?;
        let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let location = ObjectLocation::new(&input.bucket, &input.key);
        let (store, at, id) = (
            self.store.clone(),
            location.clone(),
            input.upload_id.clone(),
        );
        let size_claimed = input.mpu_object_size;
        let kind_claimed = input.checksum_type;
        // An upload that is gone may be one whose answer was lost; the store knows.
        let known = blocking(move || match store.upload(&at, &id) {
            Err(kindred_store::Error::NoSuchUpload(_)) => Ok(None),
            Err(error) => Err(error),
            Ok(upload) => {
                let page = store.list_parts(&at, &id, 0, PARTS_MAX as usize)?;
                Ok(Some((upload, page.parts)))
            }
        });
        let mut attributes = Attributes::default();
        if let Some((upload, parts)) = known.await? {
            let parts = chosen(&named, &tags, parts)?;
            check_size(&parts, size_claimed)?;
            attributes = upload.attributes.clone();
            attributes.checksums = object_sums(&upload, &parts)?;
            check_claims(&claimed, kind_claimed.as_ref(), &attributes.checksums)?;
        }
        let options = PutOptions {
            attributes,
            condition,
        };
        let (store, at, id) = (self.store.clone(), location, input.upload_id);
        let info = blocking(move || store.complete(&at, &id, &tags, options)).await?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("http://{host}/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&info.meta.etag)),
            ..Default::default()
        };
        set_checksums!(output, &info.attributes.checksums, kind);
        set_encryption!(output, &info.attributes);
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let location = ObjectLocation::new(input.bucket, input.key);
        let store = self.store.clone();
        blocking(move || store.abort(&location, &input.upload_id)).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> Answer<ListPartsOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let max = page_size(input.max_parts)?;
        let after = u32::try_from(input.part_number_marker.unwrap_or(0)).map_err(|_| {
            refused(
                S3ErrorCode::InvalidArgument,
                "part-number-marker must not be negative",
            )
        })?;
        let location = ObjectLocation::new(&input.bucket, &input.key);
        let (store, id) = (self.store.clone(), input.upload_id.clone());
        let page = blocking(move || store.list_parts(&location, &id, after, max)).await?;
        let last = page.parts.last().map(|part| part.number as i32);
        let written = |part: PartInfo| {
            let mut written = Part {
                e_tag: Some(etag(&part.etag)),
                last_modified: Some(timestamp(part.modified)),
                part_number: Some(part.number as i32),
                size: Some(part.size as i64),
                ..Default::default()
            };
            set_checksums!(written, &part.checksums);
            written
        };
        let algorithm = algorithm_of(&page.upload)?;
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: Some(ChecksumAlgorithm::from(algorithm.name().to_uppercase())),
            checksum_type: page
                .upload
                .attributes
                .checksums
                .get(TYPE)
                .cloned()
                .map(ChecksumType::from),
            initiator: Some(self.initiator()),
            is_truncated: Some(page.truncated),
            key: Some(input.key),
            max_parts: Some(max as i32),
            next_part_number_marker: last.filter(|_| page.truncated),
            owner: Some(self.owner()),
            part_number_marker: Some(after as i32),
            parts: Some(page.parts.into_iter().map(written).collect()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            upload_id: Some(input.upload_id),
            ..Default::default()
        }))
    }

    pub(super) async fn uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        let names = Names::of(input.encoding_type.as_ref())?;
        if input
            .delimiter
            .as_ref()
            .is_some_and(|delimiter| !delimiter.is_empty())
        {
            let message = "A delimiter is not supported in listings of uploads by this server.";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        let max = page_size(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
        let after = marker.map(|key| (key, input.upload_id_marker.clone().unwrap_or_default()));
        let (store, bucket) = (self.store.clone(), input.bucket.clone());
        let page = blocking(move || {
            let after = after.as_ref().map(|(key, id)| (key.as_str(), id.as_str()));
            store.list_uploads(&bucket, &prefix, after, max)
        })
        .await?;
        let last = page.uploads.last().filter(|_| page.truncated).cloned();
        let written = |upload: UploadInfo| MultipartUpload {
            initiated: Some(timestamp(upload.started)),
            initiator: Some(self.initiator()),
            owner: Some(self.owner()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            key: Some(names.write(upload.location.key)),
            upload_id: Some(upload.id),
            ..Default::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type,
            is_truncated: Some(page.truncated),
            key_marker: Some(names.write(input.key_marker.unwrap_or_default())),
            max_uploads: Some(max as i32),
            next_key_marker: last
                .as_ref()
                .map(|upload| names.write(upload.location.key.clone())),
            next_upload_id_marker: last.map(|upload| upload.id),
            prefix: Some(names.write(input.prefix.unwrap_or_default())),
            upload_id_marker: input.upload_id_marker,
            uploads: Some(page.uploads.into_iter().map(written).collect()),
            ..Default::default()
        }))
    }

    async fn part_writer(&self, location: &ObjectLocation, id: &str) -> S3Result<BlobWriter> {
        let (store, location, id) = (self.store.clone(), location.clone(), id.to_owned());
        blocking(move || store.part_writer(&location, &id)).await
    }

    async fn upload(&self, location: &ObjectLocation, id: &str) -> S3Result<UploadInfo> {
        let (store, location, id) = (self.store.clone(), location.clone(), id.to_owned());
        blocking(move || store.upload(&location, &id)).await
    }
}

fn part_number(number: i32) -> S3Result<u32> {
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=PARTS_MAX).contains(number))
        .ok_or_else(|| {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            refused(S3ErrorCode::InvalidArgument, message)
        })
}

fn checksum_kind(algorithm: Algorithm, asked: Option<&ChecksumType>) -> S3Result<&'static str> {
    let kind = match asked.map(ChecksumType::as_str) {
        None if algorithm == Algorithm::Crc64Nvme => FULL_OBJECT,
        None => COMPOSITE,
        Some(FULL_OBJECT) => FULL_OBJECT,
        Some(COMPOSITE) => COMPOSITE,
        Some(_) => {
            return Err(refused(
                S3ErrorCode::InvalidRequest,
                "The checksum type is invalid.",
            ));
        }
    };
    let impossible = (kind == FULL_OBJECT && !algorithm.combines())
        || (kind == COMPOSITE && algorithm == Algorithm::Crc64Nvme);
    if impossible {
        return Err(refused(
            S3ErrorCode::InvalidRequest,
            format!(
                "The {kind} checksum type cannot be used with the {} checksum algorithm.",
                algorithm.name()
            ),
        ));
    }
    Ok(kind)
}

/// The algorithm that every part of an upload is summed with. An upload that was not started here
/// has none kept and uses the default.
fn algorithm_of(upload: &UploadInfo) -> S3Result<Algorithm> {
    upload
        .attributes
        .checksums
        .get(ALGORITHM)
        .map_or(Ok(Algorithm::Crc64Nvme), |name| Algorithm::parse(name))
}

fn part_tags(named: &[CompletedPart]) -> S3Result<Vec<PartTag>> {
    if named.is_empty() {
        let message = "You must specify at least one part";
        return Err(refused(S3ErrorCode::MalformedXML, message));
    }
    let tag = |part: &CompletedPart| {
        let number = part_number(part.part_number.unwrap_or(0))?;
        let etag = part
            .e_tag
            .as_ref()
            .map(|etag| etag.value().to_owned())
            .unwrap_or_default();
        Ok(PartTag { number, etag })
    };
    named.iter().map(tag).collect()
}

/// The uploaded parts that a completion names, in its order. One that is missing is left for the
/// store to refuse, in the same transaction as the rest.
fn chosen(
    named: &[CompletedPart],
    tags: &[PartTag],
    parts: Vec<PartInfo>,
) -> S3Result<Vec<PartInfo>> {
    let mut by_number: HashMap<u32, PartInfo> =
        parts.into_iter().map(|part| (part.number, part)).collect();
    let mut chosen = Vec::with_capacity(tags.len());
    for (part, tag) in named.iter().zip(tags) {
        let Some(found) = by_number.remove(&tag.number) else {
            continue;
        };
        let claims = [
            (Algorithm::Crc32, &part.checksum_crc32),
            (Algorithm::Crc32c, &part.checksum_crc32c),
            (Algorithm::Crc64Nvme, &part.checksum_crc64nvme),
            (Algorithm::Sha1, &part.checksum_sha1),
            (Algorithm::Sha256, &part.checksum_sha256),
        ];
        for (algorithm, claimed) in claims {
            let stored = found.checksums.get(algorithm.name());
            if claimed
                .as_ref()
                .is_some_and(|claimed| stored.is_some_and(|stored| stored != claimed))
            {
                return Err(refused(
                    S3ErrorCode::InvalidPart,
                    "One or more of the specified parts could not be found. The part may not have \
                     been uploaded, or the specified checksum may not have matched the uploaded part.",
                ));
            }
        }
        chosen.push(found);
    }
    Ok(chosen)
}

fn check_size(parts: &[PartInfo], claimed: Option<i64>) -> S3Result<()> {
    let bytes: u64 = parts.iter().map(|part| part.size).sum();
    if claimed.is_some_and(|claimed| claimed as u64 != bytes) {
        let message =
            "The provided 'x-amz-mp-object-size' header does not match what was computed.";
        return Err(refused(S3ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

/// The checksums that the finished object carries.
fn object_sums(upload: &UploadInfo, parts: &[PartInfo]) -> S3Result<Sums> {
    let algorithm = algorithm_of(upload)?;
    let kind = upload
        .attributes
        .checksums
        .get(TYPE)
        .map_or(FULL_OBJECT, String::as_str);
    let of_part = |part: &'_ PartInfo| part.checksums.contains_key(algorithm.name());
    // Parts that came in some other way than through this endpoint carry none.
    if !parts.iter().all(of_part) {
        return Ok(Sums::new());
    }
    let sums: Vec<PartSum<'_>> = parts
        .iter()
        .map(|part| (part.checksums[algorithm.name()].as_str(), part.size))
        .collect();
    let sum = checksums::of_parts(algorithm, kind, &sums)?;
    Ok(Sums::from([
        (algorithm.name().to_owned(), sum),
        (TYPE.to_owned(), kind.to_owned()),
    ]))
}

fn check_claims(
    claimed: &BTreeMap<Algorithm, String>,
    kind: Option<&ChecksumType>,
    computed: &Sums,
) -> S3Result<()> {
    if kind.is_some_and(|kind| Some(kind) != checksum_type(computed).as_ref()) {
        let message = "The upload was created using another checksum type.";
        return Err(refused(S3ErrorCode::InvalidRequest, message));
    }
    for (algorithm, value) in claimed {
        // The number of parts behind a composite may be left out.
        let same = computed.get(algorithm.name()).is_some_and(|sum| {
            sum == value || sum.split_once('-').is_some_and(|(sum, _)| sum == value)
        });
        if !same {
            let name = algorithm.name().to_uppercase();
            let message =
                format!("The {name} you specified did not match the calculated checksum.");
            return Err(refused(S3ErrorCode::BadDigest, message));
        }
    }
    Ok(())
}

fn copy_range(text: &str, size: u64) -> S3Result<std::ops::Range<u64>> {
    let span = text
        .strip_prefix("bytes=")
        .and_then(|rest| rest.split_once('-'));
    let span = span
        .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match span {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        Some(_) => {
            let message = "Range specified is not valid for source object of size";
            Err(refused(
                S3ErrorCode::InvalidArgument,
                format!("{message}: {size}"),
            ))
        }
        None => Err(refused(
            S3ErrorCode::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy",
        )),
    }
}
