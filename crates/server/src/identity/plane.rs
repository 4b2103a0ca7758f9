//! The way from an HTTP request to an action: signature, form, answer.

use super::{Callers, Form, Identity, action_name, namespace, xml};
use crate::audit::{Audit, Entry, SUCCESS, masked};
use crate::error::{Exception, ExceptionKind};
use crate::http::{FormPlane, Operation, RateLimiter, run_blocking};
use crate::sigv4::Verifier;
use crate::telemetry;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Most parameters of a form.
const PARAMETERS_MAX: usize = 1000;
/// The services whose requests come here.
const SERVICES: [&str; 2] = ["sts", "iam"];

/// STS and IAM behind signatures.
#[derive(Debug)]
pub(crate) struct IdentityPlane {
    pub(crate) identity: Arc<Identity>,
    pub(crate) verifier: Verifier,
    pub(crate) callers: Arc<dyn Callers>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) limiter: RateLimiter,
}

impl FormPlane for IdentityPlane {
    fn handle<'a>(
        &'a self,
        parts: &'a Parts,
        body: Bytes,
        request_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>> {
        Box::pin(async move {
            let form = read_form(parts, &body);
            let action = form.get("Action").cloned();
            let space = namespace(action.as_deref().unwrap_or_default());
            let answered = match self.verifier.verify(parts, &body, &SERVICES) {
                Ok(access_key) if !self.limiter.admit(&access_key) => {
                    telemetry::limited("sts-iam");
                    Err(Exception {
                        kind: ExceptionKind::Throttling,
                        message: "Rate exceeded".to_owned(),
                    })
                }
                Ok(access_key) => {
                    let (identity, callers) = (self.identity.clone(), self.callers.clone());
                    let (audit, id) = (self.audit.clone(), request_id.to_owned());
                    run_blocking(move || {
                        let caller = callers.caller(&access_key)?;
                        let answer = identity.handle(&caller, &form, &id);
                        audit.write(&Entry {
                            action: action_name(&form),
                            resource: identity.resource(&form),
                            outcome: answer.code.unwrap_or(SUCCESS).to_owned(),
                            request_id: Some(id),
                            parameters: serde_json::to_value(&form).ok().map(masked),
                            ..Entry::by(&caller)
                        });
                        Ok(answer)
                    })
                    .await
                }
                Err(exception) => Err(exception),
            };
            // A client cannot invent names: they become labels of the metrics.
            let known = matches!(&answered, Ok(answer) if !matches!(
                answer.code,
                Some("InvalidAction" | "MissingAction" | "AccessDenied")
            ));
            let mut response = match answered {
                Ok(answer) => respond(answer.status, answer.body),
                Err(exception) => {
                    let (status, code) = query_code(&exception);
                    respond(
                        status,
                        xml::error(space, status, code, &exception.message, request_id),
                    )
                }
            };
            let named = action.filter(|_| known);
            let operation = named.unwrap_or_else(|| "unknown".to_owned());
            response.extensions_mut().insert(Operation(operation));
            response
        })
    }
}

/// The status and code that the query protocol uses for an exception.
fn query_code(exception: &Exception) -> (u16, &'static str) {
    match exception.kind {
        ExceptionKind::MissingAuthenticationToken => (403, "MissingAuthenticationToken"),
        ExceptionKind::IncompleteSignature => (400, "IncompleteSignature"),
        ExceptionKind::UnrecognizedClient => (403, "InvalidClientTokenId"),
        ExceptionKind::InvalidSignature => (403, "SignatureDoesNotMatch"),
        ExceptionKind::ExpiredToken => (403, "ExpiredToken"),
        ExceptionKind::AccessDenied => (403, "AccessDenied"),
        ExceptionKind::Throttling => (400, "Throttling"),
        ExceptionKind::ServiceUnavailable => (503, "ServiceUnavailable"),
        _ => (500, "InternalFailure"),
    }
}

fn respond(status: u16, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// The parameters: of the body, or of the query where there is no body to look at.
fn read_form(parts: &Parts, body: &[u8]) -> Form {
    let query = parts.uri.query().unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let text = if parts.method == Method::GET || text.is_empty() {
        query
    } else {
        &text
    };
    let decode = |text: &str| {
        let blanks = text.replace('+', " ");
        percent_encoding::percent_decode_str(&blanks)
            .decode_utf8_lossy()
            .into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .take(PARAMETERS_MAX)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}
