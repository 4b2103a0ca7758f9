//! The S3 endpoint: the embedded buckets for any S3 client, path style.
//!
//! The protocol itself (routes, headers, XML, signatures) is the work of `s3s`; the operations over
//! [`EmbeddedStore`] are ours, in `buckets`, `objects`, `listing` and `multipart`. Around it, here
//! and in `gate`, stands what `s3s` leaves to us: limits, the clock, refused mechanisms, the two
//! modes that do not check signatures, and a request id on every answer.
//!
//! Objects are encrypted with a customer key where a request names one. Not here: versioning, ACLs,
//! keys of the client, default encryption of buckets and lifecycles; they are refused, never
//! pretended.

mod access;
mod backend;
mod bodies;
mod buckets;
mod checksums;
mod chunked;
mod encryption;
mod errors;
mod gate;
mod listing;
mod multipart;
mod objects;
mod rates;
mod sigv2;
mod transfer;

#[cfg(test)]
mod tests;

use crate::audit::{Audit, Entry, SUCCESS};
use crate::http::RateLimiter;
use crate::http::bodies::BodyRoom;
use crate::identity::{BucketPolicies, Callers};
use crate::keys::{AuthMode, KeyTable};
use crate::sigv4::claimed_access_key;
use access::{Access, Seen};
use backend::Backend;
use gate::Gate;
use http::{HeaderValue, Request, Response, StatusCode};
use kindred_store::EmbeddedStore;
use kindred_types::arn::Account;
use kindred_types::parts::{Clock, Random, random_hex};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use std::sync::Arc;

/// What the S3 endpoint is made of.
#[derive(Clone, Debug)]
pub(crate) struct S3Parts {
    pub(crate) store: EmbeddedStore,
    pub(crate) keys: Arc<dyn KeyTable>,
    pub(crate) callers: Arc<dyn Callers>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) mode: AuthMode,
    pub(crate) account: Account,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) limiter: Arc<RateLimiter>,
}

/// Answers S3 requests.
#[derive(Clone, Debug)]
pub(crate) struct S3Plane {
    service: S3Service,
    gate: Gate,
    audit: Arc<Audit>,
    room: BodyRoom,
    limiter: Arc<RateLimiter>,
    random: Arc<dyn Random>,
}

impl S3Plane {
    /// Puts the endpoint together.
    pub(crate) fn new(parts: S3Parts) -> Self {
        let limiter = parts.limiter;
        let access = Access {
            limiter: limiter.clone(),
            callers: parts.callers,
            buckets: BucketPolicies::new(parts.store.clone()),
            account: parts.account.clone(),
        };
        let mut builder = S3ServiceBuilder::new(Backend::new(parts.store, parts.account));
        let mut config = S3Config::default();
        config.xml_max_body_size = bodies::DOCUMENT_BYTES_MAX;
        // The gate judges dates, by the clock it was given.
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        if parts.mode == AuthMode::Static {
            builder.set_auth(gate::Keys(Arc::clone(&parts.keys)));
            builder.set_access(access);
        }
        let gate = Gate {
            mode: parts.mode,
            keys: parts.keys,
            clock: parts.clock,
        };
        S3Plane {
            service: builder.build(),
            gate,
            audit: parts.audit,
            room: BodyRoom::new(bodies::LARGE_DOCUMENTS_MAX),
            limiter,
            random: parts.random,
        }
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub(crate) async fn handle<B>(&self, request: Request<B>) -> Response<axum::body::Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let request_id = random_hex(&*self.random, 8).to_uppercase();
        let (head, body) = request.into_parts();
        let unchecked = (self.gate.mode != AuthMode::Static).then(|| claimed_access_key(&head));
        let mut request = Request::from_parts(head, s3s::Body::http_body_unsync(body));
        let seen = Seen::default();
        request.extensions_mut().insert(seen.clone());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let admitted = match self.gate.admit(request) {
            Ok(admitted) => match unchecked.map(|key| rates::admit(&self.limiter, &key)) {
                None | Some(Ok(())) => bodies::collect(admitted, &self.room).await,
                Some(Err(refusal)) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let answer = match admitted {
            Ok(admitted) => self.service.call(admitted).await.map_err(|error| {
                let error: Box<dyn std::error::Error + Send + Sync> = error.into();
                tracing::error!(%request_id, %error, "the s3 protocol layer failed");
                s3s::S3Error::new(s3s::S3ErrorCode::InternalError)
            }),
            Err(refusal) => Err(refusal),
        };
        let answer = answer.or_else(|error| error.to_http_response());
        let answer = answer.unwrap_or_else(|_| {
            let mut plain = Response::new(s3s::Body::empty());
            *plain.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            plain
        });
        tracing::debug!(%request_id, %method, path, status = answer.status().as_u16(), "s3");
        let status = answer.status();
        let (answer, code) = with_request_id(answer, &request_id);
        // A write of one small line; the log does not wait for the disk.
        if let Some(asked) = seen.take() {
            let failed = status.is_client_error() || status.is_server_error();
            self.audit.write(&Entry {
                action: asked.action,
                resource: asked.resource,
                outcome: match code {
                    Some(code) => code,
                    None if failed => status.as_u16().to_string(),
                    None => SUCCESS.to_owned(),
                },
                request_id: Some(request_id),
                ..Entry::by(&asked.caller)
            });
        }
        answer
    }
}

/// Adds the request id to the headers and, in an error document, to the body. Gives the error's code
/// where there is such a document.
fn with_request_id(
    answer: Response<s3s::Body>,
    request_id: &str,
) -> (Response<axum::body::Body>, Option<String>) {
    let mut code = None;
    let (mut head, mut body) = answer.into_parts();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        head.headers.insert("x-amz-request-id", value);
    }
    head.headers
        .insert(http::header::SERVER, HeaderValue::from_static("Kindred"));
    let failed = head.status.is_client_error() || head.status.is_server_error();
    if head.status == StatusCode::NOT_MODIFIED {
        head.headers.remove(http::header::CONTENT_LENGTH);
        head.headers.remove(http::header::CONTENT_TYPE);
        body = s3s::Body::empty();
    } else if failed && let Some(document) = body.bytes() {
        let text = String::from_utf8_lossy(&document);
        code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map(|(code, _)| code.to_owned());
        let named = format!("<RequestId>{request_id}</RequestId></Error>");
        let text = text.replacen("</Error>", &named, 1);
        head.headers.remove(http::header::CONTENT_LENGTH);
        body = s3s::Body::from(text);
    }
    let answer = Response::from_parts(head, axum::body::Body::new(body));
    (answer, code)
}
