//! Operations on buckets and their policies.

use super::backend::{Answer, Backend};
use super::errors::{blocking, refused};
use super::objects::timestamp;
use crate::policy::{Kind, Malformed, Policy};
use kindred_store::Error;
use kindred_store::names::{BUCKETS_MAX, POLICY_BYTES_MAX, check_bucket};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

const PAGE_MAX: usize = BUCKETS_MAX as usize;

impl Backend {
    pub(super) async fn make_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> Answer<CreateBucketOutput> {
        let input = request.input;
        if input
            .acl
            .is_some_and(|acl| acl.as_str() != BucketCannedACL::PRIVATE)
        {
            return Err(no_acls());
        }
        if input.object_lock_enabled_for_bucket == Some(true) {
            let message = "Object Lock is not supported by this server.";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        let name = input.bucket;
        if check_bucket(&name).is_err() {
            let message = "The specified bucket is not valid.";
            return Err(refused(S3ErrorCode::InvalidBucketName, message));
        }
        let location = format!("/{name}");
        let store = self.store.clone();
        // The inner result is the store's refusal for too many buckets, which has its own code.
        let made = blocking(move || match store.create_bucket(&name) {
            Err(Error::TooLarge { limit, .. }) => Ok(Err(limit)),
            other => other.map(Ok),
        });
        match made.await? {
            Err(limit) => Err(refused(
                S3ErrorCode::TooManyBuckets,
                format!("You have attempted to create more than {limit} buckets"),
            )),
            // As on AWS, making one's own bucket again is only an error outside us-east-1.
            Ok(false) if self.account.region != "us-east-1" => Err(refused(
                S3ErrorCode::BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it.",
            )),
            Ok(_) => Ok(S3Response::new(CreateBucketOutput {
                location: Some(location),
            })),
        }
    }

    pub(super) async fn remove_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> Answer<DeleteBucketOutput> {
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        let (store, name) = (self.store.clone(), request.input.bucket);
        blocking(move || store.delete_bucket(&name)).await?;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    pub(super) async fn find_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> Answer<HeadBucketOutput> {
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        self.require_bucket(request.input.bucket).await?;
        let bucket_region = Some(self.account.region.clone());
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region,
            ..Default::default()
        }))
    }

    pub(super) async fn bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        self.require_bucket(request.input.bucket).await?;
        // us-east-1 is the region without a name here.
        let region = Some(self.account.region.clone()).filter(|region| region != "us-east-1");
        let location_constraint = region.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint,
        }))
    }

    pub(super) async fn bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        self.require_bucket(request.input.bucket).await?;
        // No status: never switched on, which is so for every bucket here.
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    pub(super) async fn all_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> Answer<ListBucketsOutput> {
        let input = request.input;
        let max = match input.max_buckets {
            None => PAGE_MAX,
            Some(max) => usize::try_from(max)
                .ok()
                .filter(|max| *max > 0)
                .ok_or_else(|| {
                    refused(S3ErrorCode::InvalidArgument, "max-buckets must be positive")
                })?,
        };
        let store = self.store.clone();
        let all = blocking(move || store.buckets()).await?;
        let prefix = input.prefix.clone().unwrap_or_default();
        // The token is the last name of the page before.
        let after = input.continuation_token.unwrap_or_default();
        let mut found: Vec<_> = all
            .into_iter()
            .filter(|bucket| bucket.name.starts_with(&prefix) && bucket.name > after)
            .collect();
        let more = found.len() > max;
        found.truncate(max);
        let continuation_token = found
            .last()
            .filter(|_| more)
            .map(|bucket| bucket.name.clone());
        let buckets = found
            .into_iter()
            .map(|bucket| Bucket {
                bucket_region: Some(self.account.region.clone()),
                creation_date: Some(timestamp(bucket.created)),
                name: Some(bucket.name),
            })
            .collect();
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token,
            owner: Some(self.owner()),
            prefix: input.prefix,
        }))
    }

    pub(super) async fn set_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> Answer<PutBucketPolicyOutput> {
        let input = request.input;
        self.check_owner(input.expected_bucket_owner.as_deref())?;
        check_policy(&input.policy, &input.bucket)?;
        let (store, name) = (self.store.clone(), input.bucket);
        blocking(move || store.set_bucket_policy(&name, Some(&input.policy))).await?;
        Ok(S3Response::new(PutBucketPolicyOutput {}))
    }

    pub(super) async fn policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> Answer<GetBucketPolicyOutput> {
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        let (store, name) = (self.store.clone(), request.input.bucket);
        let bucket = blocking(move || store.bucket(&name)).await?;
        if bucket.policy.is_none() {
            let message = "The bucket policy does not exist";
            return Err(refused(S3ErrorCode::NoSuchBucketPolicy, message));
        }
        Ok(S3Response::new(GetBucketPolicyOutput {
            policy: bucket.policy,
        }))
    }

    pub(super) async fn remove_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> Answer<DeleteBucketPolicyOutput> {
        self.check_owner(request.input.expected_bucket_owner.as_deref())?;
        let (store, name) = (self.store.clone(), request.input.bucket);
        blocking(move || store.set_bucket_policy(&name, None)).await?;
        Ok(S3Response::new(DeleteBucketPolicyOutput {}))
    }

    async fn require_bucket(&self, name: String) -> S3Result<()> {
        let store = self.store.clone();
        blocking(move || store.bucket(&name)).await.map(|_| ())
    }
}

/// The refusal for any ACL but the private one.
pub(super) fn no_acls() -> s3s::S3Error {
    super::errors::custom(
        "AccessControlListNotSupported",
        http::StatusCode::BAD_REQUEST,
        "The bucket does not allow ACLs",
    )
}

fn check_policy(text: &str, bucket: &str) -> S3Result<()> {
    let malformed = |message: String| Err(refused(S3ErrorCode::MalformedPolicy, message));
    if text.len() > POLICY_BYTES_MAX {
        return malformed("Policies must be at most 20 KB".into());
    }
    match Policy::parse(text, Kind::Bucket(bucket)) {
        Ok(_) => Ok(()),
        Err(Malformed::Json) => {
            malformed("Policies must be valid JSON and the first byte must be '{'".into())
        }
        Err(error) => malformed(error.to_string()),
    }
}
