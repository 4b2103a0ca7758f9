//! Bytes in buckets: locations, embedded buckets on disk, retry, atomic publish.
//!
//! Everything above reads and writes objects through [`Store`]; back ends and wrappers (faults,
//! later encryption and retry) implement it, and all of them pass the same conformance suite.

pub mod location;
pub mod store;

pub use location::Location;
pub use store::{Error, ListPage, ObjectMeta, PartTag, Store};
