//! Which plane a request belongs to, decided from its head alone and before any check.
//!
//! In this order: the health path, the reports of jobs, the operator's paths, the target header, the service that the signature claims, a
//! form with an action; everything else is S3. Buckets named `events` or `users` therefore never
//! collide with the paths of other planes.

use crate::kms::TARGET_PREFIX;
use crate::sigv4::claimed_service;
use http::Method;
use http::request::Parts;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plane {
    Health,
    Jobs,
    Operator,
    Control,
    Kms,
    Events,
    Runtime,
    Forms,
    S3,
    UnknownPath,
}

impl Plane {
    /// The word for it in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Plane::Health => "health",
            Plane::Jobs => "jobs",
            Plane::Operator => "operator",
            Plane::Control => "personalize",
            Plane::Kms => "kms",
            Plane::Events => "personalize-events",
            Plane::Runtime => "personalize-runtime",
            Plane::Forms => "sts-iam",
            Plane::S3 => "s3",
            Plane::UnknownPath => "none",
        }
    }
}

pub(super) fn choose(parts: &Parts) -> Plane {
    let path = parts.uri.path();
    if path == "/_/health" {
        return Plane::Health;
    }
    if path == "/_/jobs" {
        return Plane::Jobs;
    }
    if path.starts_with("/_/") {
        return Plane::Operator;
    }
    if let Some(target) = parts.headers.get("x-amz-target") {
        let kms = target.as_bytes().starts_with(TARGET_PREFIX.as_bytes());
        return if kms { Plane::Kms } else { Plane::Control };
    }
    match claimed_service(parts).as_deref() {
        Some("personalize") => match path {
            "/events" | "/users" | "/items" | "/actions" | "/action-interactions" => Plane::Events,
            "/recommendations" | "/personalize-ranking" | "/action-recommendations" => {
                Plane::Runtime
            }
            "/" => Plane::Control,
            _ => Plane::UnknownPath,
        },
        Some("kms") => Plane::Kms,
        Some("sts" | "iam") => Plane::Forms,
        Some(_) => Plane::S3,
        None if is_form(parts) => Plane::Forms,
        None => Plane::S3,
    }
}

/// An unsigned form to the root. S3's own browser uploads are multipart forms to a bucket.
fn is_form(parts: &Parts) -> bool {
    let form = parts
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    parts.method == Method::POST
        && parts.uri.path() == "/"
        && form.is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn check(method: &str, uri: &str, headers: &[(&str, &str)], expected: Plane) {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(choose(&parts), expected, "{method} {uri} {headers:?}");
    }

    #[test]
    fn planes_are_told_apart() {
        let signed = |service: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=AK/20261123/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
            )
        };
        let (personalize, s3, sts) = (signed("personalize"), signed("s3"), signed("sts"));
        let kms = signed("kms");
        check("GET", "/_/health", &[], Plane::Health);
        check("POST", "/_/jobs", &[], Plane::Jobs);
        check("GET", "/_/jobs/", &[], Plane::Operator);
        check("GET", "/_/nothing", &[], Plane::Operator);
        check("GET", "/_/metrics", &[], Plane::Operator);
        check(
            "POST",
            "/",
            &[("x-amz-target", "AmazonPersonalize.ListSchemas")],
            Plane::Control,
        );
        check(
            "POST",
            "/",
            &[("x-amz-target", "TrentService.ListKeys")],
            Plane::Kms,
        );
        check("POST", "/", &[("authorization", &kms)], Plane::Kms);
        check(
            "POST",
            "/",
            &[("authorization", &personalize)],
            Plane::Control,
        );
        check(
            "POST",
            "/events",
            &[("authorization", &personalize)],
            Plane::Events,
        );
        check(
            "POST",
            "/recommendations",
            &[("authorization", &personalize)],
            Plane::Runtime,
        );
        check(
            "POST",
            "/nonsense",
            &[("authorization", &personalize)],
            Plane::UnknownPath,
        );
        check("PUT", "/events", &[("authorization", &s3)], Plane::S3);
        check("POST", "/", &[("authorization", &sts)], Plane::Forms);
        check("GET", "/", &[], Plane::S3);
        let presigned = "/users/k?X-Amz-Credential=AK%2F20261123%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=0";
        check("GET", presigned, &[], Plane::S3);
        let form = [(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )];
        check("POST", "/", &form, Plane::Forms);
        check("POST", "/bucket", &form, Plane::S3);
    }
}
