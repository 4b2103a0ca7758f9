//! Whether a caller may do an S3 operation.
//!
//! Asked by the protocol layer between signature and operation. Every operation has its action and
//! its resource; copies also read their source, and each key of a deletion is asked about. What is
//! encrypted also needs the right to its key, as on AWS. Bucket policies count beside the caller's
//! own. The operator is bound by neither, so that no policy can
//! lock a server's owner out.

use super::errors::refused;
use super::rates;
use crate::http::RateLimiter;
use crate::identity::{BucketPolicies, Caller, Callers};
use crate::policy::{Context, key, s3_arn};
use kindred_jobs::Refused;
use kindred_store::Location;
use kindred_types::arn::Account;
use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, DeleteObjectsInput, UploadPartCopyInput};
use s3s::path::S3Path;
use s3s::{S3ErrorCode, S3Request, S3Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Names the key that is to encrypt an object.
const KEY_HEADER: &str = "x-amz-server-side-encryption-aws-kms-key-id";

/// Asks about every request.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) limiter: Arc<RateLimiter>,
    pub(super) callers: Arc<dyn Callers>,
    pub(super) buckets: BucketPolicies,
    pub(super) account: Account,
}

/// What is known of a request once it was asked about; travels with it for the audit log.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Asked>>>);

/// Who asked for what.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) caller: Caller,
    pub(super) action: String,
    pub(super) resource: String,
}

impl Seen {
    fn note(&self, asked: &Asked) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(asked.clone());
    }

    pub(super) fn take(&self) -> Option<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An action on a bucket, or on a key in it.
struct Wanted {
    action: String,
    bucket: Option<String>,
    key: Option<String>,
    context: Context,
    /// The key that is to encrypt what is written.
    encrypts_with: Option<String>,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(refused(S3ErrorCode::AccessDenied, "Signature is required"));
        };
        let access_key = credentials.access_key.clone();
        rates::admit(&self.limiter, &access_key)?;
        let operation = cx.s3_op().name();
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        let wanted = Wanted {
            action: action(operation).unwrap_or_else(|| format!("s3:{operation}")),
            bucket,
            key,
            context: listing_context(cx.uri().query().unwrap_or_default()),
            encrypts_with: cx
                .headers()
                .get(KEY_HEADER)
                .and_then(|key| key.to_str().ok())
                .map(|key| self.key_arn(key)),
        };
        // A deletion of many keys is asked about when they are known; here, only who asks.
        let decided_later = operation == "DeleteObjects";
        let seen = cx.extensions_mut().get::<Seen>().cloned();
        self.ask(access_key, vec![wanted], seen, decided_later)
            .await
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        let source = source(&request.input.copy_source);
        self.ask_about_source(request, source).await
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        let source = source(&request.input.copy_source);
        self.ask_about_source(request, source).await
    }

    async fn delete_objects(&self, request: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let keys = &request.input.delete.objects;
        // Their number is bounded by the size of the document.
        let wanted = keys.iter().map(|object| Wanted {
            action: "s3:DeleteObject".into(),
            bucket: Some(request.input.bucket.clone()),
            key: Some(object.key.clone()),
            context: Context::default(),
            encrypts_with: None,
        });
        let wanted = wanted.collect();
        let Some(credentials) = &request.credentials else {
            return Err(refused(S3ErrorCode::AccessDenied, "Signature is required"));
        };
        let access_key = credentials.access_key.clone();
        self.ask(access_key, wanted, None, false).await
    }
}

impl Access {
    async fn ask_about_source<T>(
        &self,
        request: &S3Request<T>,
        source: Option<(String, String)>,
    ) -> S3Result<()> {
        let (Some(credentials), Some((bucket, key))) = (&request.credentials, source) else {
            return Err(refused(S3ErrorCode::AccessDenied, "Access Denied"));
        };
        let wanted = Wanted {
            action: "s3:GetObject".into(),
            bucket: Some(bucket),
            key: Some(key),
            context: Context::default(),
            encrypts_with: None,
        };
        let access_key = credentials.access_key.clone();
        self.ask(access_key, vec![wanted], None, false).await
    }

    /// Asks about all of it, where waiting for the database is allowed.
    async fn ask(
        &self,
        access_key: String,
        wanted: Vec<Wanted>,
        seen: Option<Seen>,
        decided_later: bool,
    ) -> S3Result<()> {
        let access = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let caller = access.callers.caller(&access_key).map_err(|exception| {
                tracing::debug!(error = %exception, "no rights for an access key");
                refused(S3ErrorCode::AccessDenied, exception.message)
            })?;
            wanted
                .into_iter()
                .try_for_each(|wanted| access.decide(&caller, wanted, seen.as_ref(), decided_later))
        });
        asked.await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "rights could not be decided");
            Err(refused(
                S3ErrorCode::InternalError,
                "We encountered an internal error.",
            ))
        })
    }

    fn decide(
        &self,
        caller: &Caller,
        wanted: Wanted,
        seen: Option<&Seen>,
        decided_later: bool,
    ) -> S3Result<()> {
        let resource = match &wanted.bucket {
            Some(bucket) => s3_arn(&self.account, bucket, wanted.key.as_deref()),
            None => "*".to_owned(),
        };
        if let Some(seen) = seen {
            seen.note(&Asked {
                caller: caller.clone(),
                action: wanted.action.clone(),
                resource: resource.clone(),
            });
        }
        if caller.is_operator() || decided_later {
            return Ok(());
        }
        let policy = match &wanted.bucket {
            Some(bucket) => self.buckets.of(bucket).map_err(|refusal| match refusal {
                Refused::Denied(reason) => refused(S3ErrorCode::AccessDenied, reason),
                Refused::Unavailable(error) => {
                    tracing::error!(%error, "bucket policies cannot be read");
                    refused(S3ErrorCode::ServiceUnavailable, "Please try again later.")
                }
            })?,
            None => None,
        };
        let denied = |reason| refused(S3ErrorCode::AccessDenied, reason);
        caller
            .may(&wanted.action, &resource, wanted.context, policy.as_deref())
            .map_err(denied)?;
        let may_use = |action: &str, key: &str| {
            caller
                .may(action, key, Context::default(), None)
                .map_err(denied)
        };
        if let Some(key) = &wanted.encrypts_with {
            may_use("kms:GenerateDataKey", key)?;
        }
        if let ("s3:GetObject", Some(bucket), Some(key)) =
            (wanted.action.as_str(), wanted.bucket, wanted.key)
            && let Some(key) = self.buckets.key_of(&Location::new(bucket, key))
        {
            may_use("kms:Decrypt", &key)?;
        }
        Ok(())
    }

    /// A key may be named by its ARN or by its id.
    fn key_arn(&self, key: &str) -> String {
        if key.starts_with("arn:") {
            key.to_owned()
        } else {
            self.account.kms_key(key)
        }
    }
}

/// The action of an operation; `None` where both have one name.
fn action(operation: &str) -> Option<String> {
    let action = match operation {
        "ListBuckets" => "ListAllMyBuckets",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "ListBucket",
        "HeadObject" => "GetObject",
        "CreateMultipartUpload"
        | "UploadPart"
        | "CompleteMultipartUpload"
        | "CopyObject"
        | "UploadPartCopy" => "PutObject",
        "ListParts" => "ListMultipartUploadParts",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "DeleteObjects" => "DeleteObject",
        _ => return None,
    };
    Some(format!("s3:{action}"))
}

/// Prefix and delimiter, which listings are asked about under.
fn listing_context(query: &str) -> Context {
    let value = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| {
                let blanks = value.replace('+', " ");
                percent_decode_str(&blanks).decode_utf8_lossy().into_owned()
            })
    };
    let mut context = Context::default();
    for (key, name) in [(key::PREFIX, "prefix"), (key::DELIMITER, "delimiter")] {
        if let Some(value) = value(name) {
            context = context.with(key, value);
        }
    }
    context
}

fn source(source: &CopySource) -> Option<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, .. } => Some((bucket.to_string(), key.to_string())),
        _ => None,
    }
}
