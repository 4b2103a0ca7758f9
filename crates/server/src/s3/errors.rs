//! Store errors as S3 errors: the one place where they meet.
//!
//! The client gets a code and a sentence; the cause goes to the log.

use http::StatusCode;
use kindred_store::{Error, KeyProblem, PartProblem};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// What S3 answers for a store error.
pub(crate) fn from_store(error: Error) -> S3Error {
    let (code, message) = match &error {
        Error::NotFound(_) => (
            S3ErrorCode::NoSuchKey,
            "The specified key does not exist.".into(),
        ),
        Error::NoSuchBucket(_) => (
            S3ErrorCode::NoSuchBucket,
            "The specified bucket does not exist".into(),
        ),
        Error::BucketNotEmpty(_) => (
            S3ErrorCode::BucketNotEmpty,
            "The bucket you tried to delete is not empty".into(),
        ),
        Error::Denied { .. } => (S3ErrorCode::AccessDenied, "Access Denied".into()),
        Error::NoSuchUpload(_) => (
            S3ErrorCode::NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may \
             have been aborted or completed."
                .into(),
        ),
        Error::PartRefused { problem, .. } => {
            let code = match problem {
                PartProblem::Missing => S3ErrorCode::InvalidPart,
                PartProblem::OutOfOrder => S3ErrorCode::InvalidPartOrder,
                PartProblem::TooSmall => S3ErrorCode::EntityTooSmall,
            };
            (code, error.to_string())
        }
        Error::PreconditionFailed(_) | Error::Changed(_) => (
            S3ErrorCode::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold".into(),
        ),
        Error::TooLarge { .. } => (S3ErrorCode::EntityTooLarge, error.to_string()),
        Error::Invalid(message) => (S3ErrorCode::InvalidArgument, message.clone()),
        Error::Key { .. } => return from_key(&error),
        Error::Unavailable(_) | Error::Poisoned => {
            tracing::error!(%error, "the store is not available");
            (
                S3ErrorCode::ServiceUnavailable,
                "Please try again later.".into(),
            )
        }
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            tracing::error!(%error, "the disk is full");
            (
                S3ErrorCode::ServiceUnavailable,
                "There is no space left for this request.".into(),
            )
        }
        Error::Damaged(_) | Error::Io { .. } | Error::Index(_) => {
            tracing::error!(%error, "a storage request failed");
            let message = "We encountered an internal error. Please try again.";
            (S3ErrorCode::InternalError, message.into())
        }
    };
    S3Error::with_message(code, message)
}

/// What S3 answers when a key cannot be used: the key service's own error, marked as such.
fn from_key(error: &Error) -> S3Error {
    let Error::Key { problem, .. } = error else {
        return S3Error::new(S3ErrorCode::InternalError);
    };
    let (code, status) = match problem {
        KeyProblem::NotFound => ("KMS.NotFoundException", StatusCode::BAD_REQUEST),
        KeyProblem::Disabled => ("KMS.DisabledException", StatusCode::BAD_REQUEST),
        KeyProblem::Denied | KeyProblem::Ciphertext => ("AccessDenied", StatusCode::FORBIDDEN),
    };
    custom(code, status, &error.to_string())
}

/// An error with one of S3's codes that `s3s` does not list, or with a status of its own.
pub(crate) fn custom(code: &'static str, status: http::StatusCode, message: &str) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InvalidRequest);
    let mut error = S3Error::with_message(code, message.to_owned());
    error.set_status_code(status);
    error
}

/// An error with one of S3's codes.
pub(crate) fn refused(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

/// Runs work that may wait for the disk where waiting is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> S3Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(from_store),
        Err(panic) => {
            tracing::error!(%panic, "a storage request did not come to its end");
            Err(refused(
                S3ErrorCode::InternalError,
                "We encountered an internal error.",
            ))
        }
    }
}
