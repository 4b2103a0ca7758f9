//! The outside world as parts that are handed in: the clock and the random source.
//!
//! Nothing outside the composition root (`kindred_server::parts`) reads the system's clock or
//! randomness; `clippy.toml` objects. That is what lets a test replay a bad day from its seed.

use crate::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock. It may jump; whoever stores times makes them monotonic.
    fn now(&self) -> Timestamp;

    /// Milliseconds since an arbitrary start; never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// Gives random bytes: ids, keys and request ids come from here, never model seeds.
pub trait Random: Send + Sync + std::fmt::Debug {
    /// Fills the whole slice.
    fn fill(&self, bytes: &mut [u8]);
}

/// `bytes` random bytes as lower-case hexadecimal digits.
pub fn random_hex(random: &dyn Random, bytes: usize) -> String {
    let mut raw = vec![0u8; bytes];
    random.fill(&mut raw);
    let mut text = String::with_capacity(bytes * 2);
    for byte in raw {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A random (version 4) UUID in its usual text form; the form of request ids.
pub fn random_uuid(random: &dyn Random) -> String {
    let mut raw = [0u8; 16];
    random.fill(&mut raw);
    raw[6] = (raw[6] & 0x0f) | 0x40;
    raw[8] = (raw[8] & 0x3f) | 0x80;
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[0..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32]
    )
}
