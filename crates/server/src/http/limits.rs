//! How many requests an access key may send: a token bucket per key.

use kindred_types::parts::Clock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys that are remembered at the same time; full buckets are forgotten first.
const KEYS_MAX: usize = 10_000;

/// Admits `per_second` requests of each key, and `burst` at once.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    per_second: f64,
    burst: f64,
    clock: Arc<dyn Clock>,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at_ms: u64,
}

impl RateLimiter {
    pub(crate) fn new(per_second: f64, burst: f64, clock: Arc<dyn Clock>) -> Self {
        RateLimiter {
            per_second,
            burst,
            clock,
            buckets: Mutex::default(),
        }
    }

    /// Takes a token of the key's bucket, if there is one.
    pub(crate) fn admit(&self, access_key: &str) -> bool {
        let now = self.clock.monotonic_ms();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(access_key) {
            buckets.retain(|_, bucket| self.refilled(*bucket, now) < self.burst);
            if buckets.len() >= KEYS_MAX {
                return false;
            }
        }
        let full = Bucket {
            tokens: self.burst,
            at_ms: now,
        };
        let bucket = buckets.entry(access_key.to_owned()).or_insert(full);
        let tokens = self.refilled(*bucket, now);
        let admitted = tokens >= 1.0;
        *bucket = Bucket {
            tokens: if admitted { tokens - 1.0 } else { tokens },
            at_ms: now,
        };
        admitted
    }

    fn refilled(&self, bucket: Bucket, now: u64) -> f64 {
        let seconds = now.saturating_sub(bucket.at_ms) as f64 / 1000.0;
        (bucket.tokens + seconds * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kindred_types::time::Timestamp;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Default)]
    struct TestClock(AtomicU64);

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        fn monotonic_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn a_burst_then_the_rate_and_keys_do_not_share() {
        let clock = Arc::new(TestClock::default());
        let limiter = RateLimiter::new(2.0, 3.0, clock.clone());
        let admitted = (0..10).filter(|_| limiter.admit("a")).count();
        assert_eq!(admitted, 3);
        assert!(limiter.admit("b"));
        clock.0.store(1000, Ordering::SeqCst);
        let admitted = (0..10).filter(|_| limiter.admit("a")).count();
        assert_eq!(admitted, 2);
    }

    #[test]
    fn invented_keys_do_not_grow_memory_without_end() {
        let clock = Arc::new(TestClock::default());
        let limiter = RateLimiter::new(1.0, 2.0, clock);
        for number in 0..KEYS_MAX + 100 {
            limiter.admit(&format!("key-{number}"));
        }
        assert!(limiter.buckets.lock().unwrap().len() <= KEYS_MAX);
    }
}
