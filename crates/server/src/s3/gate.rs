//! What is decided about a request before the protocol layer sees it.
//!
//! With signatures checked: the date is within a quarter of an hour of our clock, every `x-amz-*`
//! header is signed, and nothing but Signature Version 4 is spoken, except in presigned URLs
//! (`sigv2`). Without: the signature is taken off,
//! and a body in signed chunks is unpacked, so that the request looks unsigned. Form uploads are
//! refused in every mode, because the protocol layer would hold them in memory.

use super::chunked::{self, Trailers};
use super::errors::{custom, refused};
use super::sigv2;
use crate::keys::{AuthMode, KeyTable, TokenProblem};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode, Uri};
use kindred_types::parts::Clock;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{Body, S3Error, S3ErrorCode, S3Result};
use std::sync::Arc;

/// How far a request's date may be from our clock.
const SKEW_MS_MAX: i64 = 15 * 60 * 1000;
/// Longest life of a presigned URL, in seconds.
const PRESIGNED_SECONDS_MAX: i64 = 7 * 24 * 3600;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Lets requests through or refuses them.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) mode: AuthMode,
    pub(super) keys: Arc<dyn KeyTable>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The server's keys in the form that the protocol layer asks for.
pub(super) struct Keys(pub(super) Arc<dyn KeyTable>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0
            .secret_for(access_key)
            .map(SecretKey::from)
            .ok_or_else(|| {
                refused(
                    S3ErrorCode::InvalidAccessKeyId,
                    "The AWS Access Key Id you provided does not exist in our records.",
                )
            })
    }
}

/// Where a request carries its signature.
enum Signed<'r> {
    No,
    Header(&'r str),
    Query,
    OldQuery,
}

impl Gate {
    pub(super) fn admit(&self, request: Request<Body>) -> Result<Request<Body>, S3Error> {
        refuse_form_uploads(request.headers())?;
        let signed = signed(&request)?;
        match (self.mode, signed) {
            (AuthMode::Static, signed) => {
                match signed {
                    // Refused by the protocol layer, with the words of S3.
                    Signed::No => {}
                    Signed::Header(authorization) => {
                        self.check_header_token(request.headers(), authorization)?;
                        self.check_header_date(request.headers())?;
                        check_signed_headers(request.headers(), authorization)?;
                    }
                    Signed::Query => {
                        self.check_query_token(request.uri())?;
                        self.check_query_date(request.uri())?;
                    }
                    Signed::OldQuery => {
                        self.refuse_session(request.uri())?;
                        sigv2::check(&request, &*self.keys, self.clock.now().0)?;
                    }
                }
                Ok(request)
            }
            (AuthMode::Trust, Signed::No) => {
                Err(refused(S3ErrorCode::AccessDenied, "Access Denied"))
            }
            (AuthMode::Trust | AuthMode::Off, _) => unsigned(request),
        }
    }

    fn check_header_token(&self, headers: &HeaderMap, authorization: &str) -> Result<(), S3Error> {
        let access_key = authorization
            .split_once("Credential=")
            .map_or("", |(_, rest)| rest);
        let token = headers
            .get("x-amz-security-token")
            .and_then(|value| value.to_str().ok());
        self.check_token(access_key, token)
    }

    fn check_query_token(&self, uri: &Uri) -> Result<(), S3Error> {
        let credential = query_value(uri, "X-Amz-Credential").unwrap_or_default();
        let token = query_value(uri, "X-Amz-Security-Token");
        self.check_token(&credential, token.as_deref())
    }

    /// `credential` starts with the access key, which ends at the first slash.
    fn check_token(&self, credential: &str, token: Option<&str>) -> Result<(), S3Error> {
        let access_key = credential.split('/').next().unwrap_or_default();
        match self.keys.check_token(access_key, token, self.clock.now().0) {
            Ok(()) => Ok(()),
            Err(TokenProblem::Expired) => Err(custom(
                "ExpiredToken",
                StatusCode::BAD_REQUEST,
                "The provided token has expired.",
            )),
            Err(TokenProblem::Wrong) => Err(custom(
                "InvalidToken",
                StatusCode::BAD_REQUEST,
                "The provided token is malformed or otherwise invalid.",
            )),
        }
    }

    /// The old form of presigned URLs has no place for the token of a session.
    fn refuse_session(&self, uri: &Uri) -> Result<(), S3Error> {
        let access_key = query_value(uri, "AWSAccessKeyId").unwrap_or_default();
        match self.keys.session(&access_key) {
            None => Ok(()),
            Some(_) => Err(refused(
                S3ErrorCode::AccessDenied,
                "URLs of a session have to be presigned with AWS4-HMAC-SHA256.",
            )),
        }
    }

    fn check_header_date(&self, headers: &HeaderMap) -> Result<(), S3Error> {
        let date = headers
            .get("x-amz-date")
            .and_then(|value| value.to_str().ok());
        let Some(signed_ms) = date.and_then(parse_date) else {
            return Err(refused(
                S3ErrorCode::AccessDenied,
                "AWS authentication requires a valid x-amz-date header",
            ));
        };
        if (self.clock.now().0 - signed_ms).abs() > SKEW_MS_MAX {
            return Err(skewed());
        }
        Ok(())
    }

    fn check_query_date(&self, uri: &Uri) -> Result<(), S3Error> {
        let date = query_value(uri, "X-Amz-Date")
            .as_deref()
            .and_then(parse_date);
        let expires = query_value(uri, "X-Amz-Expires").and_then(|text| text.parse::<i64>().ok());
        let (Some(signed_ms), Some(seconds)) = (date, expires) else {
            return Err(refused(
                S3ErrorCode::AuthorizationQueryParametersError,
                "X-Amz-Date and X-Amz-Expires are required and must be well formed",
            ));
        };
        if !(0..=PRESIGNED_SECONDS_MAX).contains(&seconds) {
            return Err(refused(
                S3ErrorCode::AuthorizationQueryParametersError,
                "X-Amz-Expires must be between 0 and 604800 seconds",
            ));
        }
        let age_ms = self.clock.now().0 - signed_ms;
        if age_ms < -SKEW_MS_MAX {
            return Err(skewed());
        }
        if age_ms > seconds * 1000 {
            return Err(refused(S3ErrorCode::AccessDenied, "Request has expired"));
        }
        Ok(())
    }
}

fn skewed() -> S3Error {
    custom(
        "RequestTimeTooSkewed",
        StatusCode::FORBIDDEN,
        "The difference between the request time and the current time is too large.",
    )
}

fn refuse_form_uploads(headers: &HeaderMap) -> Result<(), S3Error> {
    let form = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| {
            text.trim()
                .to_ascii_lowercase()
                .starts_with("multipart/form-data")
        });
    if form {
        let message = "Form uploads are not supported; use PutObject or a presigned URL.";
        return Err(refused(S3ErrorCode::NotImplemented, message));
    }
    Ok(())
}

fn signed(request: &Request<Body>) -> Result<Signed<'_>, S3Error> {
    let by_query = match (
        query_value(request.uri(), "X-Amz-Signature"),
        query_value(request.uri(), "Signature"),
    ) {
        (None, None) => None,
        (Some(_), None) => Some(Signed::Query),
        (None, Some(_)) => Some(Signed::OldQuery),
        (Some(_), Some(_)) => return Err(only_one()),
    };
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        return Ok(by_query.unwrap_or(Signed::No));
    };
    if by_query.is_some() || headers.next().is_some() {
        return Err(only_one());
    }
    match header.to_str() {
        Ok(text) if text.starts_with(ALGORITHM) => Ok(Signed::Header(text)),
        _ => Err(refused(
            S3ErrorCode::InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use \
             AWS4-HMAC-SHA256.",
        )),
    }
}

fn only_one() -> S3Error {
    refused(
        S3ErrorCode::InvalidArgument,
        "Only one auth mechanism allowed",
    )
}

fn check_signed_headers(headers: &HeaderMap, authorization: &str) -> Result<(), S3Error> {
    let names = authorization
        .split_once("SignedHeaders=")
        .map_or("", |(_, rest)| rest);
    let names = names.split(',').next().unwrap_or("").trim();
    let signed: Vec<&str> = names.split(';').collect();
    let unsigned = headers
        .keys()
        .find(|name| name.as_str().starts_with("x-amz-") && !signed.contains(&name.as_str()));
    if !signed.contains(&"host") || unsigned.is_some() {
        return Err(refused(
            S3ErrorCode::AccessDenied,
            "There were headers present in the request which were not signed",
        ));
    }
    Ok(())
}

/// The request as if it had never been signed, its body plain.
fn unsigned(request: Request<Body>) -> Result<Request<Body>, S3Error> {
    let (mut head, mut body) = request.into_parts();
    head.headers.remove(AUTHORIZATION);
    head.uri = without_signature(&head.uri)?;
    let payload = head.headers.remove("x-amz-content-sha256");
    if payload.is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-")) {
        let Some(length) = head.headers.get("x-amz-decoded-content-length").cloned() else {
            return Err(refused(
                S3ErrorCode::MissingContentLength,
                "You must provide the x-amz-decoded-content-length header.",
            ));
        };
        head.headers.insert(CONTENT_LENGTH, length);
        let trailers = Trailers::default();
        head.extensions.insert(trailers.clone());
        body = chunked::decoded(body, trailers);
    }
    Ok(Request::from_parts(head, body))
}

fn without_signature(uri: &Uri) -> Result<Uri, S3Error> {
    let Some(query) = uri.query() else {
        return Ok(uri.clone());
    };
    let auth = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "AWSAccessKeyId",
        "Expires",
        "Signature",
    ];
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !auth.contains(&pair.split('=').next().unwrap_or("")))
        .collect();
    let target = if kept.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), kept.join("&"))
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(
        target
            .parse()
            .map_err(|_| refused(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI."))?,
    );
    Uri::from_parts(parts)
        .map_err(|_| refused(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI."))
}

/// Removes `aws-chunked` from a content encoding: it is the packing of a request, not the object's.
pub(super) fn object_encoding(value: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = value?
        .split(',')
        .map(str::trim)
        .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let value = pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)?
        .1;
    Some(
        percent_encoding::percent_decode_str(value)
            .decode_utf8_lossy()
            .into_owned(),
    )
}

/// Milliseconds since the epoch of `YYYYMMDDTHHMMSSZ`.
fn parse_date(text: &str) -> Option<i64> {
    let form = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let date = time::PrimitiveDateTime::parse(text, form).ok()?;
    Some(date.assume_utc().unix_timestamp() * 1000)
}
