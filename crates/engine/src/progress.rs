//! How long work tells how far it is, and is told to stop.

/// Given to every long step. Both calls are cheap and may come from any thread.
pub trait Progress: Sync {
    /// `done` of `total` units of `step` are finished; `detail` is for people (loss, rate).
    fn report(&self, step: &str, done: u64, total: u64, detail: &str);

    /// Whether the work should end early with a `Stopped` error, at the next good moment.
    fn stopped(&self) -> bool {
        false
    }
}

/// Tells nobody and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _step: &str, _done: u64, _total: u64, _detail: &str) {}
}
