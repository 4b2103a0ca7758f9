//! The ways a try of a job ends without success.

use kindred_store as store;

/// Why a try ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The user can fix it: the job fails and this text is its `failureReason`.
    #[error("{0}")]
    Input(String),
    /// Something outside is away; the job is tried again later.
    #[error("{0}")]
    Retry(String),
    /// A stop was asked for, or the server is shutting down.
    #[error("stopped")]
    Stopped,
    /// Somebody else owns the job now; this try must leave no mark.
    #[error("lost the lease")]
    LeaseLost,
    /// Ours. The text goes to the log; the user sees a request id.
    #[error("{0}")]
    Internal(String),
}

impl From<kindred_catalog::Error> for Failure {
    fn from(error: kindred_catalog::Error) -> Self {
        match error {
            kindred_catalog::Error::LeaseLost(_) => Failure::LeaseLost,
            other => Failure::Internal(other.to_string()),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Denied {
                operation,
                location,
            } => Failure::Input(format!(
                "Insufficient privileges for accessing data in Amazon S3. {operation} on {location} was denied."
            )),
            store::Error::Key {
                operation,
                key,
                problem,
            } => Failure::Input(format!(
                "Insufficient privileges for accessing data in Amazon S3. {operation} on {key} was denied: {problem}."
            )),
            store::Error::NotFound(location) => {
                Failure::Input(format!("Invalid S3 path: {location}. No object found."))
            }
            store::Error::NoSuchBucket(bucket) => {
                Failure::Input(format!("Invalid S3 path: bucket {bucket} does not exist."))
            }
            store::Error::Changed(location) => Failure::Input(format!(
                "The object {location} changed while the job was reading it."
            )),
            store::Error::Damaged(location) => Failure::Input(format!(
                "The stored bytes of {location} are damaged: their checksum does not match."
            )),
            store::Error::Unavailable(text) => Failure::Retry(text),
            other => Failure::Internal(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    /// A store error that travelled through a reader comes out as itself.
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<store::Error>() {
            Ok(inner) => inner.into(),
            Err(error) => Failure::Internal(error.to_string()),
        }
    }
}

impl From<kindred_engine::data::Error> for Failure {
    fn from(error: kindred_engine::data::Error) -> Self {
        use kindred_engine::data::Error;
        match error {
            Error::Stopped => Failure::Stopped,
            Error::Input(reason) => Failure::Input(reason),
            // A key that was refused travels through files as a store's refusal does through sources.
            Error::Source { source, .. } => source.into(),
            Error::File { source, .. } if is_of_store(&source) => source.into(),
            Error::Limit { .. } => Failure::Input(error.to_string()),
            other => Failure::Internal(with_causes(&other)),
        }
    }
}

impl From<kindred_engine::Error> for Failure {
    fn from(error: kindred_engine::Error) -> Self {
        match error {
            kindred_engine::Error::Stopped => Failure::Stopped,
            kindred_engine::Error::Data(reason) => Failure::Input(reason),
            kindred_engine::Error::Io { source, .. } if is_of_store(&source) => source.into(),
            other => Failure::Internal(with_causes(&other)),
        }
    }
}

fn is_of_store(error: &std::io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<store::Error>())
}

/// The error with what is below it, for the log.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
