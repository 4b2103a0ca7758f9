//! How slow the other side of a connection may be.
//!
//! Only waiting counts: time in which we are busy is not the client's. A client starts with a
//! credit of seconds, waiting uses it up and every byte earns some back, so that a pause is
//! allowed, a slow line is allowed, and a drop now and then is not. No total time limits a large
//! object over a slow line.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaceLimits {
    /// The longest pause, and the largest credit.
    pub(crate) pause: Duration,
    /// Bytes that earn one second.
    pub(crate) bytes_per_second: u64,
}

/// The credit of one direction of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    limits: PaceLimits,
    credit: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(limits: PaceLimits) -> Self {
        Pace {
            limits,
            credit: limits.pause,
            waiting_since: None,
            timer: None,
        }
    }

    /// To be called when the other side lets us wait; ready when its credit is used up.
    pub(super) fn poll_spent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let end = since + self.credit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(context)
    }

    /// To be called when bytes went over.
    pub(super) fn moved(&mut self, bytes: usize) {
        let waited = self.waiting_since.take().map(|since| since.elapsed());
        self.credit = self
            .limits
            .credit(self.credit, waited.unwrap_or_default(), bytes);
    }
}

impl PaceLimits {
    /// What is left of a credit after waiting and after bytes.
    fn credit(&self, credit: Duration, waited: Duration, bytes: usize) -> Duration {
        let earned = bytes as f64 / self.bytes_per_second.max(1) as f64;
        let earned = Duration::try_from_secs_f64(earned).unwrap_or(self.pause);
        credit
            .saturating_sub(waited)
            .saturating_add(earned)
            .min(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits = PaceLimits {
        pause: Duration::from_secs(10),
        bytes_per_second: 100,
    };

    /// Plays waits of this many seconds, each followed by this many bytes; gives how many of the
    /// waits were too long.
    fn check(waits: &[(u64, usize)]) -> usize {
        let mut credit = LIMITS.pause;
        let mut spent = 0;
        for &(seconds, bytes) in waits {
            let waited = Duration::from_secs(seconds);
            spent += usize::from(waited >= credit);
            credit = LIMITS.credit(credit, waited, bytes);
        }
        spent
    }

    #[test]
    fn a_pause_is_allowed_and_bytes_earn_the_next() {
        assert_eq!(check(&[(9, 800), (8, 0)]), 0);
        assert_eq!(check(&[(9, 0), (1, 0)]), 1);
        assert_eq!(check(&[(10, 1_000_000)]), 1);
        // What was sent fast is no licence for a longer pause.
        assert_eq!(check(&[(1, 1_000_000), (9, 900), (10, 0)]), 1);
    }

    #[test]
    fn any_time_at_the_rate_is_allowed_and_a_dribble_is_not() {
        assert_eq!(check(&[(5, 500); 10_000]), 0);
        assert!(check(&[(1, 1); 12]) > 0);
    }
}
