//! Requests in, answers out: which plane a request belongs to, limits, request ids.
//!
//! One port serves the control plane, the keys, STS and IAM, S3, and `/_/health`. Every answer carries a
//! request id. Handlers run on blocking threads; a panic in one is an InternalFailure and kills
//! nothing else. The listener is in [`listen`].

pub(crate) mod bodies;
mod control;
pub(crate) mod guard;
mod limits;
pub(crate) mod listen;
mod operator;
pub(crate) mod pace;
mod route;

pub(crate) use control::ControlPlane;
pub(crate) use limits::RateLimiter;
pub(crate) use operator::OperatorPlane;

use crate::error::{Exception, ExceptionKind};
use crate::kms::KeyPlane;
use crate::telemetry;
use axum::body::Body;
use bodies::{BodyRoom, TooSlow, stated_length};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kindred_types::parts::{Random, random_uuid};
use route::Plane;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Largest body outside of S3. The largest legal request is well under 64 KiB.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Large bodies outside of S3 that are in memory at the same time.
pub(crate) const LARGE_BODIES_MAX: usize = 16;
/// Content type of the control plane.
pub(crate) const JSON: &str = "application/x-amz-json-1.1";
const REQUEST_ID: &str = "x-amzn-requestid";
const ERROR_TYPE: &str = "x-amzn-errortype";

type Answering<'a> = Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>>;

/// A plane that takes whole requests: S3.
pub(crate) trait RequestPlane: Send + Sync {
    /// Answers a request.
    fn handle(&self, request: Request<Body>) -> Answering<'_>;
}

/// A plane of form-encoded actions: STS and IAM.
pub(crate) trait FormPlane: Send + Sync {
    /// Answers a request whose body was read.
    fn handle<'a>(&'a self, parts: &'a Parts, body: Bytes, request_id: &'a str) -> Answering<'a>;
}

/// All planes behind the port.
#[derive(Clone)]
pub(crate) struct Planes {
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) kms: Arc<KeyPlane>,
    pub(crate) forms: Arc<dyn FormPlane>,
    pub(crate) s3: Arc<dyn RequestPlane>,
    pub(crate) operator: Arc<OperatorPlane>,
    pub(crate) random: Arc<dyn Random>,
    /// Room for bodies that are read whole, except those of S3.
    pub(crate) room: BodyRoom,
    /// How long a body outside of S3 may take.
    pub(crate) body_timeout: Duration,
}

impl Planes {
    /// Answers any request.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let request_id = random_uuid(&*self.random);
        let (parts, body) = request.into_parts();
        let start = Instant::now();
        let plane = route::choose(&parts);
        let method = parts.method.clone();
        let mut response = match plane {
            Plane::Health => health(),
            Plane::Jobs => match self.read_body(&parts, body).await {
                Ok(body) => self.control.report(parts, body, &request_id).await,
                Err(exception) => json_error(&exception, exception.kind.status()),
            },
            Plane::Operator => self.operator.answer(&parts).await,
            Plane::S3 => self.s3.handle(Request::from_parts(parts, body)).await,
            Plane::Control => match self.read_body(&parts, body).await {
                Ok(body) => self.control.answer(parts, body, &request_id).await,
                Err(exception) => json_error(&exception, exception.kind.status()),
            },
            Plane::Kms => match self.read_body(&parts, body).await {
                Ok(body) => self.kms.answer(&parts, body, &request_id).await,
                Err(exception) => json_error(&exception, exception.kind.status()),
            },
            Plane::Forms => match self.read_body(&parts, body).await {
                Ok(body) => self.forms.handle(&parts, body, &request_id).await,
                Err(exception) => json_error(&exception, exception.kind.status()),
            },
            Plane::Events | Plane::Runtime => {
                let message = format!(
                    "Operation {} is not supported by this server.",
                    parts.uri.path()
                );
                json_error(&Exception::invalid_input(message), 400)
            }
            Plane::UnknownPath => json_error(&Exception::unknown_operation(""), 404),
        };
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().entry(REQUEST_ID).or_insert(id);
        }
        let named = response.extensions_mut().remove::<Operation>();
        let operation = named.map_or_else(|| method_name(&method), |Operation(name)| name);
        let (status, seconds) = (response.status().as_u16(), start.elapsed().as_secs_f64());
        telemetry::answered(plane.name(), operation, status, seconds);
        response
    }

    /// Reads a body under the limits. What is too long by its own account is not read at all.
    async fn read_body(&self, parts: &Parts, body: Body) -> Result<Bytes, Exception> {
        let encoded = parts
            .headers
            .get("content-encoding")
            .is_some_and(|value| value != "identity");
        if encoded {
            return Err(Exception::serialization(
                "Compressed request bodies are not supported.",
            ));
        }
        if stated_length(&parts.headers).is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let reading = async {
            let _room = self.room.enter(&parts.headers).await;
            Limited::new(body, BODY_BYTES_MAX).collect().await
        };
        match tokio::time::timeout(self.body_timeout, reading).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) if TooSlow::is_cause_of(&*error) => Err(too_slow()),
            Ok(Err(error)) => Err(Exception::serialization(format!(
                "Request body cannot be read: {error}"
            ))),
            Err(_) => Err(too_slow()),
        }
    }
}

/// What a request asked for; a plane notes it on its answer once it knows that there is such an
/// operation, so that a client cannot invent names.
#[derive(Clone, Debug)]
pub(crate) struct Operation(pub(crate) String);

/// The method, for planes without named operations.
fn method_name(method: &Method) -> String {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::POST,
        Method::DELETE,
    ];
    let name = known.contains(method).then_some(method.as_str());
    name.unwrap_or("other").to_owned()
}

fn too_large() -> Exception {
    Exception::serialization(format!(
        "Request body is larger than {BODY_BYTES_MAX} bytes."
    ))
}

fn too_slow() -> Exception {
    Exception::serialization("Request body did not arrive in time.")
}

fn health() -> Response<Body> {
    let body = format!(
        r#"{{"status":"ok","version":"{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    respond(StatusCode::OK, "application/json", body)
}

pub(crate) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An error in the JSON protocols: the name in the body for some clients, in a header for others.
pub(crate) fn json_error(exception: &Exception, status: u16) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, JSON, exception.body());
    let name = HeaderValue::from_static(exception.kind.name());
    response.headers_mut().insert(ERROR_TYPE, name);
    response
}

/// Runs blocking work; a panic in it is an internal failure of this request only.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Exception> + Send + 'static,
) -> Result<T, Exception> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(Exception::internal(error)),
        Err(_) => Err(Exception {
            kind: ExceptionKind::ServiceUnavailable,
            message: "The server is shutting down.".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
