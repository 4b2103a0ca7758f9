//! Resources and jobs: one embedded database, transactions, leases, list pages.
//!
//! A request is one [`Catalog::write`]: it commits when the closure succeeds and leaves no trace
//! when it does not. Every stored value carries a checksum that is verified when it is read; a
//! damaged row is an error, never a guess. Times never go back, whatever the clock does.
//!
//! What the records mean is decided above; what jobs do is decided in `kindred_jobs`.

mod database;
mod error;
mod page;
pub mod records;
mod tags;
mod work;

pub use database::{Catalog, Tx};
pub use error::Error;
pub use page::PageStart;
pub use records::Record;
pub use work::{Claim, NewWork, WorkKind, WorkState};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
