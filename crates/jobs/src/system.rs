//! What the process knows about its memory.
//!
//! The system keeps one peak of a process, which can be set back. A [`MemoryWatch`] sets it back to
//! tell the peak of its own time; all watches there are, and the peak since the start, take note of
//! what there was before.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What there was before the system's peak was set back last.
static WATCHED: Mutex<Watched> = Mutex::new(Watched {
    peak_bytes: 0,
    watches: Vec::new(),
    next: 0,
});

#[derive(Debug)]
struct Watched {
    /// Since the process started.
    peak_bytes: u64,
    /// Numbers of the watches and their peaks.
    watches: Vec<(u64, u64)>,
    next: u64,
}

impl Watched {
    /// Takes note of the system's peak; gives it.
    fn look(&mut self) -> Option<u64> {
        let bytes = system_peak_bytes()?;
        self.peak_bytes = self.peak_bytes.max(bytes);
        for (_, peak_bytes) in &mut self.watches {
            *peak_bytes = bytes.max(*peak_bytes);
        }
        Some(bytes)
    }
}

/// Tells the peak memory of a time. It is that of the whole process, whatever else it does meanwhile.
#[derive(Debug)]
pub struct MemoryWatch(u64);

impl MemoryWatch {
    /// Starts now.
    pub fn start() -> MemoryWatch {
        let mut watched = watched();
        watched.look();
        // Where this is refused, peaks are those since the process started.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let number = watched.next;
        watched.next += 1;
        watched.watches.push((number, 0));
        MemoryWatch(number)
    }

    /// Peak resident memory in bytes since the start of the watch; `None` where the system does not tell.
    pub fn peak_bytes(&self) -> Option<u64> {
        let mut watched = watched();
        watched.look()?;
        let mut watches = watched.watches.iter();
        let (_, peak_bytes) = watches.find(|(number, _)| *number == self.0)?;
        Some(*peak_bytes)
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        watched().watches.retain(|(number, _)| *number != self.0);
    }
}

/// Peak resident memory of this process since it started, in bytes; `None` where the system does not
/// tell.
pub fn peak_memory_bytes() -> Option<u64> {
    let mut watched = watched();
    watched.look()?;
    Some(watched.peak_bytes)
}

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn system_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Touches so many bytes and gives them back.
    fn take(bytes: usize) {
        std::hint::black_box(vec![1u8; bytes]);
    }

    #[test]
    fn a_watch_tells_the_peak_of_its_own_time() {
        const MIB: u64 = 1 << 20;
        let before = MemoryWatch::start();
        take(300 << 20);
        let high = before.peak_bytes().unwrap();
        assert!(high >= 300 * MIB);
        let after = MemoryWatch::start();
        take(50 << 20);
        let low = after.peak_bytes().unwrap();
        assert!(low >= 50 * MIB && low + 150 * MIB < high, "{low} {high}");
        assert!(before.peak_bytes().unwrap() >= high);
        assert!(peak_memory_bytes().unwrap() >= high);
    }
}
