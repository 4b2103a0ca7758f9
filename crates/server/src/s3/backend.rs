//! The S3 operations that are served: one line each. Whatever is not listed answers NotImplemented.

use super::errors::{custom, refused};
use super::objects::check_version;
use http::StatusCode;
use kindred_store::{EmbeddedStore, Location};
use kindred_types::arn::Account;
use s3s::dto::*;
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};

/// The operations over the embedded store.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) store: EmbeddedStore,
    pub(super) account: Account,
}

/// What an operation gives.
pub(super) type Answer<T> = S3Result<S3Response<T>>;

impl Backend {
    pub(super) fn new(store: EmbeddedStore, account: Account) -> Self {
        Backend { store, account }
    }

    /// The owner of everything here: the one account.
    pub(super) fn owner(&self) -> Owner {
        Owner {
            display_name: None,
            id: Some(self.account.account.clone()),
        }
    }

    pub(super) fn initiator(&self) -> Initiator {
        Initiator {
            display_name: None,
            id: Some(self.account.account.clone()),
        }
    }

    /// Refuses a request that expects the bucket to be somebody else's.
    pub(super) fn check_owner(&self, expected: Option<&str>) -> S3Result<()> {
        match expected {
            Some(expected) if expected != self.account.account => Err(custom(
                "AccessDenied",
                StatusCode::FORBIDDEN,
                "Access Denied",
            )),
            _ => Ok(()),
        }
    }
}

/// Operations by the names of the protocol, each with the method that does it.
macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident = $method:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Backend {
            $(async fn $operation(&self, request: S3Request<$input>) -> Answer<$output> {
                self.$method(request).await
            })*

            async fn put_object_tagging(
                &self,
                request: S3Request<PutObjectTaggingInput>,
            ) -> Answer<PutObjectTaggingOutput> {
                let input = request.input;
                check_version(input.version_id.as_deref())?;
                let at = Location::new(input.bucket, input.key);
                let owner = input.expected_bucket_owner;
                self.replace_tags(owner.as_deref(), at, input.tagging.tag_set).await?;
                Ok(S3Response::new(PutObjectTaggingOutput::default()))
            }

            async fn delete_object_tagging(
                &self,
                request: S3Request<DeleteObjectTaggingInput>,
            ) -> Answer<DeleteObjectTaggingOutput> {
                let input = request.input;
                check_version(input.version_id.as_deref())?;
                let at = Location::new(input.bucket, input.key);
                self.replace_tags(input.expected_bucket_owner.as_deref(), at, Vec::new()).await?;
                Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
            }

            async fn post_object(
                &self,
                _request: S3Request<PostObjectInput>,
            ) -> Answer<PostObjectOutput> {
                let message = "Form uploads are not supported; use PutObject or a presigned URL.";
                Err(refused(S3ErrorCode::NotImplemented, message))
            }
        }
    };
}

operations! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput = make_bucket;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = remove_bucket;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = find_bucket;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = all_buckets;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = bucket_location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = bucket_versioning;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = set_policy;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = policy;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = remove_policy;
    list_objects(ListObjectsInput) -> ListObjectsOutput = list_first;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list_second;
    put_object(PutObjectInput) -> PutObjectOutput = put;
    get_object(GetObjectInput) -> GetObjectOutput = get;
    head_object(HeadObjectInput) -> HeadObjectOutput = head;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = remove;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = remove_many;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tags;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = start;
    upload_part(UploadPartInput) -> UploadPartOutput = part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = part_by_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = abort;
    list_parts(ListPartsInput) -> ListPartsOutput = parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = uploads;
}
