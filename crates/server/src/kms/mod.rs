//! The key service's own protocol: `TrentService.*`, so that any KMS client manages the keys of
//! this server and lets them encrypt.
//!
//! Symmetric keys with creation, description, lists, enabling and disabling, rotation on demand,
//! Encrypt, Decrypt and data keys. What a request asks for beyond that is refused by name, never
//! passed over. Keys have no policies or grants of their own; they cannot be deleted.

mod operations;
mod remote;

pub(crate) use remote::{RemoteKeys, RemoteSettings};

use crate::audit::{Audit, Entry, SUCCESS, masked};
use crate::error::{Exception, ExceptionKind};
use crate::http::{JSON, Operation, RateLimiter, respond, run_blocking};
use crate::identity::Callers;
use crate::policy::Context;
use crate::sigv4::Verifier;
use crate::telemetry;
use axum::body::Body;
use bytes::Bytes;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use kindred_store::{Error, KeyProblem, KeyRing};
use kindred_types::arn::Account;
use kindred_types::parts::Random;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the target header of a request for keys starts with.
pub(crate) const TARGET_PREFIX: &str = "TrentService.";
const ERROR_TYPE: &str = "x-amzn-errortype";

/// Answers requests for keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyPlane {
    pub(crate) verifier: Verifier,
    pub(crate) callers: Arc<dyn Callers>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) limiter: Arc<RateLimiter>,
    /// None where the keys are somebody else's.
    pub(crate) ring: Option<Arc<KeyRing>>,
    pub(crate) account: Account,
    pub(crate) random: Arc<dyn Random>,
}

/// An error answer.
#[derive(Debug)]
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Refusal {
            status: 400,
            code,
            message: message.into(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Refusal::new("ValidationException", message)
    }
}

impl KeyPlane {
    pub(crate) async fn answer(
        &self,
        parts: &Parts,
        body: Bytes,
        request_id: &str,
    ) -> Response<Body> {
        let mut response = match self.run(parts, body, request_id).await {
            Ok(value) => respond(StatusCode::OK, JSON, value.to_string()),
            Err(refusal) => {
                tracing::debug!(request_id, code = refusal.code, "request for a key refused");
                let status = StatusCode::from_u16(refusal.status);
                let text = json!({"__type": refusal.code, "message": refusal.message});
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = respond(status, JSON, text.to_string());
                let code = HeaderValue::from_static(refusal.code);
                response.headers_mut().insert(ERROR_TYPE, code);
                response
            }
        };
        let known = operation(parts).filter(|name| operations::NAMES.contains(name));
        let named = Operation(known.unwrap_or("unknown").to_owned());
        response.extensions_mut().insert(named);
        response
    }

    async fn run(&self, parts: &Parts, body: Bytes, request_id: &str) -> Result<Value, Refusal> {
        let name = operation(parts)
            .filter(|_| parts.method == Method::POST && parts.uri.path() == "/")
            .ok_or_else(|| Refusal::from(Exception::unknown_operation("")))?
            .to_owned();
        let access_key = self.verifier.verify(parts, &body, &["kms"])?;
        if !self.limiter.admit(&access_key) {
            telemetry::limited("kms");
            return Err(Refusal::from(Exception {
                kind: ExceptionKind::Throttling,
                message: "Rate exceeded".to_owned(),
            }));
        }
        let plane = self.clone();
        let request_id = request_id.to_owned();
        let answered =
            run_blocking(move || Ok(plane.dispatch(&access_key, &name, &body, request_id))).await;
        answered.unwrap_or_else(|exception| Err(exception.into()))
    }

    fn dispatch(
        &self,
        access_key: &str,
        name: &str,
        body: &[u8],
        request_id: String,
    ) -> Result<Value, Refusal> {
        let caller = self.callers.caller(access_key)?;
        let Some(ring) = &self.ring else {
            return Err(Refusal::new(
                "UnsupportedOperationException",
                "The keys of this server are held by the key service of its configuration (kms.endpoint).",
            ));
        };
        let input: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        let Value::Object(input) = input else {
            let message = "The request must be a JSON object.";
            return Err(Refusal::new("SerializationException", message));
        };
        let call = operations::Call {
            ring,
            account: &self.account,
            random: &*self.random,
            input: &input,
        };
        let action = format!("kms:{name}");
        let resource = call.resource();
        let answer = caller
            .may(&action, &resource, Context::default(), None)
            .map_err(|sentence| Refusal::new("AccessDeniedException", sentence))
            .and_then(|()| call.answer(name));
        let outcome = answer
            .as_ref()
            .err()
            .map_or(SUCCESS, |refusal| refusal.code);
        self.audit.write(&Entry {
            action,
            resource,
            outcome: outcome.to_owned(),
            request_id: Some(request_id),
            parameters: Some(masked(Value::Object(input.clone()))),
            ..Entry::by(&caller)
        });
        answer
    }
}

/// The operation that the target header names.
fn operation(parts: &Parts) -> Option<&str> {
    let target = parts.headers.get("x-amz-target")?.to_str().ok()?;
    target.strip_prefix(TARGET_PREFIX)
}

impl From<Exception> for Refusal {
    fn from(exception: Exception) -> Self {
        Refusal {
            status: exception.kind.status(),
            code: exception.kind.name(),
            message: exception.message,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match &error {
            Error::Key { key, problem, .. } => match problem {
                KeyProblem::NotFound => {
                    Refusal::new("NotFoundException", format!("Key '{key}' does not exist"))
                }
                KeyProblem::Disabled => {
                    Refusal::new("DisabledException", format!("{key} is disabled."))
                }
                KeyProblem::Denied => Refusal::new("AccessDeniedException", error.to_string()),
                KeyProblem::Ciphertext => Refusal::new(
                    "InvalidCiphertextException",
                    "The ciphertext is damaged, or was made by another key or for another encryption context.",
                ),
            },
            Error::TooLarge { .. } => Refusal::new("LimitExceededException", error.to_string()),
            _ => {
                tracing::error!(%error, "the key ring failed");
                Refusal {
                    status: 500,
                    code: "KMSInternalException",
                    message: "The request failed because of an internal error.".into(),
                }
            }
        }
    }
}
