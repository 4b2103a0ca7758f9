//! `/_/`: what the server's operator looks at.
//!
//! The health path says nothing that matters and is open. Everything else needs a valid signature,
//! of any service that is spoken here, by the operator or a key that may `kindred:ReadMetrics`,
//! unless only this machine can connect.

use super::{json_error, respond};
use crate::error::{Exception, ExceptionKind};
use crate::identity::Callers;
use crate::policy::Context;
use crate::sigv4::Verifier;
use crate::telemetry;
use axum::body::Body;
use http::request::Parts;
use http::{Response, StatusCode};
use kindred_catalog::Catalog;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// Scopes of signatures that are taken.
const SERVICES: [&str; 5] = ["personalize", "s3", "sts", "iam", "kms"];
/// What a key that is not the operator's must be allowed.
const ACTION: &str = "kindred:ReadMetrics";
/// The text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The operator's plane.
pub(crate) struct OperatorPlane {
    pub(crate) verifier: Verifier,
    pub(crate) callers: Arc<dyn Callers>,
    /// Whether only this machine can connect.
    pub(crate) on_loopback: bool,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) handle: Option<PrometheusHandle>,
}

impl OperatorPlane {
    pub(super) async fn answer(&self, parts: &Parts) -> Response<Body> {
        if !self.on_loopback
            && let Err(refusal) = self.admit(parts).await
        {
            return json_error(&refusal, 403);
        }
        if parts.uri.path() != "/_/metrics" {
            return json_error(&Exception::unknown_operation(""), 404);
        }
        let (handle, catalog) = (self.handle.clone(), self.catalog.clone());
        let text = super::run_blocking(move || telemetry::text(handle.as_ref(), &catalog)).await;
        match text {
            Ok(text) => respond(StatusCode::OK, PROMETHEUS, text),
            Err(exception) => json_error(&exception, exception.kind.status()),
        }
    }

    async fn admit(&self, parts: &Parts) -> Result<(), Exception> {
        let access_key = self.verifier.verify(parts, b"", &SERVICES)?;
        let callers = self.callers.clone();
        super::run_blocking(move || {
            let caller = callers.caller(&access_key)?;
            caller
                .may(ACTION, "*", Context::default(), None)
                .map_err(|message| Exception {
                    kind: ExceptionKind::AccessDenied,
                    message,
                })
        })
        .await
    }
}
