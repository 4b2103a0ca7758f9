//! Signatures of another implementation are taken, and nothing that differs from what was signed.
//!
//! The three signed requests were made with botocore 1.44.5 (`SigV4Auth` and `SigV4QueryAuth`) at a
//! fixed time with the key below; the fourth is the case `get-vanilla` of the published SigV4 test
//! suite. Everything else is derived from them, or signed here once they have shown that the
//! signing is right.

use super::*;
use http::Request;
use kindred_types::time::Timestamp;

const KEY: &str = "AKIDKINDRED";
const SECRET: &str = "one/two+three";
/// 2026-01-31T23:59:58Z.
const SIGNED_MS: i64 = 1_769_903_998_000;
const DATE: &str = "20260131T235958Z";
const SERVICES: &[&str] = &["personalize", "sts"];

#[derive(Debug)]
struct ClockAt(i64);

impl Clock for ClockAt {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

#[derive(Debug)]
struct TwoKeys;

impl KeyTable for TwoKeys {
    fn secret_for(&self, access_key: &str) -> Option<String> {
        match access_key {
            KEY => Some(SECRET.into()),
            "AKIDEXAMPLE" => Some("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
            _ => None,
        }
    }
}

fn verifier_at(mode: AuthMode, now_ms: i64) -> Verifier {
    Verifier {
        keys: Arc::new(TwoKeys),
        mode,
        clock: Arc::new(ClockAt(now_ms)),
    }
}

/// A request that can be changed piece by piece.
#[derive(Clone, Debug)]
struct Wire {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Wire {
    fn new(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Wire {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Wire {
            method: method.into(),
            target: target.into(),
            headers: headers.collect(),
            body: body.into(),
        }
    }

    fn parts(&self) -> Parts {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn header(&mut self, name: &str) -> &mut String {
        let found = self.headers.iter_mut().find(|(header, _)| header == name);
        &mut found.unwrap_or_else(|| panic!("no header {name}")).1
    }

    fn with(mut self, name: &str, value: &str) -> Wire {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn without(mut self, name: &str) -> Wire {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    /// With `from` replaced by `to` in the named header, where it must occur.
    fn swap(mut self, name: &str, from: &str, to: &str) -> Wire {
        let value = self.header(name);
        assert!(value.contains(from), "{value} has no {from}");
        *value = value.replacen(from, to, 1);
        self
    }

    fn verify_by(&self, verifier: &Verifier) -> Result<String, Exception> {
        verifier.verify(&self.parts(), &self.body, SERVICES)
    }

    fn verify(&self) -> Result<String, Exception> {
        self.verify_by(&verifier_at(AuthMode::Static, SIGNED_MS))
    }

    #[track_caller]
    fn accepted(&self) {
        assert_eq!(self.verify().as_deref(), Ok(KEY), "{self:?}");
    }

    /// Refused by this exception; gives the message.
    #[track_caller]
    fn refused(&self, kind: ExceptionKind) -> String {
        match self.verify() {
            Err(exception) => {
                assert_eq!(exception.kind, kind, "{exception} {self:?}");
                exception.message
            }
            Ok(key) => panic!("{key} was taken: {self:?}"),
        }
    }
}

fn list_schemas() -> Wire {
    Wire::new(
        "POST",
        "/",
        &[
            ("host", "localhost:8099"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "AmazonPersonalize.ListSchemas"),
            ("x-amz-date", DATE),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDKINDRED/20260131/us-east-1/personalize/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
                 Signature=5bc35ce1734f100332832b84f565e9ba9b81af73534841cb78aaf8c53e26a2d7",
            ),
        ],
        r#"{"maxResults": 5}"#,
    )
}

/// A query that is out of order and needs encoding, a token, a header with many blanks.
fn odd_form() -> Wire {
    Wire::new(
        "POST",
        "/?b=2&a=x%20y&a-b=1&Tags.10=q&Tags.1=p&e=&u=%C3%BC",
        &[
            ("host", "localhost:8099"),
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("x-amz-security-token", "token//+="),
            ("x-plain", "  spaced   out  "),
            ("x-amz-date", DATE),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDKINDRED/20260131/eu-central-1/sts/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-plain, \
                 Signature=f29d15972baea9c86488467f604fdc4ec174e716416280ceb043d25de23b5da2",
            ),
        ],
        "Action=GetCallerIdentity&Version=2011-06-15",
    )
}

fn presigned() -> Wire {
    Wire::new(
        "GET",
        "/?Action=GetCallerIdentity&Version=2011-06-15&Tags.member.10=ten&Tags.member.1=one\
         &X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIDKINDRED%2F20260131%2Fus-east-1%2Fsts%2Faws4_request\
         &X-Amz-Date=20260131T235958Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=5f76d5ed69df0cfaf8eeb50803a336eaf0c38335fbfc06b98e7a3c37e99fb4a5",
        &[("host", "localhost:8099")],
        "",
    )
}

/// Signs `wire` for this region and service at `date`, over the named headers.
fn signed(wire: Wire, date: &str, scope: &str, signed_headers: &str) -> Wire {
    let credential = format!("{KEY}/{scope}/aws4_request");
    let mut wire = wire
        .without("authorization")
        .without("x-amz-date")
        .with("x-amz-date", date);
    let claim = Claim::new(
        &credential,
        signed_headers,
        String::new(),
        date.to_owned(),
        None,
    )
    .unwrap();
    let payload = hex::encode(Sha256::digest(&wire.body));
    let canonical = canonical_request(&wire.parts(), &claim, &payload).unwrap();
    let signature = sign(SECRET, &claim, &canonical);
    let authorization = format!(
        "{ALGORITHM} Credential={credential}, SignedHeaders={signed_headers}, Signature={signature}"
    );
    wire.headers.push(("authorization".into(), authorization));
    wire
}

#[test]
fn signatures_of_another_implementation_are_taken() {
    list_schemas().accepted();
    odd_form().accepted();
    presigned().accepted();
}

#[test]
fn the_published_vanilla_case_is_taken() {
    let wire = Wire::new(
        "GET",
        "/",
        &[
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, \
                 Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
        ],
        "",
    );
    let verifier = verifier_at(AuthMode::Static, 1_440_938_160_000);
    assert_eq!(
        verifier.verify(&wire.parts(), b"", &["service"]).as_deref(),
        Ok("AKIDEXAMPLE")
    );
}

#[test]
fn what_is_not_signed_may_differ() {
    list_schemas()
        .with("user-agent", "anything")
        .with("accept-encoding", "identity")
        .accepted();
    // Blanks do not count, nor does the order of the query or how a character is written.
    odd_form()
        .swap("x-plain", "  spaced   out  ", "spaced out")
        .accepted();
    let mut wire = odd_form();
    wire.target = "/?u=%c3%bc&e&Tags.1=p&Tags.10=q&a-b=1&a=x%20y&b=%32".into();
    wire.accepted();
    // The stated hash of the payload, where it is the true one, is part of what is signed.
    let wire = list_schemas();
    let hash = hex::encode(Sha256::digest(&wire.body));
    let wire = wire.with("x-amz-content-sha256", &hash);
    let headers = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target";
    signed(wire, DATE, "20260131/us-east-1/personalize", headers).accepted();
}

/// `text` with the character at `index` replaced by another of its kind.
fn turned(text: &str, index: usize) -> String {
    let turn = |character: char| match character {
        '0'..='8' | 'a'..='y' | 'A'..='Y' => (character as u8 + 1) as char,
        '9' => '0',
        'z' => 'a',
        'Z' => 'A',
        _ => 'x',
    };
    let changed = text
        .char_indices()
        .map(|(at, c)| if at == index { turn(c) } else { c });
    changed.collect()
}

#[test]
fn any_changed_bit_of_the_body_is_refused() {
    for wire in [list_schemas(), odd_form()] {
        for bit in 0..wire.body.len() * 8 {
            let mut changed = wire.clone();
            changed.body[bit / 8] ^= 1 << (bit % 8);
            changed.refused(ExceptionKind::InvalidSignature);
        }
        for body in [
            &wire.body[..wire.body.len() - 1],
            &[&wire.body[..], b" "].concat(),
            b"",
        ] {
            let changed = Wire {
                body: body.to_vec(),
                ..wire.clone()
            };
            changed.refused(ExceptionKind::InvalidSignature);
        }
    }
    let changed = Wire {
        body: b"x".to_vec(),
        ..presigned()
    };
    changed.refused(ExceptionKind::InvalidSignature);
}

#[test]
fn any_changed_character_of_a_signed_header_is_refused() {
    let mut refused = 0;
    for wire in [list_schemas(), odd_form(), presigned()] {
        for (number, (name, value)) in wire.headers.iter().enumerate() {
            for index in 0..value.len() {
                // Blanks around the values are not signed, and neither are those between the
                // members of the authorization.
                if value.as_bytes()[index] == b' ' {
                    continue;
                }
                let mut changed = wire.clone();
                changed.headers[number].1 = turned(value, index);
                assert_ne!(&changed.headers[number].1, value);
                let result = changed.verify();
                assert!(
                    result.is_err(),
                    "{name}: {} {result:?}",
                    changed.headers[number].1
                );
                refused += 1;
            }
            if name != "host" {
                let result = wire.clone().without(name).verify();
                assert!(result.is_err(), "without {name}: {result:?}");
            }
            if name != "authorization" {
                let result = wire.clone().with(name, "more").verify();
                assert!(result.is_err(), "two of {name}: {result:?}");
            }
        }
    }
    assert!(refused > 600, "{refused}");
}

#[test]
fn a_changed_method_path_or_query_is_refused() {
    for wire in [list_schemas(), odd_form(), presigned()] {
        for method in ["PUT", "DELETE", "HEAD", "post"] {
            let changed = Wire {
                method: method.into(),
                ..wire.clone()
            };
            changed.refused(ExceptionKind::InvalidSignature);
        }
        let rest = wire.target[1..].to_owned();
        for start in ["/x", "//", "/%2F", "/./"] {
            let changed = Wire {
                target: format!("{start}{rest}"),
                ..wire.clone()
            };
            changed.refused(ExceptionKind::InvalidSignature);
        }
        let and = if rest.is_empty() { "?" } else { "&" };
        for more in ["z=1", "z", "a-b=1"] {
            let changed = Wire {
                target: format!("{}{and}{more}", wire.target),
                ..wire.clone()
            };
            changed.refused(ExceptionKind::InvalidSignature);
        }
    }
    for wire in [odd_form(), presigned()] {
        for index in 2..wire.target.len() {
            let mut changed = wire.clone();
            changed.target = turned(&wire.target, index);
            let result = changed.verify();
            assert!(result.is_err(), "{} {result:?}", changed.target);
        }
    }
    let swapped = odd_form()
        .target
        .replace("Tags.10=q&Tags.1=p", "Tags.10=p&Tags.1=q");
    Wire {
        target: swapped,
        ..odd_form()
    }
    .refused(ExceptionKind::InvalidSignature);
}

#[test]
fn unknown_keys_and_wrong_secrets_are_told_apart() {
    let unknown = list_schemas().swap("authorization", KEY, "AKIDSTRANGER");
    let message = unknown.refused(ExceptionKind::UnrecognizedClient);
    assert_eq!(
        message,
        "The security token included in the request is invalid."
    );
    // Known, but with another secret.
    let other = list_schemas().swap("authorization", KEY, "AKIDEXAMPLE");
    let message = other.refused(ExceptionKind::InvalidSignature);
    assert!(
        message.starts_with("The request signature we calculated does not match"),
        "{message}"
    );
}

#[test]
fn no_message_tells_a_secret_or_the_right_signature() {
    let right = "5bc35ce1734f100332832b84f565e9ba9b81af73534841cb78aaf8c53e26a2d7";
    let changed = list_schemas().swap("authorization", "Signature=5", "Signature=6");
    let message = changed.refused(ExceptionKind::InvalidSignature);
    assert!(
        !message.contains(SECRET) && !message.contains(right),
        "{message}"
    );
}

#[test]
fn dates_may_be_off_by_a_quarter_of_an_hour_and_no_more() {
    let quarter = 15 * 60 * 1000;
    let check = |wire: Wire, now_ms: i64, expected: Option<&str>| {
        let result = wire.verify_by(&verifier_at(AuthMode::Static, now_ms));
        match (result, expected) {
            (Ok(key), None) => assert_eq!(key, KEY),
            (Err(exception), Some(text)) => {
                assert_eq!(exception.kind, ExceptionKind::InvalidSignature);
                assert!(exception.message.starts_with(text), "{exception}");
            }
            (result, _) => panic!("{now_ms}: {result:?} instead of {expected:?}"),
        }
    };
    let old = Some("Signature expired: 20260131T235958Z is too old");
    let young = Some("Signature not yet current: 20260131T235958Z is in the future");
    for wire in [list_schemas(), odd_form()] {
        check(wire.clone(), SIGNED_MS + quarter, None);
        check(wire.clone(), SIGNED_MS + quarter + 1, old);
        check(wire.clone(), SIGNED_MS + quarter + 1000, old);
        check(wire.clone(), SIGNED_MS - quarter, None);
        check(wire.clone(), SIGNED_MS - quarter - 1, young);
        check(wire.clone(), SIGNED_MS - quarter - 1000, young);
    }
    // A presigned query lives as long as it says, here 300 seconds.
    check(presigned(), SIGNED_MS + 300_000, None);
    check(presigned(), SIGNED_MS + 301_000, old);
    check(presigned(), SIGNED_MS - quarter, None);
    check(presigned(), SIGNED_MS - quarter - 1000, young);
}

#[test]
fn lives_of_presigned_queries_have_limits() {
    for (life, accepted) in [
        ("0", true),
        ("604800", true),
        ("604801", false),
        ("-1", false),
        ("", false),
        ("5m", false),
    ] {
        let mut wire = presigned();
        wire.target = wire
            .target
            .replace("X-Amz-Expires=300", &format!("X-Amz-Expires={life}"));
        // What the limits let through still has the wrong signature.
        let expected = if accepted {
            ExceptionKind::InvalidSignature
        } else {
            ExceptionKind::IncompleteSignature
        };
        wire.refused(expected);
    }
}

#[test]
fn the_scope_must_fit_the_date_and_the_service_but_any_region_will_do() {
    let headers = "content-type;host;x-amz-date;x-amz-target";
    let scoped = |scope: &str| signed(list_schemas(), DATE, scope, headers);
    scoped("20260131/us-east-1/personalize").accepted();
    for region in ["eu-west-9", "local", "x"] {
        scoped(&format!("20260131/{region}/personalize")).accepted();
    }
    for day in ["20260130", "20260201", "2026013", ""] {
        let wire = scoped(&format!("{day}/us-east-1/personalize"));
        let message = wire.refused(ExceptionKind::InvalidSignature);
        assert!(
            message.starts_with("Date in Credential scope does not match"),
            "{message}"
        );
    }
    for service in ["s3", "Personalize", "personalize-events", ""] {
        let wire = scoped(&format!("20260131/us-east-1/{service}"));
        let message = wire.refused(ExceptionKind::InvalidSignature);
        assert_eq!(
            message,
            "Credential should be scoped to correct service: 'personalize' or 'sts'."
        );
    }
}

#[test]
fn missing_pieces_are_named() {
    let refused = |wire: Wire, text: &str| {
        let message = wire.refused(ExceptionKind::IncompleteSignature);
        assert!(message.contains(text), "{message} does not name {text}");
    };
    let change = |from: &str, to: &str| list_schemas().swap("authorization", from, to);
    refused(change("Credential=", "Credentials="), "'Credential'");
    refused(change("SignedHeaders=", "Headers="), "'SignedHeaders'");
    refused(change("Signature=", "Sign="), "'Signature'");
    refused(
        change("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"),
        "AWS4-HMAC-SHA256",
    );
    refused(change("AWS4-HMAC-SHA256", "AWS3-HTTPS"), "AWS4-HMAC-SHA256");
    refused(change("AWS4-HMAC-SHA256", "Bearer"), "AWS4-HMAC-SHA256");
    refused(change("/aws4_request", ""), "Credential");
    refused(change("/aws4_request", "/aws5_request"), "terminator");
    refused(change(KEY, ""), "access key");
    refused(list_schemas().without("x-amz-date"), "Date");
    refused(list_schemas().without("x-amz-target"), "x-amz-target");
    refused(change("content-type;host", "content-type"), "'Host'");
    refused(
        list_schemas().with("x-amz-user-agent", "x"),
        "'x-amz-user-agent'",
    );
    refused(presigned().with("x-amz-date", DATE), "'x-amz-date'");
    let long = format!("AWS4-HMAC-SHA256 {}", "x".repeat(AUTHORIZATION_BYTES_MAX));
    refused(
        list_schemas()
            .without("authorization")
            .with("authorization", &long),
        "too long",
    );
    for name in [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-SignedHeaders",
    ] {
        let target = presigned().target.replace(&format!("{name}="), "Other=");
        refused(
            Wire {
                target,
                ..presigned()
            },
            name,
        );
    }
    for date in [
        "20260131235958Z",
        "2026-01-31T23:59:58Z",
        "20260131T235958",
        "20260131T255958Z",
    ] {
        let wire = list_schemas().swap("x-amz-date", DATE, date);
        assert!(wire.verify().is_err(), "{date}");
    }
    list_schemas()
        .without("authorization")
        .refused(ExceptionKind::MissingAuthenticationToken);
    let target = presigned().target.replace("X-Amz-Signature=", "Other=");
    Wire {
        target,
        ..presigned()
    }
    .refused(ExceptionKind::MissingAuthenticationToken);
}

#[test]
fn a_stated_hash_must_be_that_of_the_payload() {
    let headers = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target";
    for hash in [
        "UNSIGNED-PAYLOAD",
        "",
        &hex::encode(Sha256::digest(b"other")),
    ] {
        let wire = list_schemas().with("x-amz-content-sha256", hash);
        let wire = signed(wire, DATE, "20260131/us-east-1/personalize", headers);
        let message = wire.refused(ExceptionKind::InvalidSignature);
        assert!(message.contains("x-amz-content-sha256"), "{message}");
    }
}

#[test]
fn trust_takes_any_signature_and_off_takes_none_too() {
    let trust = verifier_at(AuthMode::Trust, 0);
    let off = verifier_at(AuthMode::Off, 0);
    let stranger = list_schemas().swap("authorization", KEY, "AKIDSTRANGER");
    for verifier in [&trust, &off] {
        assert_eq!(stranger.verify_by(verifier).as_deref(), Ok("AKIDSTRANGER"));
        assert_eq!(presigned().verify_by(verifier).as_deref(), Ok(KEY));
    }
    let unsigned = list_schemas().without("authorization");
    let malformed = list_schemas().swap("authorization", "Credential=", "x=");
    let kind = |result: Result<String, Exception>| result.unwrap_err().kind;
    assert_eq!(
        kind(unsigned.verify_by(&trust)),
        ExceptionKind::MissingAuthenticationToken
    );
    assert_eq!(
        kind(malformed.verify_by(&trust)),
        ExceptionKind::IncompleteSignature
    );
    assert_eq!(unsigned.verify_by(&off).as_deref(), Ok("anonymous"));
    assert_eq!(malformed.verify_by(&off).as_deref(), Ok("anonymous"));
}

#[test]
fn the_claimed_service_is_read_from_either_place() {
    assert_eq!(
        claimed_service(&list_schemas().parts()).as_deref(),
        Some("personalize")
    );
    assert_eq!(
        claimed_service(&presigned().parts()).as_deref(),
        Some("sts")
    );
    assert_eq!(
        claimed_service(&list_schemas().without("authorization").parts()),
        None
    );
}

/// The key of a session with the token that `odd_form` carries.
#[derive(Debug)]
struct OneSession {
    token: &'static str,
    expires_ms: i64,
}

impl KeyTable for OneSession {
    fn secret_for(&self, access_key: &str) -> Option<String> {
        TwoKeys.secret_for(access_key)
    }

    fn session(&self, access_key: &str) -> Option<crate::keys::SessionFacts> {
        (access_key == KEY).then(|| crate::keys::SessionFacts {
            token: self.token.into(),
            expires_ms: self.expires_ms,
        })
    }
}

#[test]
fn a_sessions_key_needs_its_token_and_ends_with_it() {
    let verify = |wire: &Wire, token: &'static str, expires_ms: i64| {
        let keys = Arc::new(OneSession { token, expires_ms });
        let verifier = Verifier {
            keys,
            ..verifier_at(AuthMode::Static, SIGNED_MS)
        };
        wire.verify_by(&verifier)
            .map_err(|exception| exception.kind)
    };
    let token = "token//+=";
    let later = SIGNED_MS + 1;
    assert_eq!(verify(&odd_form(), token, later), Ok(KEY.to_owned()));
    let expired = verify(&odd_form(), token, SIGNED_MS);
    assert_eq!(expired, Err(ExceptionKind::ExpiredToken));
    let unknown = Err(ExceptionKind::UnrecognizedClient);
    assert_eq!(verify(&odd_form(), "another", later), unknown);
    // Without a token, in the header and in the query form.
    assert_eq!(verify(&list_schemas(), token, later), unknown);
    assert_eq!(verify(&presigned(), token, later), unknown);
}
