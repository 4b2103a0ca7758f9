//! URLs presigned with Signature Version 2, which boto3 still makes unless told otherwise.
//!
//! The protocol layer knows them too, but compares signatures byte by byte with an early exit. So
//! they are judged here first, in constant time and by our clock; what it then sees is always right.
//! Source: "Signing and authenticating REST requests", Amazon S3 API reference.

use super::errors::refused;
use crate::keys::KeyTable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request};
use percent_encoding::percent_decode_str;
use s3s::crypto::{Checksum as _, Sha1};
use s3s::{Body, S3Error, S3ErrorCode};
use subtle::ConstantTimeEq as _;

/// Bytes that SHA-1 takes at a time.
const BLOCK_BYTES: usize = 64;
/// Query parameters that are part of what is signed, in order.
const SIGNED_QUERY: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Checks a URL that carries `Signature`.
pub(super) fn check(
    request: &Request<Body>,
    keys: &dyn KeyTable,
    now_ms: i64,
) -> Result<(), S3Error> {
    let query = pairs(request.uri().query().unwrap_or(""));
    let (Some(access_key), Some(expires), Some(claimed)) = (
        value(&query, "AWSAccessKeyId"),
        value(&query, "Expires"),
        value(&query, "Signature"),
    ) else {
        let message = "AWSAccessKeyId, Expires and Signature are required.";
        return Err(refused(S3ErrorCode::AccessDenied, message));
    };
    let Ok(expires_seconds) = expires.parse::<i64>() else {
        return Err(refused(
            S3ErrorCode::AccessDenied,
            "Invalid date (should be seconds since epoch)",
        ));
    };
    if expires_seconds.saturating_mul(1000) < now_ms {
        return Err(refused(S3ErrorCode::AccessDenied, "Request has expired"));
    }
    let Some(secret) = keys.secret_for(access_key) else {
        return Err(refused(
            S3ErrorCode::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        ));
    };
    let expected = STANDARD.encode(hmac_sha1(
        secret.as_bytes(),
        &signed_text(request, &query, expires),
    ));
    if expected.as_bytes().ct_eq(claimed.as_bytes()).into() {
        return Ok(());
    }
    Err(refused(
        S3ErrorCode::SignatureDoesNotMatch,
        "The request signature we calculated does not match the signature you provided. Check your \
         key and signing method.",
    ))
}

fn signed_text(
    request: &Request<Body>,
    query: &[(String, Option<String>)],
    expires: &str,
) -> String {
    let headers = request.headers();
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let subresources: Vec<String> = SIGNED_QUERY
        .iter()
        .filter_map(|name| query.iter().find(|(key, _)| key == name))
        .map(|(name, value)| match value {
            Some(value) if !value.is_empty() => format!("{name}={value}"),
            _ => name.clone(),
        })
        .collect();
    let separator = if subresources.is_empty() { "" } else { "?" };
    format!(
        "{}\n{}\n{}\n{expires}\n{}{}{separator}{}",
        request.method(),
        header("content-md5"),
        header("content-type"),
        amz_headers(headers),
        request.uri().path(),
        subresources.join("&")
    )
}

fn amz_headers(headers: &HeaderMap) -> String {
    let mut names: Vec<&str> = headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("x-amz-"))
        .collect();
    names.sort_unstable();
    let line = |name: &str| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let values: Vec<&str> = values.map(str::trim).collect();
        format!("{name}:{}\n", values.join(","))
    };
    names.into_iter().map(line).collect()
}

fn pairs(query: &str) -> Vec<(String, Option<String>)> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (decode(name), Some(decode(value))),
            None => (decode(pair), None),
        })
        .collect()
}

fn value<'q>(query: &'q [(String, Option<String>)], name: &str) -> Option<&'q str> {
    let mut found = query.iter().filter(|(key, _)| key == name);
    let first = found.next()?;
    // Given twice, nobody can say which one counts.
    if found.next().is_some() {
        None
    } else {
        first.1.as_deref()
    }
}

/// HMAC (RFC 2104) over SHA-1.
fn hmac_sha1(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0u8; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..20].copy_from_slice(Sha1::checksum(key).as_ref());
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha1::new();
    inner.update(&block.map(|byte| byte ^ 0x36));
    inner.update(text.as_bytes());
    let mut outer = Sha1::new();
    outer.update(&block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize().as_ref());
    outer.finalize().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct OneKey;

    impl KeyTable for OneKey {
        fn secret_for(&self, access_key: &str) -> Option<String> {
            (access_key == "AKIA").then(|| "secret".to_owned())
        }
    }

    #[test]
    fn hmac_of_the_rfc() {
        // RFC 2202, test cases 2 and 6.
        let short = hmac_sha1(b"Jefe", "what do ya want for nothing?");
        assert_eq!(
            hex::encode(short),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        let text = "Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            hex::encode(hmac_sha1(&[0xaa; 80], text)),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112"
        );
    }

    #[test]
    fn what_is_signed_counts_and_what_is_not_does_not() {
        let signature = |text: &str| {
            let encoded = STANDARD.encode(hmac_sha1(b"secret", text));
            encoded
                .replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D")
        };
        let check = |target: String, meta: Option<&str>, now_ms| {
            let mut request = Request::builder().uri(target);
            if let Some(meta) = meta {
                request = request.header("x-amz-meta-a", meta);
            }
            let request = request.body(Body::empty()).unwrap();
            check(&request, &OneKey, now_ms).map_err(|error| error.code().as_str().to_owned())
        };
        let sign = |text: &str, target: &str| {
            format!(
                "{target}AWSAccessKeyId=AKIA&Expires=1000&Signature={}",
                signature(text)
            )
        };
        let plain = sign("GET\n\n\n1000\n/b/k", "/b/k?");
        assert_eq!(check(plain.clone(), None, 999_000), Ok(()));
        assert_eq!(
            check(plain.clone(), None, 1_000_001),
            Err("AccessDenied".into())
        );
        let mismatch = Err("SignatureDoesNotMatch".to_owned());
        assert_eq!(check(plain.clone(), Some("1"), 0), mismatch);
        assert_eq!(check(plain.replace("/b/k", "/b/l"), None, 0), mismatch);
        assert_eq!(check(format!("{plain}&acl"), None, 0), mismatch);
        assert_eq!(check(format!("{plain}&other=1"), None, 0), Ok(()));
        assert_eq!(
            check(format!("{plain}&Expires=9999"), None, 0),
            Err("AccessDenied".into())
        );
        assert_eq!(
            check(plain.replace("AKIA", "AKIB"), None, 0),
            Err("InvalidAccessKeyId".into())
        );
        let meta = sign(
            "GET\n\n\n1000\nx-amz-meta-a:1\n/b/k?tagging",
            "/b/k?tagging&",
        );
        assert_eq!(check(meta, Some("1"), 0), Ok(()));
    }
}
