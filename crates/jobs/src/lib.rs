//! Claims jobs, runs their steps, publishes what they made.
//!
//! [`Runner`] owns the worker threads. A job is a record in the catalog's queue; a worker leases it,
//! asks the engine for one step after another, and publishes the result in one move: files first,
//! synced and renamed, then one catalog transaction that checks the lease again. A job found
//! unfinished at start-up goes on from its last checkpoint and ends with the same bytes.
//!
//! Failpoints (feature `failpoints`) stand before and after every durable step, for tests that kill
//! the process there.

mod artifacts;
mod failure;
mod import_job;
pub mod inputs;
mod layout;
mod measure;
mod quotas;
mod runner;
mod segment_job;
mod settings;
mod sources;
pub mod statistics;
mod store_io;
mod system;
mod train_job;
pub mod training;

pub use artifacts::{publish_directory, sync_directory};
pub use failure::Failure;
pub use kindred_engine::recipes::item_affinity::ModelChoice;
pub use layout::Layout;
pub use runner::{Parts, Runner};
pub use segment_job::output_key;
pub use settings::{JobQuotas, JobSettings, SegmentSettings, TrainingSettings};
pub use store_io::{ObjectReader, ObjectWriter};
pub use system::peak_memory_bytes;
