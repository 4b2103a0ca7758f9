//! Request bodies under limits: their pace, and how many large ones are in memory at once.
//!
//! Every body is paced while it is read, whoever reads it. Bodies that are read whole are refused
//! by their stated length before a byte of them is read, and those that may be large wait for room,
//! so that memory does not grow with the number of clients that send them.

use super::guard::Turn;
use super::pace::{Pace, PaceLimits};
use crate::telemetry;
use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Stated lengths up to this need no room: as many as there are connections may be in memory.
const SMALL_BYTES_MAX: u64 = 32 << 10;

/// The client sent its body too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(crate) struct TooSlow;

impl TooSlow {
    /// Whether this error, or one that it comes from, is about a slow body.
    pub(crate) fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<TooSlow>() {
                return true;
            }
            next = error.source();
        }
        false
    }
}

/// A request's body, held to a pace.
struct Paced {
    body: Body,
    pace: Pace,
}

/// Holds a body to a pace.
pub(super) fn paced(body: Body, limits: PaceLimits) -> Body {
    let pace = Pace::new(limits);
    Body::new(Paced { body, pace })
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Pending => {
                if self.pace.poll_spent(context).is_ready() {
                    telemetry::timed_out("body");
                    return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.pace.moved(frame.data_ref().map_or(0, Bytes::len));
            }
            Poll::Ready(_) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, with the turn that ends when it is sent.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) _turn: Turn,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Room for large bodies that are read whole.
#[derive(Clone, Debug)]
pub(crate) struct BodyRoom(Arc<Semaphore>);

impl BodyRoom {
    /// Room for `large_bodies` at the same time.
    pub(crate) fn new(large_bodies: usize) -> Self {
        BodyRoom(Arc::new(Semaphore::new(large_bodies)))
    }

    /// Waits for room for a body with these headers. What is returned is kept while the body is in
    /// memory; `None` where it needs no room.
    pub(crate) async fn enter(&self, headers: &HeaderMap) -> Option<OwnedSemaphorePermit> {
        if stated_length(headers).is_some_and(|bytes| bytes <= SMALL_BYTES_MAX) {
            return None;
        }
        // Fails only when the semaphore is closed, which nobody does.
        self.0.clone().acquire_owned().await.ok()
    }
}

/// The length that a request states, if it states one. Without it and without chunks there is no
/// body, and that is a length of zero.
pub(crate) fn stated_length(headers: &HeaderMap) -> Option<u64> {
    match headers.get(CONTENT_LENGTH) {
        Some(value) => value.to_str().ok()?.parse().ok(),
        None if headers.contains_key(http::header::TRANSFER_ENCODING) => None,
        None => Some(0),
    }
}
