//! Clients that mean harm, over real sockets: they cost a socket until their deadline, and the
//! others are answered meanwhile.
//!
//! `KINDRED_HOSTILE_PERCENT` scales the numbers of clients; 100 are those of the promise.

use super::*;
use tokio::time::Instant;

/// Deadlines of the listener under test.
const DEADLINE_MS: u64 = 2_000;
/// Many deadlines: nobody waits for it when all is well.
const END: Duration = Duration::from_secs(120);

fn scaled(count: usize) -> usize {
    let percent = std::env::var("KINDRED_HOSTILE_PERCENT")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100usize);
    (count * percent / 100).max(10)
}

async fn short_deadlines() -> Listening {
    crate::server::allow_open_files(8_000);
    listening_with(|http| {
        http.first_byte_timeout_ms = DEADLINE_MS;
        http.header_timeout_ms = DEADLINE_MS;
        http.idle_timeout_ms = DEADLINE_MS;
        http.pause_ms = DEADLINE_MS;
        http.bytes_per_second_min = 1000;
        http.body_timeout_ms = 60_000;
    })
    .await
}

/// Sends a byte now and then until the server closes.
async fn dribble(mut stream: TcpStream, start: &'static str) -> bool {
    let begun = Instant::now();
    if stream.write_all(start.as_bytes()).await.is_err() {
        return true;
    }
    let mut answer = Vec::new();
    while begun.elapsed() < END {
        let mut bytes = [0; 1024];
        match tokio::time::timeout(Duration::from_millis(300), stream.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(count)) => answer.extend_from_slice(&bytes[..count]),
            Err(_) => {
                if stream.write_all(b"x").await.is_err() {
                    return true;
                }
            }
        }
    }
    false
}

/// Asks for much and reads nothing; the only way to see the end without reading is to write.
async fn never_read(stream: TcpStream) -> bool {
    let begun = Instant::now();
    let request = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
    while begun.elapsed() < END {
        match stream.try_write(request) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return true,
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_cost_a_socket_until_the_deadline() {
    let server = short_deadlines().await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..scaled(1000) {
        let mut stream = server.connect().await;
        slow.spawn(async move {
            let mut rest = Vec::new();
            let read = tokio::time::timeout(END, stream.read_to_end(&mut rest)).await;
            ("silent", read.is_ok() && rest.is_empty())
        });
    }
    let starts = [
        "GET /_/health HTTP/1.1\r\nX-Long: ",
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonPersonalize.ListSchemas\r\n\
         Content-Length: 100000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonPersonalize.ListSchemas\r\n\
         Content-Length: 1000\r\n\r\n",
        // A whole request first: kept connections are held to the same.
        "GET /_/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /_/hea",
    ];
    for number in 0..scaled(1000) {
        let stream = server.connect().await;
        let start = starts[number % starts.len()];
        slow.spawn(async move { (start, dribble(stream, start).await) });
    }
    for _ in 0..scaled(200) {
        let stream = server.connect().await;
        slow.spawn(async move { ("never reading", never_read(stream).await) });
    }
    // A healthy client, on a kept connection and on new ones, for as long as there are others.
    let mut kept = server.connect().await;
    let mut answered = 0;
    while !slow.is_empty() || answered < 20 {
        send(&mut kept, HEALTH).await;
        assert_eq!(receive(&mut kept).await.0, "http/1.1 200 ok");
        let mut new = server.connect().await;
        send(&mut new, HEALTH).await;
        assert_eq!(receive(&mut new).await.0, "http/1.1 200 ok");
        answered += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        while let Some(ended) = slow.try_join_next() {
            let (who, closed) = ended.unwrap();
            assert!(closed, "still open: {who}");
        }
    }
}

#[tokio::test]
async fn an_upload_at_a_slow_but_steady_pace_arrives() {
    let server = listening_with(|http| {
        http.pause_ms = 1_000;
        http.bytes_per_second_min = 10;
    })
    .await;
    let mut stream = server.connect().await;
    let head = "PUT /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n";
    send(&mut stream, head).await;
    // Three times as long as any pause may be.
    for _ in 0..30 {
        send(&mut stream, "0123456789").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (status, body) = receive(&mut stream).await;
    assert_eq!((status.as_str(), body.as_str()), ("http/1.1 200 ok", "300"));
}

/// The most memory that this process ever held, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Sends up to `bytes` of a body; gives what the server says, if it says something.
async fn flood(mut stream: TcpStream, head: &str, chunked: bool, bytes: u64) -> String {
    send(&mut stream, head).await;
    let (mut from, mut to) = stream.split();
    let answer = async {
        let mut answer = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            answer.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let sending = async {
        static PIECE: [u8; 1 << 16] = [b' '; 1 << 16];
        for _ in 0..bytes / PIECE.len() as u64 {
            let framed = !chunked || to.write_all(b"10000\r\n").await.is_ok();
            if !framed || to.write_all(&PIECE).await.is_err() {
                return;
            }
            if chunked && to.write_all(b"\r\n").await.is_err() {
                return;
            }
        }
    };
    let (answer, ()) = tokio::join!(answer, sending);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gigantic_bodies_are_refused_at_the_limit() {
    const GIB: u64 = 1 << 30;
    const GROWTH_BYTES_MAX: u64 = 32 << 20;
    let server = short_deadlines().await;
    // What the first requests need for themselves is not growth.
    let mut stream = server.connect().await;
    send(&mut stream, HEALTH).await;
    receive(&mut stream).await;
    let before = peak_bytes();
    let target = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonPersonalize.ListSchemas\r\n\
                  Content-Type: application/x-amz-json-1.1\r\n";
    let heads = [
        (format!("{target}Content-Length: {GIB}\r\n\r\n"), false),
        (format!("{target}Transfer-Encoding: chunked\r\n\r\n"), true),
        // States less than it sends: the rest is no request.
        (format!("{target}Content-Length: 10\r\n\r\n"), false),
        (
            format!("{target}Content-Length: 18446744073709551616\r\n\r\n"),
            false,
        ),
    ];
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let stream = server.connect().await;
        let (head, chunked) = heads[number % heads.len()].clone();
        all.spawn(async move { flood(stream, &head, chunked, GIB).await });
    }
    while let Some(answer) = tokio::time::timeout(END, all.join_next()).await.unwrap() {
        // A client that goes on sending may see the connection's end before the answer.
        let answer = answer.unwrap();
        let status = answer.split(' ').nth(1).unwrap_or("400");
        assert_eq!(status, "400", "{answer}");
    }
    let grown = peak_bytes() - before;
    assert!(grown <= GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
}

#[tokio::test]
async fn a_stated_length_above_the_limit_is_refused_before_a_byte_of_it() {
    let server = short_deadlines().await;
    let mut stream = server.connect().await;
    let length = BODY_BYTES_MAX + 1;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonPersonalize.ListSchemas\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    send(&mut stream, &head).await;
    let (status, body) = receive(&mut stream).await;
    assert_eq!(status, "http/1.1 400 bad request");
    assert!(
        body.contains("Request body is larger than 1048576 bytes."),
        "{body}"
    );
    assert!(closed(&mut stream).await);
}

#[tokio::test]
async fn a_slow_body_is_told_so() {
    let server = short_deadlines().await;
    let mut stream = server.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonPersonalize.ListSchemas\r\n\
                Content-Length: 100\r\n\r\n{";
    send(&mut stream, head).await;
    let (status, body) = receive(&mut stream).await;
    assert_eq!(status, "http/1.1 400 bad request");
    assert!(
        body.contains("Request body did not arrive in time."),
        "{body}"
    );
    assert!(closed(&mut stream).await);
}
