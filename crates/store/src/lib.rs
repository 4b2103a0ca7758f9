//! Bytes in buckets: locations, embedded buckets on disk, retry, atomic publish.
//!
//! Everything above reads and writes objects through [`Store`]; back ends and wrappers (faults,
//! later encryption and retry) implement it, and all of them pass the same conformance suite
//! (`tests/conformance.rs`). The embedded back end, with everything the S3 endpoint needs beyond
//! the trait, is [`embedded::EmbeddedStore`].

pub mod embedded;
pub mod fault;
pub mod location;
pub mod names;
pub mod store;

pub use embedded::EmbeddedStore;
pub use fault::FaultStore;
pub use location::Location;
pub use store::{Error, ListPage, ObjectMeta, PartProblem, PartTag, Store};
