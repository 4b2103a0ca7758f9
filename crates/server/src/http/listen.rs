//! The listener: connections, their limits and their end.
//!
//! A client that is slow with its request's head, or connects and stays silent, is cut off at a
//! deadline; hyper only does that when it has a timer, so it gets one. Stopping answers what is in
//! flight, then closes.

use super::Planes;
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
/// Pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenLimits {
    pub(crate) connections_max: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
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
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
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
        let service = service_fn(move |request: Request<Incoming>| {
            let planes = planes.clone();
            async move { Ok::<_, Infallible>(planes.answer(request.map(Body::new)).await) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
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
