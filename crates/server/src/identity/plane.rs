//! The way from an HTTP request to an action: signature, form, answer.

use super::{Caller, Form, Identity, namespace, xml};
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
            let known = form.get("Action").filter(|name| namespace(name).is_some());
            let action = known.cloned();
            let space = known.and_then(|name| namespace(name)).unwrap_or(super::IAM);
            let answered = match self.verifier.verify(parts, &body, &SERVICES) {
                Ok(access_key) if !self.limiter.admit(&access_key) => {
                    telemetry::limited("sts-iam");
                    Err(Exception {
                        kind: ExceptionKind::Throttling,
                        message: "Rate exceeded".to_owned(),
                    })
                }
                Ok(access_key) => {
                    let (identity, id) = (self.identity.clone(), request_id.to_owned());
                    run_blocking(move || Ok(identity.handle(&Caller { access_key }, &form, &id)))
                        .await
                }
                Err(exception) => Err(exception),
            };
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
            let operation = action.unwrap_or_else(|| "unknown".to_owned());
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
