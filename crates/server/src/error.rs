//! The service's exceptions, and how they look on the wire.
//!
//! Errors of the layers below become exceptions here and nowhere else. The client gets a sentence
//! it can act on; the cause of an internal failure goes to the log under the request id.

use kindred_types::check::Refusal;
use serde_json::json;

/// Which exception. The first group is modelled, the second common to all operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionKind {
    /// A constraint is violated or a value makes no sense.
    InvalidInput,
    /// The ARN names nothing.
    ResourceNotFound,
    /// The ARN that the new resource would get is taken.
    ResourceAlreadyExists,
    /// The resource, or one it depends on, is in a state that forbids the call.
    ResourceInUse,
    /// A configured quota or the request rate is reached.
    LimitExceeded,
    /// The token was not issued for this operation and arguments.
    InvalidNextToken,
    /// More than 50 tags would be on the resource.
    TooManyTags,
    /// More than 50 distinct keys in one UntagResource.
    TooManyTagKeys,
    /// The request is not signed.
    MissingAuthenticationToken,
    /// The signature is malformed or does not cover what it must.
    IncompleteSignature,
    /// The access key is not known.
    UnrecognizedClient,
    /// The signature is wrong, or its date is.
    InvalidSignature,
    /// The session that the key belongs to has ended.
    ExpiredToken,
    /// Known, but not allowed.
    AccessDenied,
    /// No such operation.
    UnknownOperation,
    /// Not JSON, or a member of the wrong type.
    Serialization,
    /// Too many requests, where LimitExceeded is not declared.
    Throttling,
    /// Ours.
    InternalFailure,
    /// Stopping, or too busy.
    ServiceUnavailable,
}

impl ExceptionKind {
    /// The name that clients see as the error code.
    pub fn name(self) -> &'static str {
        use ExceptionKind::*;
        match self {
            InvalidInput => "InvalidInputException",
            ResourceNotFound => "ResourceNotFoundException",
            ResourceAlreadyExists => "ResourceAlreadyExistsException",
            ResourceInUse => "ResourceInUseException",
            LimitExceeded => "LimitExceededException",
            InvalidNextToken => "InvalidNextTokenException",
            TooManyTags => "TooManyTagsException",
            TooManyTagKeys => "TooManyTagKeysException",
            MissingAuthenticationToken => "MissingAuthenticationTokenException",
            IncompleteSignature => "IncompleteSignatureException",
            UnrecognizedClient => "UnrecognizedClientException",
            InvalidSignature => "InvalidSignatureException",
            ExpiredToken => "ExpiredTokenException",
            AccessDenied => "AccessDeniedException",
            UnknownOperation => "UnknownOperationException",
            Serialization => "SerializationException",
            Throttling => "ThrottlingException",
            InternalFailure => "InternalFailure",
            ServiceUnavailable => "ServiceUnavailable",
        }
    }

    /// The HTTP status on the control plane: 400 for the client's faults.
    pub fn status(self) -> u16 {
        match self {
            ExceptionKind::InternalFailure => 500,
            ExceptionKind::ServiceUnavailable => 503,
            _ => 400,
        }
    }
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub struct Exception {
    /// Which one.
    pub kind: ExceptionKind,
    /// What the client reads.
    pub message: String,
}

impl Exception {
    fn new(kind: ExceptionKind, message: impl Into<String>) -> Self {
        Exception {
            kind,
            message: message.into(),
        }
    }

    /// InvalidInputException.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::InvalidInput, message)
    }

    /// ResourceNotFoundException for an ARN.
    pub fn not_found_arn(arn: &str) -> Self {
        Exception::new(
            ExceptionKind::ResourceNotFound,
            format!("Resource {arn} does not exist."),
        )
    }

    /// ResourceAlreadyExistsException for an ARN.
    pub fn already_exists(arn: &str) -> Self {
        let message = format!("Another resource with Arn {arn} already exists.");
        Exception::new(ExceptionKind::ResourceAlreadyExists, message)
    }

    /// ResourceInUseException.
    pub fn in_use(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::ResourceInUse, message)
    }

    /// LimitExceededException.
    pub fn limit_exceeded(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::LimitExceeded, message)
    }

    /// InvalidNextTokenException.
    pub fn invalid_next_token(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::InvalidNextToken, message)
    }

    /// TooManyTagsException.
    pub fn too_many_tags(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::TooManyTags, message)
    }

    /// TooManyTagKeysException.
    pub fn too_many_tag_keys(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::TooManyTagKeys, message)
    }

    /// SerializationException.
    pub fn serialization(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::Serialization, message)
    }

    /// UnknownOperationException.
    pub fn unknown_operation(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::UnknownOperation, message)
    }

    /// InternalFailure. The cause goes to the log; the client learns nothing of it.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal failure");
        Exception::new(
            ExceptionKind::InternalFailure,
            "The request failed because of an internal error.",
        )
    }

    /// The JSON body.
    pub fn body(&self) -> String {
        json!({"__type": self.kind.name(), "message": self.message}).to_string()
    }
}

impl From<kindred_catalog::Error> for Exception {
    fn from(error: kindred_catalog::Error) -> Self {
        match error {
            kindred_catalog::Error::Exists(arn) => Exception::already_exists(&arn),
            kindred_catalog::Error::Missing(arn) => Exception::not_found_arn(&arn),
            other => Exception::internal(other),
        }
    }
}

impl From<Refusal> for Exception {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Serialization(text) => Exception::serialization(text),
            Refusal::Constraints(text) => Exception::invalid_input(text),
        }
    }
}
