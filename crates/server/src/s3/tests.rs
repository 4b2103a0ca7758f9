//! The endpoint from outside: requests in, answers out, without a socket.

mod limits;

use super::*;
use crate::identity::Caller;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Full};
use kindred_types::time::Timestamp;
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

const ACCESS: &str = "AKIAEXAMPLE";
const SECRET: &str = "the secret that no answer may hold";
const NOW: &str = "20231114T221320Z";
const NOW_MS: i64 = 1_700_000_000_000;

#[derive(Debug)]
struct FixedClock(AtomicI64);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

#[derive(Debug)]
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes.fill(0x5a);
        let at = bytes.len().saturating_sub(8);
        let tail = bytes.len() - at;
        bytes[at..].copy_from_slice(&count[8 - tail..]);
    }
}

#[derive(Debug)]
struct OneKey;

impl KeyTable for OneKey {
    fn secret_for(&self, access_key: &str) -> Option<String> {
        (access_key == ACCESS).then(|| SECRET.to_owned())
    }
}

struct Endpoint {
    plane: S3Plane,
    _dir: tempfile::TempDir,
}

#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The content of the first element of that name.
    fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let opening = format!("<{name}>");
        let pieces = text.split(&opening).skip(1);
        pieces
            .map(|rest| rest.split("</").next().unwrap_or("").to_owned())
            .collect()
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.element("Code").as_str()),
            (status, code),
            "{self:?}"
        );
        assert_eq!(self.element("RequestId"), self.header("x-amz-request-id"));
    }
}

/// Every key is the operator's.
#[derive(Debug)]
struct Operators;

impl Callers for Operators {
    fn caller(&self, access_key: &str) -> Result<Caller, crate::error::Exception> {
        Ok(Caller::operator(access_key, "aws", "000000000000"))
    }
}

impl Endpoint {
    fn new(mode: AuthMode) -> Self {
        Endpoint::with_rate(mode, 1e6, 1e6)
    }

    fn with_rate(mode: AuthMode, per_second: f64, burst: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock(NOW_MS.into()));
        let random = Arc::new(Counter(0.into()));
        let store = EmbeddedStore::open(dir.path(), clock.clone(), random.clone()).unwrap();
        store.create_bucket("bucket").unwrap();
        let keys = Arc::new(OneKey);
        let account = Account::default();
        let plane = S3Plane::new(S3Parts {
            store,
            keys,
            callers: Arc::new(Operators),
            audit: Arc::new(Audit::open(&dir.path().join("audit"), clock.clone(), true).unwrap()),
            mode,
            account,
            limiter: Arc::new(RateLimiter::new(per_second, burst, clock.clone())),
            clock,
            random,
        });
        Endpoint { plane, _dir: dir }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Got {
        let (head, body) = self.plane.handle(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(head.headers["x-amz-request-id"].len(), 16);
        Got {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    async fn call(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Got {
        self.send(request(method, target, headers, body)).await
    }

    async fn get(&self, target: &str) -> Got {
        self.call("GET", target, &[], "").await
    }

    async fn put(&self, target: &str, body: impl Into<Bytes>) -> Got {
        self.call("PUT", target, &[], body).await
    }
}

fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let body = body.into();
    let mut builder = Request::builder()
        .method(method.parse::<Method>().unwrap())
        .uri(target)
        .header("host", "127.0.0.1:7070")
        .header("content-length", body.len());
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body)).unwrap()
}

#[tokio::test]
async fn objects_go_in_and_come_out() {
    let s3 = Endpoint::new(AuthMode::Off);
    let headers = [
        ("content-type", "text/csv"),
        ("content-encoding", "gzip"),
        ("cache-control", "no-cache"),
        ("x-amz-meta-colour", "blue"),
        ("x-amz-tagging", "a=1&b=two+words"),
    ];
    let put = s3
        .call("PUT", "/bucket/some/key", &headers, "hello world")
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.header("etag"), "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
    let got = s3.get("/bucket/some/key").await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello world"));
    for (name, value) in &headers[..4] {
        assert_eq!(got.header(name), *value, "{name}");
    }
    assert_eq!(got.header("content-length"), "11");
    assert_eq!(got.header("last-modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(got.header("x-amz-tagging-count"), "2");
    let head = s3.call("HEAD", "/bucket/some/key", &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, "11"));
    assert!(head.body.is_empty());
    let tags = s3.get("/bucket/some/key?tagging").await;
    assert_eq!(tags.elements("Value"), ["1", "two words"]);
    assert_eq!(
        s3.call("DELETE", "/bucket/some/key", &[], "").await.status,
        204
    );
    assert_eq!(
        s3.call("DELETE", "/bucket/some/key", &[], "").await.status,
        204
    );
    s3.get("/bucket/some/key").await.refused(404, "NoSuchKey");
    s3.get("/no-bucket/some/key")
        .await
        .refused(404, "NoSuchBucket");
    s3.put("/no-bucket/some/key", "x")
        .await
        .refused(404, "NoSuchBucket");
    assert_eq!(s3.call("HEAD", "/bucket/none", &[], "").await.status, 404);
}

#[tokio::test]
async fn large_objects_ranges_and_conditions() {
    let s3 = Endpoint::new(AuthMode::Off);
    let content: Vec<u8> = (0..3_000_000u32).map(|at| ((at * 31) >> 5) as u8).collect();
    let etag = s3
        .put("/bucket/large", content.clone())
        .await
        .header("etag")
        .to_owned();
    assert_eq!(s3.get("/bucket/large").await.body, content);
    for (range, span) in [
        ("bytes=0-0", 0..1),
        ("bytes=1048570-1048590", 1_048_570..1_048_591),
        ("bytes=2999990-", 2_999_990..3_000_000),
        ("bytes=-7", 2_999_993..3_000_000),
        ("bytes=10-99999999", 10..3_000_000),
    ] {
        let got = s3
            .call("GET", "/bucket/large", &[("range", range)], "")
            .await;
        assert_eq!(got.status, 206, "{range}");
        assert_eq!(got.body, content[span.clone()], "{range}");
        let expected = format!("bytes {}-{}/3000000", span.start, span.end - 1);
        assert_eq!(got.header("content-range"), expected);
    }
    let past = s3
        .call("GET", "/bucket/large", &[("range", "bytes=3000000-")], "")
        .await;
    past.refused(416, "InvalidRange");
    let ask = |name: &'static str, value: String| {
        let s3 = &s3;
        async move {
            s3.call("GET", "/bucket/large", &[(name, &value)], "")
                .await
                .status
        }
    };
    let (same, other) = (etag.clone(), "\"0\"".to_owned());
    assert_eq!(ask("if-match", same.clone()).await, 200);
    assert_eq!(ask("if-match", other.clone()).await, 412);
    assert_eq!(ask("if-none-match", same).await, 304);
    assert_eq!(ask("if-none-match", other).await, 200);
    let date = "Tue, 14 Nov 2023 22:13:20 GMT".to_owned();
    assert_eq!(ask("if-modified-since", date.clone()).await, 304);
    assert_eq!(ask("if-unmodified-since", date).await, 200);
    let before = "Tue, 14 Nov 2023 22:13:19 GMT".to_owned();
    assert_eq!(ask("if-modified-since", before.clone()).await, 200);
    assert_eq!(ask("if-unmodified-since", before).await, 412);
    let once = s3
        .call("PUT", "/bucket/large", &[("if-none-match", "*")], "x")
        .await;
    once.refused(412, "PreconditionFailed");
    assert_eq!(
        s3.call("PUT", "/bucket/new", &[("if-none-match", "*")], "x")
            .await
            .status,
        200
    );
    assert_eq!(
        s3.call("PUT", "/bucket/large", &[("if-match", &etag)], "y")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn checksums_are_checked_kept_and_given_back() {
    let s3 = Endpoint::new(AuthMode::Off);
    let put = |name: &'static str, value: &'static str| {
        let s3 = &s3;
        async move {
            s3.call("PUT", "/bucket/sum", &[(name, value)], "123456789")
                .await
        }
    };
    for (name, value) in [
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        (
            "x-amz-checksum-sha256",
            "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        ),
    ] {
        let stored = put(name, value).await;
        assert_eq!(
            (stored.status, stored.header(name)),
            (200, value),
            "{}",
            stored.text()
        );
        let mode = [("x-amz-checksum-mode", "ENABLED")];
        let got = s3.call("GET", "/bucket/sum", &mode, "").await;
        assert_eq!(got.header(name), value);
        assert_eq!(got.header("x-amz-checksum-type"), "FULL_OBJECT");
        assert_eq!(s3.get("/bucket/sum").await.header(name), "");
        put(name, "AAAAAA==").await.refused(400, "BadDigest");
    }
    put("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==").await;
    put("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")
        .await
        .refused(400, "BadDigest");
    put("content-md5", "nonsense")
        .await
        .refused(400, "InvalidDigest");
    put("x-amz-sdk-checksum-algorithm", "CRC99")
        .await
        .refused(400, "InvalidRequest");
    // Nothing that was refused has replaced what was there.
    assert_eq!(s3.get("/bucket/sum").await.text(), "123456789");
}

#[tokio::test]
async fn listings_in_both_versions() {
    let s3 = Endpoint::new(AuthMode::Off);
    for key in ["a%20b", "dir/1", "dir/2", "dir/sub/3", "z%2B%C3%A4"] {
        assert_eq!(s3.put(&format!("/bucket/{key}"), "x").await.status, 200);
    }
    let all = s3.get("/bucket?list-type=2").await;
    assert_eq!(
        all.elements("Key"),
        ["a b", "dir/1", "dir/2", "dir/sub/3", "z+ä"]
    );
    assert_eq!(
        (all.element("KeyCount"), all.element("IsTruncated")),
        ("5".into(), "false".into())
    );
    let encoded = s3
        .get("/bucket?list-type=2&encoding-type=url&start-after=dir/sub/3")
        .await;
    assert_eq!(encoded.elements("Key"), ["z%2B%C3%A4"]);
    let rolled = s3
        .get("/bucket?list-type=2&delimiter=/&prefix=dir/&fetch-owner=true")
        .await;
    assert_eq!(rolled.elements("Key"), ["dir/1", "dir/2"]);
    assert!(
        rolled
            .text()
            .contains("<CommonPrefixes><Prefix>dir/sub/</Prefix></CommonPrefixes>")
    );
    assert!(rolled.text().contains("<ID>000000000000</ID>"));
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = s3
            .get(&format!(
                "/bucket?list-type=2&delimiter=%2F&max-keys=1{token}"
            ))
            .await;
        seen.extend(page.elements("Key"));
        seen.extend(page.elements("CommonPrefixes><Prefix"));
        if page.element("IsTruncated") == "false" {
            break;
        }
        token = format!(
            "&continuation-token={}",
            page.element("NextContinuationToken")
        );
    }
    assert_eq!(seen, ["a b", "dir/", "z+ä"]);
    let first = s3.get("/bucket?delimiter=/&max-keys=2").await;
    assert_eq!(first.element("NextMarker"), "dir/");
    let second = s3.get("/bucket?delimiter=/&marker=dir/").await;
    assert_eq!(second.elements("Key"), ["z+ä"]);
    s3.get("/bucket?list-type=2&continuation-token=%21")
        .await
        .refused(400, "InvalidArgument");
    s3.get("/no-bucket?list-type=2")
        .await
        .refused(404, "NoSuchBucket");
    assert_eq!(
        s3.get("/bucket?list-type=2&max-keys=0")
            .await
            .element("IsTruncated"),
        "false"
    );
}

#[tokio::test]
async fn buckets_and_policies() {
    let s3 = Endpoint::new(AuthMode::Off);
    assert_eq!(s3.put("/another", "").await.status, 200);
    assert_eq!(s3.put("/another", "").await.status, 200);
    let configuration = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                         <LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(s3.put("/third", configuration).await.status, 200);
    s3.put("/Bad_Name", "")
        .await
        .refused(400, "InvalidBucketName");
    let head = s3.call("HEAD", "/another", &[], "").await;
    assert_eq!(
        (head.status, head.header("x-amz-bucket-region")),
        (200, "us-east-1")
    );
    assert_eq!(s3.call("HEAD", "/nowhere", &[], "").await.status, 404);
    assert_eq!(
        s3.get("/").await.elements("Name"),
        ["another", "bucket", "third"]
    );
    assert_eq!(s3.get("/another?location").await.status, 200);
    s3.get("/another?policy")
        .await
        .refused(404, "NoSuchBucketPolicy");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"personalize.amazonaws.com"},"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::another","arn:aws:s3:::another/*"]}]}"#;
    assert!(s3.put("/another?policy", policy).await.status < 300);
    assert_eq!(s3.get("/another?policy").await.text(), policy);
    s3.put("/another?policy", "{}")
        .await
        .refused(400, "MalformedPolicy");
    assert_eq!(
        s3.call("DELETE", "/another?policy", &[], "").await.status,
        204
    );
    s3.put("/another/key", "x").await;
    s3.call("DELETE", "/another", &[], "")
        .await
        .refused(409, "BucketNotEmpty");
    let owner = [("x-amz-expected-bucket-owner", "111111111111")];
    s3.call("DELETE", "/third", &owner, "")
        .await
        .refused(403, "AccessDenied");
    assert_eq!(s3.call("DELETE", "/third", &[], "").await.status, 204);
    s3.call("DELETE", "/third", &[], "")
        .await
        .refused(404, "NoSuchBucket");
}

#[tokio::test]
async fn many_deletes_and_copies() {
    let s3 = Endpoint::new(AuthMode::Off);
    let source = [("content-type", "text/plain"), ("x-amz-meta-kept", "yes")];
    s3.call("PUT", "/bucket/source%20one", &source, "content")
        .await;
    let copy = [("x-amz-copy-source", "bucket/source%20one")];
    let copied = s3.call("PUT", "/bucket/copy", &copy, "").await;
    assert_eq!(
        copied.element("ETag").replace("&quot;", "\""),
        "\"9a0364b9e99bb480dd25e1f0284c8555\""
    );
    let got = s3.get("/bucket/copy").await;
    assert_eq!(
        (got.text().as_str(), got.header("x-amz-meta-kept")),
        ("content", "yes")
    );
    let same = s3.call("PUT", "/bucket/source%20one", &copy, "").await;
    same.refused(400, "InvalidRequest");
    let replace = [
        copy[0],
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-meta-other", "1"),
    ];
    assert_eq!(
        s3.call("PUT", "/bucket/source%20one", &replace, "")
            .await
            .status,
        200
    );
    let got = s3.get("/bucket/source%20one").await;
    assert_eq!(
        (
            got.header("x-amz-meta-kept"),
            got.header("x-amz-meta-other")
        ),
        ("", "1")
    );
    let guarded = [copy[0], ("x-amz-copy-source-if-match", "\"0\"")];
    s3.call("PUT", "/bucket/copy", &guarded, "")
        .await
        .refused(412, "PreconditionFailed");
    let missing = [("x-amz-copy-source", "/bucket/missing")];
    s3.call("PUT", "/bucket/copy", &missing, "")
        .await
        .refused(404, "NoSuchKey");
    let list = "<Delete><Object><Key>copy</Key></Object><Object><Key>never &amp; there</Key></Object></Delete>";
    let deleted = s3.call("POST", "/bucket?delete", &[], list).await;
    assert_eq!(deleted.elements("Key"), ["copy", "never &amp; there"]);
    s3.get("/bucket/copy").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn multipart_uploads_with_checksums() {
    let s3 = Endpoint::new(AuthMode::Off);
    let part: Vec<u8> = (0..5u32 << 20).map(|at| ((at * 7) >> 3) as u8).collect();
    let tail = b"the end".to_vec();
    let whole = [part.clone(), tail.clone()].concat();
    // Against the checksum of the same content put in one piece.
    let plain = s3
        .call(
            "PUT",
            "/bucket/plain",
            &[("x-amz-sdk-checksum-algorithm", "CRC32")],
            whole.clone(),
        )
        .await;
    let crc32 = plain.header("x-amz-checksum-crc32").to_owned();
    let headers = [
        ("x-amz-checksum-algorithm", "CRC32"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
        ("content-type", "text/plain"),
    ];
    let started = s3.call("POST", "/bucket/multi?uploads", &headers, "").await;
    let id = started.element("UploadId");
    assert_eq!(id.len(), 32, "{}", started.text());
    let mut etags = Vec::new();
    for (number, content) in [(1, part.clone()), (2, tail.clone())] {
        let target = format!("/bucket/multi?partNumber={number}&uploadId={id}");
        let put = s3.put(&target, content).await;
        assert_eq!(put.status, 200, "{}", put.text());
        etags.push(put.header("etag").to_owned());
    }
    let listed = s3.get(&format!("/bucket/multi?uploadId={id}")).await;
    assert_eq!(listed.elements("PartNumber"), ["1", "2"]);
    assert_eq!(
        s3.get("/bucket?uploads").await.elements("UploadId"),
        std::slice::from_ref(&id)
    );
    let document = |etags: &[String]| {
        let parts = etags.iter().zip(1..).map(|(etag, number)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        });
        let parts: String = parts.collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    };
    let target = format!("/bucket/multi?uploadId={id}");
    let wrong = s3
        .call(
            "POST",
            &target,
            &[("x-amz-checksum-crc32", "AAAAAA==")],
            document(&etags),
        )
        .await;
    wrong.refused(400, "BadDigest");
    let swapped = s3
        .call(
            "POST",
            &target,
            &[],
            document(&[etags[1].clone(), etags[0].clone()]),
        )
        .await;
    swapped.refused(400, "InvalidPart");
    let done = s3
        .call(
            "POST",
            &target,
            &[("x-amz-checksum-crc32", &crc32)],
            document(&etags),
        )
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.element("ETag").contains("-2"), "{}", done.text());
    assert_eq!(done.element("ChecksumCRC32"), crc32);
    // The same completion again, as after a lost answer.
    let again = s3.call("POST", &target, &[], document(&etags)).await;
    assert_eq!(again.element("ETag"), done.element("ETag"));
    let got = s3
        .call(
            "GET",
            "/bucket/multi",
            &[("x-amz-checksum-mode", "ENABLED")],
            "",
        )
        .await;
    assert_eq!(
        (
            got.header("x-amz-checksum-crc32"),
            got.header("content-type")
        ),
        (crc32.as_str(), "text/plain")
    );
    assert!(got.body == whole);
    let second = s3.get("/bucket/multi?partNumber=2").await;
    assert_eq!(
        (second.status, second.header("x-amz-mp-parts-count")),
        (206, "2")
    );
    assert_eq!(second.body, tail);
    // A copied part, a composite checksum, and an upload that is given up.
    let headers = [("x-amz-checksum-algorithm", "SHA256")];
    let id = s3
        .call("POST", "/bucket/multi2?uploads", &headers, "")
        .await
        .element("UploadId");
    let target = format!("/bucket/multi2?partNumber=1&uploadId={id}");
    let from = [
        ("x-amz-copy-source", "/bucket/multi"),
        ("x-amz-copy-source-range", "bytes=5-14"),
    ];
    let copied = s3.call("PUT", &target, &from, "").await;
    let etag = copied.element("ETag");
    let done = s3
        .call(
            "POST",
            &format!("/bucket/multi2?uploadId={id}"),
            &[],
            document(&[etag]),
        )
        .await;
    assert!(
        done.element("ChecksumSHA256").ends_with("-1"),
        "{}",
        done.text()
    );
    assert_eq!(s3.get("/bucket/multi2").await.body, whole[5..15]);
    let id = s3
        .call("POST", "/bucket/multi3?uploads", &[], "")
        .await
        .element("UploadId");
    let target = format!("/bucket/multi3?uploadId={id}");
    assert_eq!(s3.call("DELETE", &target, &[], "").await.status, 204);
    s3.call("DELETE", &target, &[], "")
        .await
        .refused(404, "NoSuchUpload");
    s3.put(&format!("/bucket/multi3?partNumber=1&uploadId={id}"), "x")
        .await
        .refused(404, "NoSuchUpload");
}

#[tokio::test]
async fn what_is_not_supported_is_refused() {
    let s3 = Endpoint::new(AuthMode::Off);
    let put = |name: &'static str, value: &'static str| {
        let s3 = &s3;
        async move { s3.call("PUT", "/bucket/k", &[(name, value)], "x").await }
    };
    put("x-amz-server-side-encryption", "AES256")
        .await
        .refused(501, "NotImplemented");
    put("x-amz-acl", "public-read")
        .await
        .refused(400, "AccessControlListNotSupported");
    assert_eq!(
        put("x-amz-acl", "bucket-owner-full-control").await.status,
        200
    );
    let big = "v".repeat(2049);
    let large = s3
        .call("PUT", "/bucket/k", &[("x-amz-meta-a", &big)], "x")
        .await;
    large.refused(400, "MetadataTooLarge");
    let form = [("content-type", "multipart/form-data; boundary=b")];
    s3.call("POST", "/bucket", &form, "--b--")
        .await
        .refused(501, "NotImplemented");
    s3.get("/bucket/k?versionId=abc")
        .await
        .refused(404, "NoSuchVersion");
    s3.get("/bucket?lifecycle")
        .await
        .refused(501, "NotImplemented");
    let long = format!("/bucket/{}", "k".repeat(1025));
    s3.put(&long, "x").await.refused(400, "KeyTooLongError");
    s3.put("/bucket/%00", "x")
        .await
        .refused(400, "InvalidArgument");
    let huge = vec![b' '; bodies::DOCUMENT_BYTES_MAX + 1];
    let refused = s3.call("POST", "/bucket?delete", &[], huge).await;
    refused.refused(400, "MaxMessageLengthExceeded");
    let mut cut = request("POST", "/bucket?delete", &[], "<Delete>");
    cut.headers_mut()
        .insert("content-length", HeaderValue::from_static("99"));
    s3.send(cut).await.refused(400, "IncompleteBody");
    s3.call("POST", "/bucket?delete", &[], "<Delete><Obj")
        .await
        .refused(400, "MalformedXML");
    // A body that is shorter than it says.
    let mut cut = request("PUT", "/bucket/cut", &[], "short");
    cut.headers_mut()
        .insert("content-length", HeaderValue::from_static("99"));
    s3.send(cut).await.refused(400, "IncompleteBody");
    s3.get("/bucket/cut").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn keys_of_every_kind_stay_apart() {
    let s3 = Endpoint::new(AuthMode::Off);
    let keys = [
        "..%2F..%2Fetc",
        "a",
        "a%2Fb",
        "a%2F%2Fb",
        "%2Fa",
        "A",
        "%252e%252e",
        "%5C",
        "%23",
        "%3F",
        "a%20",
        "a%2B",
    ];
    for key in keys {
        assert_eq!(
            s3.put(&format!("/bucket/{key}"), format!("of {key}"))
                .await
                .status,
            200,
            "{key}"
        );
    }
    for key in keys {
        assert_eq!(
            s3.get(&format!("/bucket/{key}")).await.text(),
            format!("of {key}")
        );
    }
    assert_eq!(
        s3.get("/bucket?list-type=2").await.elements("Key").len(),
        keys.len()
    );
}

/// Signs with Signature Version 4, written down here once more so that the endpoint is not its own
/// judge.
fn sign(request: &mut Request<Full<Bytes>>, payload: &str, date: &str, secret: &str) {
    let headers = request.headers_mut();
    headers.insert("x-amz-date", date.parse().unwrap());
    headers.insert("x-amz-content-sha256", payload.parse().unwrap());
    let mut names: Vec<String> = headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    names.sort();
    let canonical_headers: String = names
        .iter()
        .map(|name| format!("{name}:{}\n", request.headers()[name].to_str().unwrap()))
        .collect();
    let mut pairs: Vec<&str> = request.uri().query().unwrap_or("").split('&').collect();
    pairs.sort_unstable();
    let query: Vec<String> = pairs
        .into_iter()
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            if pair.contains('=') {
                pair.to_owned()
            } else {
                format!("{pair}=")
            }
        })
        .collect();
    let canonical = format!(
        "{}\n{}\n{}\n{canonical_headers}\n{}\n{payload}",
        request.method(),
        request.uri().path(),
        query.join("&"),
        names.join(";")
    );
    let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
    let signature = signature(&canonical, date, &scope, secret);
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={}, Signature={signature}",
        names.join(";")
    );
    request
        .headers_mut()
        .insert("authorization", value.parse().unwrap());
}

fn signature(canonical: &str, date: &str, scope: &str, secret: &str) -> String {
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
    let mac = |key: &[u8], data: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(data.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in scope.split('/') {
        key = mac(&key, step);
    }
    hex::encode(mac(&key, &text))
}

fn sha(body: &str) -> String {
    hex::encode(Sha256::digest(body))
}

#[tokio::test]
async fn signatures_are_checked() {
    let s3 = Endpoint::new(AuthMode::Static);
    let signed = |body: &'static str, payload: String, date: &str, secret: &str| {
        let mut request = request(
            "PUT",
            "/bucket/signed?x-id=PutObject",
            &[("x-amz-meta-a", "1")],
            body,
        );
        sign(&mut request, &payload, date, secret);
        request
    };
    let good = signed("body", sha("body"), NOW, SECRET);
    let answer = s3.send(good).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let unsigned = signed("body", "UNSIGNED-PAYLOAD".into(), NOW, SECRET);
    assert_eq!(s3.send(unsigned).await.status, 200);
    // What does not hold is refused, and no answer holds the secret or the right signature.
    let answer = s3
        .send(signed("body", sha("body"), NOW, "another secret"))
        .await;
    answer.refused(403, "SignatureDoesNotMatch");
    let answer = s3.send(signed("body", sha("other"), NOW, SECRET)).await;
    answer.refused(400, "XAmzContentSHA256Mismatch");
    let mut changed = signed("body", sha("body"), NOW, SECRET);
    changed
        .headers_mut()
        .insert("x-amz-meta-a", HeaderValue::from_static("2"));
    s3.send(changed).await.refused(403, "SignatureDoesNotMatch");
    let mut added = signed("body", sha("body"), NOW, SECRET);
    added
        .headers_mut()
        .insert("x-amz-acl", HeaderValue::from_static("private"));
    s3.send(added).await.refused(403, "AccessDenied");
    let mut moved = signed("body", sha("body"), NOW, SECRET);
    *moved.uri_mut() = "/bucket/elsewhere?x-id=PutObject".parse().unwrap();
    s3.send(moved).await.refused(403, "SignatureDoesNotMatch");
    for date in ["20231114T222821Z", "20231114T215819Z", "20331114T221320Z"] {
        s3.send(signed("body", sha("body"), date, SECRET))
            .await
            .refused(403, "RequestTimeTooSkewed");
    }
    for date in ["20231114T222820Z", "20231114T215820Z"] {
        assert_eq!(
            s3.send(signed("body", sha("body"), date, SECRET))
                .await
                .status,
            200
        );
    }
    let mut stranger = signed("body", sha("body"), NOW, SECRET);
    let header = stranger.headers()["authorization"]
        .to_str()
        .unwrap()
        .replace(ACCESS, "AKIAOTHER");
    stranger
        .headers_mut()
        .insert("authorization", header.parse().unwrap());
    s3.send(stranger).await.refused(403, "InvalidAccessKeyId");
    s3.get("/bucket/signed").await.refused(403, "AccessDenied");
    let old = [
        ("authorization", "AWS AKIAEXAMPLE:abc"),
        ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ];
    s3.call("GET", "/bucket/signed", &old, "")
        .await
        .refused(400, "InvalidRequest");
    let query = "/bucket/signed?AWSAccessKeyId=AKIAEXAMPLE&Expires=1700000060&Signature=c2ln";
    s3.get(query).await.refused(403, "SignatureDoesNotMatch");
}

fn presigned(target: &str, date: &str, seconds: u32) -> String {
    let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ACCESS}%2F{}&X-Amz-Date={date}\
         &X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host",
        scope.replace('/', "%2F")
    );
    let canonical =
        format!("GET\n{target}\n{query}\nhost:127.0.0.1:7070\n\nhost\nUNSIGNED-PAYLOAD");
    format!(
        "{target}?{query}&X-Amz-Signature={}",
        signature(&canonical, date, &scope, SECRET)
    )
}

#[tokio::test]
async fn presigned_urls_are_checked_by_our_clock() {
    let s3 = Endpoint::new(AuthMode::Static);
    // The protocol layer also looks at the machine's clock, so only what it refuses as well can be
    // seen to be refused by ours; the accepted case needs the true time.
    let expired = s3
        .get(&presigned("/bucket/key", "20231114T221219Z", 60))
        .await;
    expired.refused(403, "AccessDenied");
    assert!(expired.text().contains("expired"), "{}", expired.text());
    s3.get(&presigned("/bucket/key", "20231114T223000Z", 60))
        .await
        .refused(403, "RequestTimeTooSkewed");
    let long = s3.get(&presigned("/bucket/key", NOW, 604_801)).await;
    long.refused(400, "AuthorizationQueryParametersError");
}

#[tokio::test]
async fn packed_bodies_with_trailing_checksums() {
    let s3 = Endpoint::new(AuthMode::Static);
    let packed = |sum: &str| format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n");
    let headers = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "9"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    for mode in [AuthMode::Static, AuthMode::Trust] {
        let other = Endpoint::new(mode);
        let mut good = request("PUT", "/bucket/packed", &headers, packed("y/Q5Jg=="));
        sign(&mut good, payload, NOW, SECRET);
        let answer = other.send(good).await;
        assert_eq!(answer.status, 200, "{mode:?} {}", answer.text());
        let mut bad = request("PUT", "/bucket/packed", &headers, packed("AAAAAA=="));
        sign(&mut bad, payload, NOW, SECRET);
        other.send(bad).await.refused(400, "BadDigest");
        let mut cut = request("PUT", "/bucket/packed", &headers, "9\r\n1234");
        sign(&mut cut, payload, NOW, SECRET);
        other.send(cut).await.refused(400, "IncompleteBody");
        let mut get = request(
            "GET",
            "/bucket/packed",
            &[("x-amz-checksum-mode", "ENABLED")],
            "",
        );
        sign(&mut get, &sha(""), NOW, SECRET);
        let got = other.send(get).await;
        assert_eq!(
            (got.text().as_str(), got.header("content-encoding")),
            ("123456789", "")
        );
        assert_eq!(got.header("x-amz-checksum-crc32"), "y/Q5Jg==");
    }
    s3.get("/bucket/packed").await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn trusting_and_open_modes() {
    let trust = Endpoint::new(AuthMode::Trust);
    trust
        .get("/bucket?list-type=2")
        .await
        .refused(403, "AccessDenied");
    let mut anyone = request("PUT", "/bucket/key", &[], "body");
    sign(&mut anyone, &sha("body"), "20010101T000000Z", "whatever");
    assert_eq!(trust.send(anyone).await.status, 200);
    let url = presigned("/bucket/key", "20010101T000000Z", 1);
    assert_eq!(trust.get(&url).await.text(), "body");
    let open = Endpoint::new(AuthMode::Off);
    assert_eq!(open.get("/bucket?list-type=2").await.status, 200);
}
