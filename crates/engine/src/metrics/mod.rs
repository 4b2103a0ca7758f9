//! Offline metrics: how many of the users a segment names come to be right.
//!
//! `held_out` measures what the service reports, `time_split` what a marketer asks: who comes in the
//! weeks after the model was made. Both compare with simple rankings on the same queries.

pub(crate) mod held_out;
mod time_split;
mod tally;

pub use time_split::{Split, TimeSplit, time_split};
