//! Requests to all planes as they come from the wire, and the listener over a loopback connection.
//!
//! The control plane is the real one over a catalog of its own; forms and S3 say what reached them.

mod hostile;

use super::listen::{ListenLimits, serve};
use super::*;
use crate::audit::Audit;
use crate::config::Settings;
use crate::keys::{AuthMode, KeyTable};
use crate::ops::Context;
use crate::sigv4::Verifier;
use kindred_catalog::Catalog;
use kindred_types::arn::Account;
use kindred_types::parts::Clock;
use kindred_types::time::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

#[derive(Debug, Default)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_769_903_998_000)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let drawn = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = drawn[index % 8];
        }
    }
}

/// Every key is the operator's.
#[derive(Debug)]
struct Operators;

impl crate::identity::Callers for Operators {
    fn caller(&self, access_key: &str) -> Result<crate::identity::Caller, Exception> {
        Ok(crate::identity::Caller::operator(
            access_key,
            "aws",
            "000000000000",
        ))
    }
}

#[derive(Debug)]
struct NoKeys;

impl KeyTable for NoKeys {
    fn secret_for(&self, _access_key: &str) -> Option<String> {
        None
    }
}

/// Repeats the body that reached it.
struct EchoForms;

impl FormPlane for EchoForms {
    fn handle<'a>(&'a self, _parts: &'a Parts, body: Bytes, request_id: &'a str) -> Answering<'a> {
        Box::pin(async move {
            let body = format!("form {} {request_id}", String::from_utf8_lossy(&body));
            respond(StatusCode::OK, "text/xml", body)
        })
    }
}

/// Says what it was asked; `/slow` waits until it is let go, `/large` is 64 MiB long, and `/count`
/// counts what it is sent.
#[derive(Default)]
struct EchoS3 {
    slow_begun: Arc<Notify>,
    slow_may_end: Arc<Notify>,
}

impl RequestPlane for EchoS3 {
    fn handle(&self, request: Request<Body>) -> Answering<'_> {
        Box::pin(async move {
            if request.uri().path() == "/slow" {
                self.slow_begun.notify_one();
                self.slow_may_end.notified().await;
            }
            if request.uri().path() == "/large" {
                let piece = Bytes::from_static(&[b'x'; 1 << 16]);
                let pieces = std::iter::repeat_n(Ok::<_, std::convert::Infallible>(piece), 1024);
                return Response::new(Body::from_stream(futures::stream::iter(pieces)));
            }
            if request.uri().path() == "/count" {
                let read = request.into_body().collect().await;
                let told = read.map_or_else(
                    |error| error.to_string(),
                    |read| read.to_bytes().len().to_string(),
                );
                return respond(StatusCode::OK, "text/plain", told);
            }
            let body = format!("s3 {} {}", request.method(), request.uri().path());
            respond(StatusCode::OK, "text/plain", body)
        })
    }
}

struct World {
    planes: Planes,
    clock: Arc<ManualClock>,
    s3: Arc<EchoS3>,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The answer must be this exception in all the places where clients look; gives the message.
    #[track_caller]
    fn exception(&self, status: u16, name: &str) -> String {
        assert_eq!(
            (self.status, self.header("x-amzn-errortype")),
            (status, name),
            "{}",
            self.body
        );
        assert_eq!(self.header("content-type"), "application/x-amz-json-1.1");
        let body = self.json();
        assert_eq!(body["__type"], name);
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        body["message"].as_str().expect("a message").to_owned()
    }
}

impl World {
    fn new() -> World {
        World::with(AuthMode::Trust, 1e6, 1e6)
    }

    fn with(mode: AuthMode, per_second: f64, burst: f64) -> World {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let random: Arc<dyn Random> = Arc::new(Counting::default());
        let catalog = Catalog::open(&dir.path().join("kindred.db"), clock.clone()).unwrap();
        let control = ControlPlane {
            verifier: Verifier {
                keys: Arc::new(NoKeys),
                mode,
                clock: clock.clone(),
            },
            callers: Arc::new(Operators),
            audit: Arc::new(Audit::open(&dir.path().join("audit"), clock.clone(), true).unwrap()),
            limiter: RateLimiter::new(per_second, burst, clock.clone()),
            context: Context {
                catalog: Arc::new(catalog),
                customer_keys: Arc::new(kindred_store::keys::NoKeys),
                clock: clock.clone(),
                random: random.clone(),
                settings: Arc::new(Settings::default()),
                account: Account::default(),
                wake: Arc::new(|| ()),
                access_key: String::new(),
                request_id: String::new(),
            },
        };
        let s3 = Arc::new(EchoS3::default());
        let kms = KeyPlane {
            verifier: control.verifier.clone(),
            callers: control.callers.clone(),
            audit: control.audit.clone(),
            limiter: Arc::new(RateLimiter::new(per_second, burst, clock.clone())),
            ring: None,
            account: kindred_types::arn::Account::default(),
            random: random.clone(),
        };
        let operator = OperatorPlane {
            verifier: control.verifier.clone(),
            callers: control.callers.clone(),
            on_loopback: true,
            catalog: control.context.catalog.clone(),
            handle: crate::telemetry::start(),
        };
        let planes = Planes {
            operator: Arc::new(operator),
            control: Arc::new(control),
            kms: Arc::new(kms),
            forms: Arc::new(EchoForms),
            s3: s3.clone(),
            random,
            room: BodyRoom::new(LARGE_BODIES_MAX),
            body_timeout: PATIENCE,
        };
        World {
            planes,
            clock,
            s3,
            _dir: dir,
        }
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.planes.answer(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn ask(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(body.into()).unwrap()).await
    }

    /// A call of the control plane by the key `AK`.
    async fn call(&self, operation: &str, body: impl Into<Body>) -> Answer {
        self.call_with(operation, &[], body).await
    }

    async fn call_with(
        &self,
        operation: &str,
        more: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let target = format!("AmazonPersonalize.{operation}");
        let authorization = signed_by("AK", "personalize");
        let mut headers = vec![
            ("x-amz-target", target.as_str()),
            ("x-amz-date", "20260131T235958Z"),
        ];
        for (name, value) in [
            ("content-type", "application/x-amz-json-1.1"),
            ("authorization", &authorization),
        ] {
            if !more.iter().any(|(given, _)| *given == name) {
                headers.push((name, value));
            }
        }
        headers.extend_from_slice(more);
        self.ask("POST", "/", &headers, body).await
    }
}

/// An `Authorization` header that nobody checks.
fn signed_by(key: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260131/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

fn schema(name: &str) -> String {
    let text = json!({"type": "record", "name": "Users", "fields": [
        {"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": ["null", "int"]}]});
    json!({"name": name, "schema": text.to_string()}).to_string()
}

#[tokio::test]
async fn health_needs_no_key() {
    let world = World::with(AuthMode::Static, 1.0, 1.0);
    for _ in 0..3 {
        let answer = world.ask("GET", "/_/health", &[], "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json")
        );
        let body = json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")});
        assert_eq!(answer.json(), body);
    }
}

#[tokio::test]
async fn every_answer_has_its_own_request_id() {
    let world = World::new();
    let (personalize, sts) = (signed_by("AK", "personalize"), signed_by("AK", "sts"));
    let answers = [
        world.ask("GET", "/_/health", &[], "").await,
        world.ask("GET", "/_/nothing", &[], "").await,
        world.call("ListSchemas", "{}").await,
        world.call("ListSchemas", "[]").await,
        world.call("Nonsense", "{}").await,
        world
            .ask("POST", "/events", &[("authorization", &personalize)], "{}")
            .await,
        world
            .ask(
                "POST",
                "/nonsense",
                &[("authorization", &personalize)],
                "{}",
            )
            .await,
        world
            .ask("POST", "/", &[("authorization", &sts)], "Action=x")
            .await,
        world.ask("GET", "/bucket", &[], "").await,
    ];
    let mut ids = HashSet::new();
    for answer in &answers {
        let id = answer.header("x-amzn-requestid");
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id} {}", answer.body);
        assert!(ids.insert(id.to_owned()), "{id} twice");
    }
}

#[tokio::test]
async fn planes_get_what_is_theirs() {
    let world = World::new();
    let sts = signed_by("AK", "sts");
    let answer = world
        .ask(
            "POST",
            "/",
            &[("authorization", &sts)],
            "Action=GetCallerIdentity",
        )
        .await;
    let id = answer.header("x-amzn-requestid");
    assert_eq!(answer.body, format!("form Action=GetCallerIdentity {id}"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert!(
        world
            .ask("POST", "/", &form, "Action=x")
            .await
            .body
            .starts_with("form Action=x ")
    );
    for (method, path) in [
        ("GET", "/"),
        ("PUT", "/events"),
        ("POST", "/users/key"),
        ("DELETE", "/b/k"),
    ] {
        let answer = world
            .ask(
                method,
                path,
                &[("authorization", &signed_by("AK", "s3"))],
                "",
            )
            .await;
        assert_eq!(answer.body, format!("s3 {method} {path}"));
    }
}

#[tokio::test]
async fn the_control_plane_answers_and_remembers() {
    let world = World::new();
    let created = world.call("CreateSchema", schema("one")).await;
    assert_eq!(
        (created.status, created.header("content-type")),
        (200, "application/x-amz-json-1.1")
    );
    let arn = "arn:aws:personalize:us-east-1:000000000000:schema/one";
    assert_eq!(created.json(), json!({"schemaArn": arn}));
    assert_eq!(created.header("x-amzn-errortype"), "");
    let listed = world.call("ListSchemas", "{}").await.json();
    assert_eq!(listed["schemas"][0]["schemaArn"], arn);

    let again = world.call("CreateSchema", schema("one")).await;
    let message = again.exception(400, "ResourceAlreadyExistsException");
    assert!(message.starts_with(&format!("Another resource with Arn {arn} already exists.")));
    // An operation without output has an empty body.
    let deleted = world
        .call("DeleteSchema", json!({"schemaArn": arn}).to_string())
        .await;
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
}

#[tokio::test]
async fn content_types_may_have_parameters_and_nothing_else_is_taken() {
    let world = World::new();
    for accepted in [
        "application/x-amz-json-1.1",
        "application/x-amz-json-1.1; charset=utf-8",
        "application/x-amz-json-1.1;charset=UTF-8;x=y",
        "Application/X-Amz-JSON-1.1 ; charset=utf-8",
    ] {
        let answer = world
            .call_with("ListSchemas", &[("content-type", accepted)], "{}")
            .await;
        assert_eq!(answer.status, 200, "{accepted}: {}", answer.body);
    }
    for refused in [
        "application/json",
        "application/x-amz-json-1.0",
        "application/x-amz-json-1.10",
        "text/plain",
        "",
    ] {
        let answer = world
            .call_with("ListSchemas", &[("content-type", refused)], "{}")
            .await;
        let message = answer.exception(400, "SerializationException");
        assert_eq!(
            message, "Content-Type must be application/x-amz-json-1.1.",
            "{refused}"
        );
    }
}

#[tokio::test]
async fn bodies_are_objects_and_none_is_the_empty_one() {
    let world = World::new();
    for body in ["", "{}", " {} \n"] {
        assert_eq!(
            world.call("ListSchemas", body).await.json(),
            json!({"schemas": []}),
            "{body:?}"
        );
    }
    for body in [
        "[]",
        "null",
        "5",
        "\"x\"",
        "{",
        "{}{}",
        "{\"maxResults\": \"5\"}",
        "\u{feff}{}",
    ] {
        world
            .call("ListSchemas", body)
            .await
            .exception(400, "SerializationException");
    }
    world
        .call("ListSchemas", vec![b'{', 0xff, b'}'])
        .await
        .exception(400, "SerializationException");
    let message = world
        .call("ListSchemas", "{\"maxResults\": 0}")
        .await
        .exception(400, "InvalidInputException");
    assert!(
        message.starts_with("1 validation error detected: "),
        "{message}"
    );
}

#[tokio::test]
async fn large_and_compressed_bodies_are_refused() {
    let world = World::new();
    let largest = format!("{{}}{}", " ".repeat(BODY_BYTES_MAX - 2));
    assert_eq!(world.call("ListSchemas", largest.clone()).await.status, 200);
    let too_large = "Request body is larger than 1048576 bytes.";
    let over = format!("{largest} ");
    let answer = world.call("ListSchemas", over).await;
    assert_eq!(answer.exception(400, "SerializationException"), too_large);
    // Without a length, cut off while it comes: an endless body does not fill the memory.
    let read = Arc::new(AtomicU64::new(0));
    let count = read.clone();
    let endless = futures::stream::repeat_with(move || {
        count.fetch_add(1 << 16, Ordering::SeqCst);
        Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 1 << 16]))
    });
    let answer = world.call("ListSchemas", Body::from_stream(endless)).await;
    assert_eq!(answer.exception(400, "SerializationException"), too_large);
    assert!(read.load(Ordering::SeqCst) <= 2 << 20, "{read:?}");
    let sts = [("authorization", signed_by("AK", "sts"))];
    let sts: Vec<(&str, &str)> = sts
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        world
            .ask("POST", "/", &sts, vec![b'x'; 2 << 20])
            .await
            .status,
        400
    );

    for encoding in ["gzip", "br", "gzip, identity", ""] {
        let answer = world
            .call_with("ListSchemas", &[("content-encoding", encoding)], "{}")
            .await;
        let message = answer.exception(400, "SerializationException");
        assert_eq!(message, "Compressed request bodies are not supported.");
    }
    let answer = world
        .call_with("ListSchemas", &[("content-encoding", "identity")], "{}")
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn unknown_operations_are_named_so() {
    let world = World::with(AuthMode::Static, 1.0, 1.0);
    for target in [
        "AmazonPersonalize.Nonsense",
        "AmazonPersonalize.listSchemas",
        "AmazonPersonalize.",
        "AmazonPersonalize",
        "amazonpersonalize.ListSchemas",
        "DynamoDB_20120810.ListTables",
        "ListSchemas",
        "",
    ] {
        let headers = [
            ("x-amz-target", target),
            ("content-type", "application/x-amz-json-1.1"),
        ];
        let answer = world.ask("POST", "/", &headers, "{}").await;
        answer.exception(400, "UnknownOperationException");
    }
    let headers = [
        ("x-amz-target", "AmazonPersonalize.ListSchemas"),
        ("content-type", "application/x-amz-json-1.1"),
    ];
    for (method, uri) in [
        ("GET", "/"),
        ("PUT", "/"),
        ("OPTIONS", "/"),
        ("POST", "/x"),
        ("POST", "//"),
    ] {
        let answer = world.ask(method, uri, &headers, "").await;
        answer.exception(400, "UnknownOperationException");
    }
    // A known one needs a signature first, whatever its body.
    let answer = world.ask("POST", "/", &headers, "not json").await;
    answer.exception(400, "MissingAuthenticationTokenException");
    let personalize = signed_by("AK", "personalize");
    let signed = [
        &headers[..],
        &[
            ("authorization", personalize.as_str()),
            ("x-amz-date", "20260131T235958Z"),
        ],
    ]
    .concat();
    let answer = world.ask("POST", "/", &signed, "not json").await;
    answer.exception(400, "UnrecognizedClientException");
}

#[tokio::test]
async fn operations_that_are_not_here_say_so() {
    let world = World::new();
    let answer = world.call("CreateCampaign", "{}").await;
    let message = answer.exception(400, "InvalidInputException");
    assert_eq!(
        message,
        "Operation CreateCampaign is not supported by this server."
    );
    assert_eq!(
        world.call("ListCampaigns", "{}").await.json(),
        json!({"campaigns": []})
    );
}

#[tokio::test]
async fn the_events_plane_and_unknown_paths() {
    let world = World::new();
    let personalize = [("authorization", signed_by("AK", "personalize"))];
    let personalize: Vec<(&str, &str)> = personalize
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    for path in [
        "/events",
        "/users",
        "/items",
        "/actions",
        "/recommendations",
    ] {
        let answer = world.ask("POST", path, &personalize, "{}").await;
        let message = answer.exception(400, "InvalidInputException");
        assert_eq!(
            message,
            format!("Operation {path} is not supported by this server.")
        );
    }
    for path in ["/nonsense", "/events/", "/EVENTS"] {
        let answer = world.ask("POST", path, &personalize, "{}").await;
        answer.exception(404, "UnknownOperationException");
    }
    for path in ["/_/nothing", "/_/", "/_/health/x"] {
        let answer = world.ask("GET", path, &[], "").await;
        answer.exception(404, "UnknownOperationException");
    }
}

#[tokio::test]
async fn the_rate_limit_has_the_name_that_the_operation_declares() {
    let world = World::with(AuthMode::Trust, 2.0, 3.0);
    for number in 0..3 {
        assert_eq!(
            world
                .call("CreateSchema", schema(&format!("s{number}")))
                .await
                .status,
            200
        );
    }
    let text = "The limit on the number of requests per second has been exceeded.";
    let refused = world.call("CreateSchema", schema("late")).await;
    assert_eq!(refused.exception(400, "LimitExceededException"), text);
    let refused = world.call("ListSchemas", "{}").await;
    assert_eq!(refused.exception(400, "ThrottlingException"), text);
    // Another key has a bucket of its own, and time fills this one again.
    let other = signed_by("OTHER", "personalize");
    let answer = world
        .call_with("ListSchemas", &[("authorization", &other)], "{}")
        .await;
    assert_eq!(answer.status, 200);
    world.clock.0.store(500, Ordering::SeqCst);
    let listed = world.call("ListSchemas", "{}").await.json();
    assert_eq!(listed["schemas"].as_array().unwrap().len(), 3);
    world
        .call("ListSchemas", "{}")
        .await
        .exception(400, "ThrottlingException");
}

/// A listener on loopback.
struct Listening {
    world: World,
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

/// What loopback needs at most; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);
const HEALTH: &str = "GET /_/health HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn listening(connections_max: usize, header_timeout_ms: u64) -> Listening {
    listening_with(|http| {
        http.connections_max = connections_max;
        http.first_byte_timeout_ms = header_timeout_ms;
        http.header_timeout_ms = header_timeout_ms;
    })
    .await
}

async fn listening_with(change: impl FnOnce(&mut crate::config::Http)) -> Listening {
    let mut http = crate::config::Http {
        shutdown_timeout_ms: 20_000,
        ..Default::default()
    };
    change(&mut http);
    let mut world = World::new();
    world.planes.body_timeout = Duration::from_millis(http.body_timeout_ms);
    let limits = ListenLimits::of(&http);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, world.planes.clone(), limits, stopped));
    Listening {
        world,
        address,
        stop,
        serving,
    }
}

impl Listening {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// One whole response: its status line and its body.
async fn receive(stream: &mut TcpStream) -> (String, String) {
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a response"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let status = head.lines().next().unwrap().to_owned();
        (status, String::from_utf8(body).unwrap())
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("a response in time")
}

/// Whether the other side closed without another byte.
async fn closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset is a way to close, too.
    read.is_ok() && rest.is_empty()
}

#[tokio::test]
async fn connections_are_kept_and_pipelined_requests_answered_in_order() {
    let server = listening(10, 20_000).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        send(&mut stream, HEALTH).await;
        let (status, body) = receive(&mut stream).await;
        assert_eq!(status, "http/1.1 200 ok");
        assert!(body.starts_with("{\"status\":\"ok\""), "{body}");
    }
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let many: String = (0..20)
        .map(|number| get(&format!("/bucket/{number}")))
        .collect();
    send(&mut stream, &many).await;
    for number in 0..20 {
        let (_, body) = receive(&mut stream).await;
        assert_eq!(body, format!("s3 GET /bucket/{number}"));
    }
    send(
        &mut stream,
        "GET /_/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    receive(&mut stream).await;
    assert!(closed(&mut stream).await);
}

#[tokio::test]
async fn a_slow_head_is_cut_off_and_makes_room() {
    // One connection at a time: the second client is served only because the first is cut off.
    let server = listening(1, 300).await;
    for start in ["", "GET /_/health HTTP/1.1\r\nHost: loc"] {
        let mut slow = server.connect().await;
        send(&mut slow, start).await;
        let mut next = server.connect().await;
        send(&mut next, HEALTH).await;
        let (status, _) = receive(&mut next).await;
        assert_eq!(status, "http/1.1 200 ok", "behind {start:?}");
        assert!(closed(&mut slow).await, "{start:?}");
    }
}

#[tokio::test]
async fn heads_have_a_largest_size() {
    let server = listening(10, 600_000).await;
    let mut stream = server.connect().await;
    send(
        &mut stream,
        "GET /_/health HTTP/1.1\r\nHost: localhost\r\nX-Much: ",
    )
    .await;
    // The server may answer and close before everything is sent.
    let _ = stream.write_all(&vec![b'x'; 1 << 20]).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("an end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
}

#[tokio::test]
async fn stopping_answers_what_is_in_flight_and_takes_nothing_new() {
    let server = listening(10, 20_000).await;
    let mut idle = server.connect().await;
    send(&mut idle, HEALTH).await;
    receive(&mut idle).await;
    let mut busy = server.connect().await;
    send(&mut busy, "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.world.s3.slow_begun.notified().await;

    server.stop.send(true).unwrap();
    assert!(closed(&mut idle).await);
    assert!(!server.serving.is_finished());
    assert!(TcpStream::connect(server.address).await.is_err());
    server.world.s3.slow_may_end.notify_one();
    let (status, body) = receive(&mut busy).await;
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("http/1.1 200 ok", "s3 GET /slow")
    );
    assert!(closed(&mut busy).await);
    tokio::time::timeout(PATIENCE, server.serving)
        .await
        .expect("the end")
        .unwrap();
}

#[tokio::test]
async fn metrics_tell_what_happened_and_need_a_key_beyond_loopback() {
    let mut world = World::new();
    world.call("ListSchemas", "{}").await;
    let answer = world.ask("GET", "/_/metrics", &[], "").await;
    assert_eq!(answer.status, 200);
    for line in [
        "kindred_requests_total{plane=\"personalize\",operation=\"ListSchemas\",status=\"200\"} ",
        "kindred_request_seconds_bucket{plane=\"personalize\",le=\"0.001\"} ",
        "kindred_jobs{kind=\"segment\",state=\"ACTIVE\"} 0",
        "kindred_queue_length 0",
        "process_resident_memory_bytes ",
    ] {
        assert!(answer.body.contains(line), "{line} in {}", answer.body);
    }
    let control = world.planes.control.clone();
    world.planes.operator = Arc::new(OperatorPlane {
        verifier: control.verifier.clone(),
        callers: control.callers.clone(),
        on_loopback: false,
        catalog: control.context.catalog.clone(),
        handle: crate::telemetry::start(),
    });
    for path in ["/_/metrics", "/_/nothing"] {
        let answer = world.ask("GET", path, &[], "").await;
        answer.exception(403, "MissingAuthenticationTokenException");
    }
    let signed = [
        ("authorization", signed_by("AK", "personalize")),
        ("x-amz-date", "20260131T235958Z".to_owned()),
    ];
    let signed: Vec<(&str, &str)> = signed.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(
        world.ask("GET", "/_/metrics", &signed, "").await.status,
        200
    );
    assert_eq!(world.ask("GET", "/_/health", &[], "").await.status, 200);
}
