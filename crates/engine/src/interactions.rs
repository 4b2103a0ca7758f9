//! The interactions that train a model, in memory: the hand-over between datasets and training.
//!
//! Ids are numbered in byte order, events lie user by user in time order, so nothing depends on the
//! order of rows in the files. Built by `data::snapshot`, read by `train`.

/// Interactions after all training filters (event type, threshold, exact duplicates).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interactions {
    /// Ids of the users with at least one event, ascending by bytes. Length n.
    pub users: Vec<String>,
    /// Ids of the items, ascending by bytes: those with at least one event, and those that are known by
    /// their attributes alone (`data::attributes`). Length m.
    pub items: Vec<String>,
    /// Where each user's events start in the columns below. Length n + 1.
    pub user_starts: Vec<usize>,
    /// Item number of each event; a user's events ascend by (timestamp, item).
    pub event_items: Vec<u32>,
    /// Epoch seconds of each event.
    pub event_times: Vec<i64>,
    /// How much each event counts, 0 to 1; empty if every event counts 1.
    pub event_weights: Vec<f32>,
}

impl Interactions {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.event_items.len()
    }

    /// Whether there is no event at all.
    pub fn is_empty(&self) -> bool {
        self.event_items.is_empty()
    }

    /// How much an event counts.
    pub fn weight(&self, event: usize) -> f32 {
        self.event_weights.get(event).copied().unwrap_or(1.0)
    }

    /// The range of user `user` in the event columns.
    pub fn events_of(&self, user: usize) -> std::ops::Range<usize> {
        self.user_starts[user]..self.user_starts[user + 1]
    }
}
