//! The real clock and the real random source: the only place that asks the system for either.

use kindred_types::parts::{Clock, Random};
use kindred_types::time::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods)] // The one place that may.
    fn default() -> Self {
        SystemClock {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // The one place that may.
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[allow(clippy::disallowed_methods)] // The one place that may.
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness there are no keys and no ids: nothing sensible can go on.
        getrandom::fill(bytes).expect("the system gives random bytes");
    }
}
