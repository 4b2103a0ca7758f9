//! Bytes in buckets: locations, embedded buckets on disk, retry, atomic publish.
//!
//! Everything above reads and writes objects through [`Store`]; back ends and wrappers (faults,
//! later retry) implement it, and all of them pass the same conformance suite
//! (`tests/conformance.rs`). Encryption: [`keys`] wraps data keys, [`seal`] is the form of the bytes.
//! The embedded back end, with everything the S3 endpoint needs beyond
//! the trait, is [`embedded::EmbeddedStore`].

pub mod embedded;
pub mod fault;
pub mod files;
pub mod keys;
pub mod location;
pub mod names;
pub mod seal;
pub mod store;

pub use embedded::EmbeddedStore;
pub use fault::FaultStore;
pub use files::Vault;
pub use keys::{KeyProblem, KeyRing, KeyService};
pub use location::Location;
pub use store::{Error, ListPage, ObjectMeta, PartProblem, PartTag, Store};
