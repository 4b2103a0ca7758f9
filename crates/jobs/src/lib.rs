//! Claims jobs, runs their steps, publishes what they made.
//!
//! [`Runner`] owns the worker threads. A job is a record in the catalog's queue; a worker leases it,
//! asks the engine for one step after another, and publishes the result in one move: files first,
//! synced and renamed, then one catalog transaction that checks the lease again. A job found
//! unfinished at start-up goes on from its last checkpoint and ends with the same bytes.
//!
//! A job acts as its role: [`Buckets`] gives the store out only together with a role, and an
//! [`Authority`] that is handed in decides what the role may do.
//!
//! Failpoints (feature `failpoints`) stand before and after every durable step, for tests that kill
//! the process there.

mod artifacts;
mod authority;
mod failure;
mod import_job;
pub mod inputs;
mod layout;
mod measure;
mod quotas;
mod role_store;
mod runner;
mod segment_job;
mod selection;
mod settings;
mod sources;
pub mod statistics;
mod store_io;
mod system;
mod train_job;
pub mod training;
mod uploads;
mod vaults;

pub use artifacts::{publish_directory, sync_directory};
pub use authority::{Access, Authority, Refused, Resource, ServersRights};
pub use failure::Failure;
pub use kindred_engine::recipes::item_affinity::ModelChoice;
pub use layout::Layout;
pub use role_store::{Buckets, RoleStore};
pub use runner::{Parts, Runner};
pub use segment_job::output_key;
pub use settings::{JobQuotas, JobSettings, SegmentSettings, TrainingSettings};
pub use store_io::{ObjectReader, ObjectWriter};
pub use system::{MemoryWatch, peak_memory_bytes};
