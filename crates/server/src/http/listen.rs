//! The listener: connections, their limits and their end.
//!
//! A client that stays silent, dribbles or does not take its answer costs a socket until its
//! deadline and nothing else: the connection's own are in [`super::guard`], those of bodies in
//! [`super::bodies`], and behind both stands hyper's deadline for heads, which only works with a
//! timer. Stopping answers what is in flight, then closes.

use super::Planes;
use super::bodies::{Answer, paced};
use super::guard::{GuardLimits, Guarded, Turns};
use super::pace::PaceLimits;
use crate::config::Http;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Largest piece of an answer that hyper holds for the socket.
const ANSWER_PIECE_BYTES: u64 = 2 << 20;
/// Pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenLimits {
    pub(crate) connections_max: usize,
    /// Deadlines of a connection.
    pub(crate) guard: GuardLimits,
    /// How slowly bodies may come.
    pub(crate) upload: PaceLimits,
    pub(crate) shutdown_timeout: Duration,
}

impl ListenLimits {
    /// What the configuration says.
    pub(crate) fn of(http: &Http) -> Self {
        let pace = PaceLimits {
            pause: Duration::from_millis(http.pause_ms),
            bytes_per_second: http.bytes_per_second_min,
        };
        ListenLimits {
            connections_max: http.connections_max,
            guard: GuardLimits {
                first_byte: Duration::from_millis(http.first_byte_timeout_ms),
                head: Duration::from_millis(http.header_timeout_ms),
                idle: Duration::from_millis(http.idle_timeout_ms),
                answer: pace,
            },
            upload: pace,
            shutdown_timeout: Duration::from_millis(http.shutdown_timeout_ms),
        }
    }
}

/// Serves until `stop` turns true.
pub(crate) async fn serve(
    listener: TcpListener,
    planes: Planes,
    limits: ListenLimits,
    mut stop: watch::Receiver<bool>,
) {
    let planes = Arc::new(planes);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let http = builder(&limits.guard);
    assert_timer(&http);
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and wait for nobody: send them at once.
        let _ = stream.set_nodelay(true);
        let planes = planes.clone();
        let turns = Turns::default();
        let stream = Guarded::new(stream, limits.guard, turns.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (planes, _turn) = (planes.clone(), turns.begin());
            let request = request.map(|body| paced(Body::new(body), limits.upload));
            async move {
                let answer = planes.answer(request).await;
                Ok::<_, Infallible>(answer.map(|body| Answer { body, _turn }))
            }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        let open = metrics::gauge!("kindred_connections");
        open.increment(1.0);
        metrics::counter!("kindred_connections_total").increment(1);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            open.decrement(1.0);
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some connections were still open at the end");
    }
}

fn builder(guard: &GuardLimits) -> http1::Builder {
    // hyper's deadline runs from the moment it wants a head, while the end of the answer before it
    // may still be on its way.
    let answer = ANSWER_PIECE_BYTES / guard.answer.bytes_per_second.max(1);
    let within = guard.first_byte.max(guard.idle) + guard.head + Duration::from_secs(answer);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_buf_size(HEAD_BYTES_MAX);
    http
}

/// hyper looks for its timer when a connection begins and panics without one. That has to be at the
/// start of the server and not with its first client.
fn assert_timer(http: &http1::Builder) {
    let nobody = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(http::Response::new(Body::empty()))
    });
    drop(http.serve_connection(TokioIo::new(tokio::io::empty()), nobody));
}
