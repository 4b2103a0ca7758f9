//! A connection that does not wait for its client without end.
//!
//! hyper asks for bytes and we know what they are for: the first of a connection, the rest of a
//! request's head, or the next request of a kept connection. Each has its deadline. While a request
//! is worked on nothing is expected of the client here (its body is paced in [`super::bodies`]).
//! A client that does not take its answer is held to a pace, too.

use super::pace::{Pace, PaceLimits};
use crate::telemetry;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// The deadlines of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardLimits {
    /// From accepting a connection to its first byte.
    pub(crate) first_byte: Duration,
    /// From the first byte of a head to its last.
    pub(crate) head: Duration,
    /// Between an answer and the next request.
    pub(crate) idle: Duration,
    /// Of taking an answer.
    pub(crate) answer: PaceLimits,
}

/// Counts the turns of a connection: even when it is the client's turn to send a request, odd while
/// one is worked on. Shared by the connection and whoever answers its requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<AtomicU64>);

impl Turns {
    /// A request's head has arrived. The turn ends when the returned value is dropped.
    pub(super) fn begin(&self) -> Turn {
        self.0.fetch_add(1, Ordering::Relaxed);
        Turn(self.clone())
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request that is worked on; goes along with the body of its answer.
#[derive(Debug)]
pub(super) struct Turn(Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream with deadlines.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    limits: GuardLimits,
    turns: Turns,
    expected: Option<Expected>,
    answer: Pace,
    written_at: Option<Instant>,
}

/// The bytes that the client owes.
#[derive(Debug)]
struct Expected {
    turn: u64,
    in_head: bool,
    timer: Pin<Box<Sleep>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, limits: GuardLimits, turns: Turns) -> Self {
        Guarded {
            stream,
            limits,
            turns,
            expected: None,
            answer: Pace::new(limits.answer),
            written_at: None,
        }
    }

    /// Bytes came: in the client's turn they begin a head, or go on with it.
    fn arrived(&mut self) {
        let turn = self.turns.count();
        if turn % 2 == 1 {
            return;
        }
        match &mut self.expected {
            Some(expected) if expected.turn == turn && expected.in_head => {}
            _ => self.expect(turn, true, self.limits.head),
        }
    }

    fn expect(&mut self, turn: u64, in_head: bool, within: Duration) {
        let end = Instant::now() + within;
        match &mut self.expected {
            Some(expected) => {
                expected.timer.as_mut().reset(end);
                (expected.turn, expected.in_head) = (turn, in_head);
            }
            None => {
                let timer = Box::pin(sleep_until(end));
                self.expected = Some(Expected {
                    turn,
                    in_head,
                    timer,
                });
            }
        }
    }

    /// Nothing came: ready when the client is late.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let turn = self.turns.count();
        if turn % 2 == 1 {
            return Poll::Pending;
        }
        if self.expected.as_ref().is_none_or(|e| e.turn != turn) {
            let within = match turn {
                0 => self.limits.first_byte,
                _ => self.limits.idle,
            };
            self.expect(turn, false, within);
        }
        let Some(expected) = &mut self.expected else {
            return Poll::Pending;
        };
        loop {
            ready!(expected.timer.as_mut().poll(context));
            // The end of an answer may still be on its way: idle is who takes nothing, either.
            let idle_since = self.written_at.filter(|_| !expected.in_head);
            let end = idle_since.map(|since| since + self.limits.idle);
            match end.filter(|end| *end > Instant::now()) {
                Some(end) => expected.timer.as_mut().reset(end),
                None => return Poll::Ready(()),
            }
        }
    }

    fn took(&mut self, context: &mut Context<'_>, result: &Poll<io::Result<usize>>) -> Poll<()> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.answer.moved(*bytes);
                self.written_at = Some(Instant::now());
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Pending,
            Poll::Pending => self.answer.poll_spent(context),
        }
    }
}

/// Cut off for not doing `what`.
fn late(what: &'static str) -> io::Error {
    telemetry::timed_out(what);
    io::Error::new(io::ErrorKind::TimedOut, format!("no {what} in time"))
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    self.arrived();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.poll_late(context));
                Poll::Ready(Err(late("request")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        match self.took(context, &result) {
            Poll::Ready(()) => Poll::Ready(Err(late("answer"))),
            Poll::Pending => result,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        match self.took(context, &result) {
            Poll::Ready(()) => Poll::Ready(Err(late("answer"))),
            Poll::Pending => result,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
