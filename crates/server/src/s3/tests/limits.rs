//! Rates, lengths and slowness.

use super::*;
use crate::http::bodies::TooSlow;
use axum::body::Body;

fn signed(method: &str, uri: &str, body: &str, secret: &str) -> Request<Full<Bytes>> {
    let mut request = request(method, uri, &[], body.to_owned());
    sign(&mut request, &sha(body), NOW, secret);
    request
}

#[tokio::test]
async fn a_key_above_its_rate_is_told_to_slow_down() {
    for mode in [AuthMode::Static, AuthMode::Trust] {
        let s3 = Endpoint::with_rate(mode, 1.0, 3.0);
        if mode == AuthMode::Static {
            // Requests that are not the key's own take nothing from it.
            for _ in 0..10 {
                let forged = signed("GET", "/bucket", "", "a guess");
                s3.send(forged).await.refused(403, "SignatureDoesNotMatch");
            }
        }
        for _ in 0..3 {
            let answer = s3.send(signed("PUT", "/bucket/key", "x", SECRET)).await;
            assert_eq!(answer.status, 200, "{mode:?} {}", answer.text());
        }
        let answer = s3.send(signed("PUT", "/bucket/key", "y", SECRET)).await;
        answer.refused(503, "SlowDown");
        assert_eq!(
            answer.element("Message"),
            "Please reduce your request rate."
        );
    }
}

#[tokio::test]
async fn a_document_that_says_it_is_too_long_is_not_read() {
    let s3 = Endpoint::new(AuthMode::Static);
    let length = bodies::DOCUMENT_BYTES_MAX + 1;
    let (mut head, _) = request("POST", "/bucket?delete", &[], "").into_parts();
    head.headers.insert("content-length", length.into());
    // Reading it would never end.
    let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = s3.plane.handle(Request::from_parts(head, body)).await;
    assert_eq!(answer.status(), 400);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.contains("<Code>MaxMessageLengthExceeded</Code>"),
        "{text}"
    );
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_a_request_timeout() {
    let s3 = Endpoint::new(AuthMode::Off);
    for uri in ["/bucket/key", "/bucket/key?tagging", "/bucket?tagging"] {
        let (mut head, _) = request("PUT", uri, &[], "").into_parts();
        head.headers
            .insert("content-length", "100".parse().unwrap());
        let begun = Ok(Bytes::from_static(b"begun"));
        let pieces = [begun, Err(axum::Error::new(TooSlow))];
        let body = Body::from_stream(futures::stream::iter(pieces));
        let answer = s3.plane.handle(Request::from_parts(head, body)).await;
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text);
        assert!(
            text.contains("<Code>RequestTimeout</Code>"),
            "{uri}: {text}"
        );
    }
}
