//! The control plane: `POST /` with a target header, JSON in and out; and `POST /_/jobs`, the reports
//! of jobs, which have the same callers, rates and rights.

use super::{JSON, Operation, RateLimiter, json_error, respond, run_blocking};
use crate::audit::{Audit, Entry, SUCCESS, masked};
use crate::error::{Exception, ExceptionKind};
use crate::identity::Callers;
use crate::ops::{self, Context};
use crate::sigv4::Verifier;
use crate::telemetry;
use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use std::sync::Arc;

const TARGET_PREFIX: &str = "AmazonPersonalize.";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The control plane of one server.
pub(crate) struct ControlPlane {
    pub(crate) verifier: Verifier,
    pub(crate) callers: Arc<dyn Callers>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) limiter: RateLimiter,
    /// Caller and request id are filled in per request.
    pub(crate) context: Context,
}

impl ControlPlane {
    pub(super) async fn answer(
        &self,
        parts: Parts,
        body: Bytes,
        request_id: &str,
    ) -> Response<Body> {
        let answer = self.run(&parts, body, request_id).await;
        let mut response = answered(answer, request_id);
        let name = operation_name(&parts).unwrap_or("unknown").to_owned();
        response.extensions_mut().insert(Operation(name));
        response
    }

    /// Answers a request for the report of a job.
    pub(super) async fn report(
        &self,
        parts: Parts,
        body: Bytes,
        request_id: &str,
    ) -> Response<Body> {
        let answer = self.run_report(&parts, body, request_id).await;
        answered(answer.map(Some), request_id)
    }

    async fn run_report(
        &self,
        parts: &Parts,
        body: Bytes,
        request_id: &str,
    ) -> Result<String, Exception> {
        if parts.method != Method::POST {
            return Err(Exception::unknown_operation(
                "Reports of jobs take POST requests.",
            ));
        }
        let context = self.admit(parts, &body, "ReportJob", request_id)?;
        let (arn, kind) = ops::job_of(&body)?;
        let (callers, audit) = (self.callers.clone(), self.audit.clone());
        run_blocking(move || {
            let caller = callers.caller(&context.access_key)?;
            let answer = ops::job_report(&context, &caller, &arn, kind);
            audit.write(&Entry {
                action: format!("personalize:{}", kind.describe().0),
                resource: arn,
                outcome: outcome(&answer),
                request_id: Some(context.request_id.clone()),
                parameters: serde_json::from_slice(&body).ok().map(masked),
                ..Entry::by(&caller)
            });
            Ok(answer?.to_string())
        })
        .await
    }

    /// What a request works with, if it is signed and not above its rate.
    fn admit(
        &self,
        parts: &Parts,
        body: &Bytes,
        operation: &str,
        request_id: &str,
    ) -> Result<Context, Exception> {
        let access_key = self.verifier.verify(parts, body, &["personalize"])?;
        if !self.limiter.admit(&access_key) {
            telemetry::limited("personalize");
            return Err(too_fast(operation));
        }
        tracing::debug!(request_id, operation, "request");
        let mut context = self.context.clone();
        context.access_key = access_key;
        context.request_id = request_id.to_owned();
        Ok(context)
    }

    async fn run(
        &self,
        parts: &Parts,
        body: Bytes,
        request_id: &str,
    ) -> Result<Option<String>, Exception> {
        let name = operation_name(parts)?.to_owned();
        let context = self.admit(parts, &body, &name, request_id)?;
        let (callers, audit) = (self.callers.clone(), self.audit.clone());
        run_blocking(move || {
            let caller = callers.caller(&context.access_key)?;
            let answer = ops::authorize(&context, &caller, &name, &body)
                .and_then(|()| ops::dispatch(&context, &name, &body));
            audit.write(&Entry {
                action: format!("personalize:{name}"),
                resource: ops::resource(&context, &name, &body),
                outcome: outcome(&answer),
                request_id: Some(context.request_id.clone()),
                parameters: serde_json::from_slice(&body).ok().map(masked),
                ..Entry::by(&caller)
            });
            Ok(answer?.map(|value| value.to_string()))
        })
        .await
    }
}

fn answered(answer: Result<Option<String>, Exception>, request_id: &str) -> Response<Body> {
    match answer {
        Ok(text) => respond(StatusCode::OK, JSON, text.unwrap_or_default()),
        Err(exception) => {
            let status = exception.kind.status();
            if status >= 500 {
                tracing::error!(request_id, error = %exception, "request failed");
            } else {
                tracing::debug!(request_id, error = %exception, "request refused");
            }
            json_error(&exception, status)
        }
    }
}

fn outcome<T>(answer: &Result<T, Exception>) -> String {
    match answer {
        Ok(_) => SUCCESS.to_owned(),
        Err(exception) => exception.kind.name().to_owned(),
    }
}

/// The operation, once method, target and content type make sense.
fn operation_name(parts: &Parts) -> Result<&str, Exception> {
    let text = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if parts.method != Method::POST || parts.uri.path() != "/" {
        return Err(Exception::unknown_operation(
            "The control plane takes POST requests to /.",
        ));
    }
    let target = text("x-amz-target").unwrap_or_default();
    let Some(name) = target
        .strip_prefix(TARGET_PREFIX)
        .filter(|name| ops::is_known(name))
    else {
        return Err(Exception::unknown_operation(""));
    };
    let content_type = text("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(CONTENT_TYPE) {
        return Err(Exception::serialization(format!(
            "Content-Type must be {CONTENT_TYPE}."
        )));
    }
    Ok(name)
}

fn too_fast(operation: &str) -> Exception {
    let kind = if ops::declares(operation, "LimitExceeded") {
        ExceptionKind::LimitExceeded
    } else {
        ExceptionKind::Throttling
    };
    let message = "The limit on the number of requests per second has been exceeded.".to_owned();
    Exception { kind, message }
}
