//! What can go wrong with the catalog.

/// A caller acts differently on each variant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record with this ARN is there already.
    #[error("a record with arn {0} exists already")]
    Exists(String),
    /// No record with this ARN.
    #[error("no record with arn {0}")]
    Missing(String),
    /// The lease on a job was lost: somebody else owns it now, or it is gone.
    #[error("the lease on {0} is lost")]
    LeaseLost(String),
    /// Stored bytes do not match their checksum.
    #[error("the stored record {0} is damaged: checksum mismatch")]
    Damaged(String),
    /// A record cannot be read or written as JSON: a bug or a newer format.
    #[error("the stored record {arn} cannot be read: {source}")]
    Format {
        /// Which record.
        arn: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The file was written by a newer version of the program.
    #[error(
        "the catalog at {path} has format {found}, this program knows up to {known}; it was left untouched"
    )]
    Newer {
        /// The database file.
        path: std::path::PathBuf,
        /// Format found in the file.
        found: u32,
        /// Newest format this program writes.
        known: u32,
    },
    /// The database failed; a failed commit is not tried again.
    #[error("catalog database: {0}")]
    Database(#[from] rusqlite::Error),
}
