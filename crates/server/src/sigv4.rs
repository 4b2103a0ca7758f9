//! Who signed a request: Signature Version 4, in the header and in the query.
//!
//! Used for the control plane, the events plane, STS and IAM; S3 signatures are checked by its own
//! protocol layer. Signatures are compared in constant time, and neither an expected signature nor
//! a secret ever reaches a log or a message.
//! Source: "AWS Signature Version 4 for API requests" of the IAM user guide.

use crate::error::{Exception, ExceptionKind};
use crate::keys::{AuthMode, KeyTable, TokenProblem};
use hmac::{Hmac, Mac};
use http::HeaderMap;
use http::request::Parts;
use kindred_types::parts::Clock;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use time::PrimitiveDateTime;
use time::macros::format_description;

/// How far a request's date may be from ours.
pub(crate) const SKEW_MS_MAX: i64 = 15 * 60 * 1000;
/// Longest life of a presigned query: seven days.
const EXPIRES_SECONDS_MAX: i64 = 7 * 24 * 3600;
/// Longest `Authorization` header that is looked at.
const AUTHORIZATION_BYTES_MAX: usize = 4096;
/// Who sends unsigned requests where these are taken.
const ANONYMOUS: &str = "anonymous";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Checks signatures against the server's keys.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    pub(crate) keys: Arc<dyn KeyTable>,
    pub(crate) mode: AuthMode,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The claim that a request makes about its signer.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    access_key: String,
    /// `YYYYMMDD` of the scope.
    day: String,
    region: String,
    service: String,
    signed_headers: Vec<String>,
    signature: String,
    /// `YYYYMMDDTHHMMSSZ`.
    date: String,
    /// Of a presigned query: its seconds to live.
    expires: Option<i64>,
}

impl Verifier {
    /// The access key that signed the request for one of `services`.
    ///
    /// # Errors
    /// The exceptions of the service's common errors: missing token, incomplete signature, unknown
    /// key, wrong signature, wrong date.
    pub(crate) fn verify(
        &self,
        parts: &Parts,
        body: &[u8],
        services: &[&str],
    ) -> Result<String, Exception> {
        let claim = match Claim::find(parts) {
            Ok(Some(claim)) => claim,
            Ok(None) if self.mode == AuthMode::Off => return Ok(ANONYMOUS.to_owned()),
            Ok(None) => {
                return Err(refused(
                    ExceptionKind::MissingAuthenticationToken,
                    "Missing Authentication Token",
                ));
            }
            Err(_) if self.mode == AuthMode::Off => return Ok(ANONYMOUS.to_owned()),
            Err(reason) => return Err(refused(ExceptionKind::IncompleteSignature, &reason)),
        };
        if self.mode != AuthMode::Static {
            return Ok(claim.access_key);
        }
        let Some(secret) = self.keys.secret_for(&claim.access_key) else {
            return Err(refused(
                ExceptionKind::UnrecognizedClient,
                "The security token included in the request is invalid.",
            ));
        };
        self.check_token(parts, &claim)?;
        self.check_scope(&claim, services)?;
        self.check_date(&claim)?;
        let payload = payload_hash(parts, body)?;
        let canonical = canonical_request(parts, &claim, &payload)
            .map_err(|reason| refused(ExceptionKind::IncompleteSignature, &reason))?;
        let expected = sign(&secret, &claim, &canonical);
        if expected.as_bytes().ct_eq(claim.signature.as_bytes()).into() {
            return Ok(claim.access_key);
        }
        Err(refused(
            ExceptionKind::InvalidSignature,
            "The request signature we calculated does not match the signature you provided. \
             Check your AWS Secret Access Key and signing method.",
        ))
    }

    /// The token of a session is a header, or a parameter of a presigned query.
    fn check_token(&self, parts: &Parts, claim: &Claim) -> Result<(), Exception> {
        let token = match claim.expires {
            Some(_) => query_pairs(parts)
                .into_iter()
                .find(|(name, _)| name == "X-Amz-Security-Token")
                .map(|(_, value)| value),
            None => header(&parts.headers, "x-amz-security-token"),
        };
        let now_ms = self.clock.now().0;
        match self
            .keys
            .check_token(&claim.access_key, token.as_deref(), now_ms)
        {
            Ok(()) => Ok(()),
            Err(TokenProblem::Expired) => Err(refused(
                ExceptionKind::ExpiredToken,
                "The security token included in the request is expired",
            )),
            Err(TokenProblem::Wrong) => Err(refused(
                ExceptionKind::UnrecognizedClient,
                "The security token included in the request is invalid.",
            )),
        }
    }

    fn check_scope(&self, claim: &Claim, services: &[&str]) -> Result<(), Exception> {
        if claim.date.get(..8) != Some(claim.day.as_str()) {
            return Err(refused(
                ExceptionKind::InvalidSignature,
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP",
            ));
        }
        if !services.contains(&claim.service.as_str()) {
            let text = format!(
                "Credential should be scoped to correct service: '{}'.",
                services.join("' or '")
            );
            return Err(refused(ExceptionKind::InvalidSignature, &text));
        }
        Ok(())
    }

    fn check_date(&self, claim: &Claim) -> Result<(), Exception> {
        let Some(signed_ms) = parse_date(&claim.date) else {
            return Err(refused(
                ExceptionKind::IncompleteSignature,
                "Date must be in ISO-8601 'basic format', such as 20260131T235959Z.",
            ));
        };
        let now_ms = self.clock.now().0;
        let life_ms = claim
            .expires
            .map_or(SKEW_MS_MAX, |seconds| seconds.saturating_mul(1000));
        let text = if now_ms > signed_ms.saturating_add(life_ms) {
            format!(
                "Signature expired: {} is too old; check the date and your clock.",
                claim.date
            )
        } else if signed_ms > now_ms.saturating_add(SKEW_MS_MAX) {
            format!(
                "Signature not yet current: {} is in the future; check your clock.",
                claim.date
            )
        } else {
            return Ok(());
        };
        Err(refused(ExceptionKind::InvalidSignature, &text))
    }
}

fn refused(kind: ExceptionKind, message: &str) -> Exception {
    Exception {
        kind,
        message: message.to_owned(),
    }
}

/// Milliseconds since the epoch of an ISO 8601 basic date.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let date = PrimitiveDateTime::parse(text, format).ok()?;
    Some(date.assume_utc().unix_timestamp() * 1000)
}

/// The access key that a request names, unchecked; a made-up name where it names none.
pub(crate) fn claimed_access_key(parts: &Parts) -> String {
    let claim = Claim::find(parts).ok().flatten();
    claim.map_or_else(|| ANONYMOUS.to_owned(), |claim| claim.access_key)
}

/// The service in the credential scope of a request, signed or presigned, unchecked.
pub(crate) fn claimed_service(parts: &Parts) -> Option<String> {
    if let Some(authorization) = header(&parts.headers, "authorization") {
        let credential = authorization.split_once("Credential=")?.1;
        let credential = credential.split([',', ' ']).next()?;
        return credential.split('/').nth_back(1).map(str::to_owned);
    }
    let credential = query_pairs(parts)
        .into_iter()
        .find(|(name, _)| name == "X-Amz-Credential")?
        .1;
    credential.split('/').nth_back(1).map(str::to_owned)
}

impl Claim {
    /// `None` when the request is not signed at all.
    fn find(parts: &Parts) -> Result<Option<Claim>, String> {
        if let Some(authorization) = header(&parts.headers, "authorization") {
            return Claim::from_header(&parts.headers, &authorization).map(Some);
        }
        let pairs = query_pairs(parts);
        if pairs.iter().any(|(name, _)| name == "X-Amz-Signature") {
            return Claim::from_query(&pairs).map(Some);
        }
        Ok(None)
    }

    fn from_header(headers: &HeaderMap, authorization: &str) -> Result<Claim, String> {
        if authorization.len() > AUTHORIZATION_BYTES_MAX {
            return Err("Authorization header is too long.".to_owned());
        }
        let Some(members) = authorization
            .strip_prefix(ALGORITHM)
            .filter(|m| m.starts_with(' '))
        else {
            return Err(format!(
                "Authorization header requires the algorithm {ALGORITHM}."
            ));
        };
        let member = |name: &str| {
            members
                .split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
                .ok_or_else(|| format!("Authorization header requires '{name}' parameter."))
        };
        let date = header(headers, "x-amz-date").or_else(|| header(headers, "date")).ok_or_else(|| {
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
                .to_owned()
        })?;
        let signed_headers = member("SignedHeaders")?;
        Claim::new(
            &member("Credential")?,
            &signed_headers,
            member("Signature")?,
            date,
            None,
        )
    }

    fn from_query(pairs: &[(String, String)]) -> Result<Claim, String> {
        let member = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
                .ok_or_else(|| format!("AWS query-string parameters must include '{name}'."))
        };
        if member("X-Amz-Algorithm")? != ALGORITHM {
            return Err(format!("X-Amz-Algorithm must be {ALGORITHM}."));
        }
        let expires: i64 = match pairs.iter().find(|(key, _)| key == "X-Amz-Expires") {
            Some((_, text)) => text
                .parse()
                .ok()
                .filter(|seconds| (0..=EXPIRES_SECONDS_MAX).contains(seconds))
                .ok_or_else(|| "X-Amz-Expires must be 0 to 604800 seconds.".to_owned())?,
            None => SKEW_MS_MAX / 1000,
        };
        let signed_headers = member("X-Amz-SignedHeaders")?;
        let credential = member("X-Amz-Credential")?;
        let date = member("X-Amz-Date")?;
        Claim::new(
            &credential,
            &signed_headers,
            member("X-Amz-Signature")?,
            date,
            Some(expires),
        )
    }

    fn new(
        credential: &str,
        signed_headers: &str,
        signature: String,
        date: String,
        expires: Option<i64>,
    ) -> Result<Claim, String> {
        // The access key may hold slashes; the scope has exactly four parts.
        let parts: Vec<&str> = credential.rsplitn(5, '/').collect();
        let [terminator, service, region, day, access_key] = parts[..] else {
            return Err("Credential must have at least 5 slash-delimited elements.".to_owned());
        };
        if terminator != "aws4_request" {
            return Err(
                "Credential should be scoped with a valid terminator: 'aws4_request'.".into(),
            );
        }
        if access_key.is_empty() {
            return Err("Credential has an empty access key.".to_owned());
        }
        let signed_headers: Vec<String> =
            signed_headers.split(';').map(str::to_lowercase).collect();
        Ok(Claim {
            access_key: access_key.to_owned(),
            day: day.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers,
            signature,
            date,
            expires,
        })
    }
}

/// The payload's hash; a hash that the client states must be the true one.
fn payload_hash(parts: &Parts, body: &[u8]) -> Result<String, Exception> {
    let hash = hex::encode(Sha256::digest(body));
    match header(&parts.headers, "x-amz-content-sha256") {
        Some(stated) if stated != hash => Err(refused(
            ExceptionKind::InvalidSignature,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )),
        _ => Ok(hash),
    }
}

/// The canonical request. `Err` names what the signature should have covered.
fn canonical_request(parts: &Parts, claim: &Claim, payload: &str) -> Result<String, String> {
    let signed = |name: &str| claim.signed_headers.iter().any(|header| header == name);
    if !signed("host") {
        return Err("'Host' must be a 'SignedHeader' in the AWS Authorization.".to_owned());
    }
    for name in parts.headers.keys() {
        if name.as_str().starts_with("x-amz-") && !signed(name.as_str()) {
            return Err(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ));
        }
    }
    let mut headers = String::new();
    for name in &claim.signed_headers {
        let value = match header(&parts.headers, name) {
            Some(value) => value,
            // HTTP/2 and absolute-form requests carry the host in the target.
            None if name == "host" => parts
                .uri
                .authority()
                .map(ToString::to_string)
                .unwrap_or_default(),
            None => {
                return Err(format!(
                    "signed header '{name}' is missing from the request."
                ));
            }
        };
        headers.push_str(&format!("{name}:{value}\n"));
    }
    let mut pairs: Vec<(String, String)> = query_pairs(parts)
        .into_iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (encode(&name, false), encode(&value, false)))
        .collect();
    // By name, then by value; `a=1` as a whole would come behind `a1=1`.
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{}\n{payload}",
        parts.method,
        encode(parts.uri.path(), true),
        pairs.join("&"),
        claim.signed_headers.join(";"),
    ))
}

fn sign(secret: &str, claim: &Claim, canonical: &str) -> String {
    let scope = format!(
        "{}/{}/{}/aws4_request",
        claim.day, claim.region, claim.service
    );
    let text = format!(
        "{ALGORITHM}\n{}\n{scope}\n{}",
        claim.date,
        hex::encode(Sha256::digest(canonical.as_bytes()))
    );
    let mut key = mac(format!("AWS4{secret}").as_bytes(), &claim.day);
    for part in [claim.region.as_str(), &claim.service, "aws4_request"] {
        key = mac(&key, part);
    }
    hex::encode(mac(&key, &text))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// All values of a header, trimmed, inner blanks collapsed, joined by commas.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let texts: Vec<String> = values
        .map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect();
    Some(texts.join(","))
}

/// The query's pairs, decoded, in their order.
fn query_pairs(parts: &Parts) -> Vec<(String, String)> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let query = parts.uri.query().unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Percent-encoding as the signature wants it: everything but unreserved characters.
fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte as char);
            }
            b'/' if keep_slashes => encoded.push('/'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
