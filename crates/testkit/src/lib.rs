//! What tests of the whole program share. Never shipped: no other crate depends on it.
//!
//! `server` starts, stops, kills and restarts the real program; `arrows` says which crate may
//! know which.

pub mod arrows;
pub mod server;
