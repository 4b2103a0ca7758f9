//! Datasets: CSV files in, typed and checksummed Parquet generations, training snapshots out.
//!
//! An import is atomic: [`import::import`] validates every row while it stages part files, and a
//! generation exists only with its manifest. [`dataset`] reads generations back and refuses damaged
//! files; [`snapshot`] turns them into what training needs. Which generations a dataset has is the
//! catalog's business, and single records put by API calls are a layer of their own, not here.

use std::path::PathBuf;

pub mod attributes;
pub mod csv;
pub mod dataset;
pub mod import;
mod manifest;
pub mod snapshot;
pub mod source;
pub mod table;
mod value;

/// Why datasets could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data's owner can mend it; the sentence is for them, whole and ready to show.
    #[error("{0}")]
    Input(String),
    /// A source could not be opened or read; its store may be away or refuse us.
    #[error("cannot read {name}")]
    Source {
        /// The source as it calls itself.
        name: String,
        /// What the store said.
        source: std::io::Error,
    },
    /// A file of ours could not be written or read.
    #[error("cannot access {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part file could not be encoded or decoded.
    #[error("cannot encode or decode {}", path.display())]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// What the format said.
        source: parquet::errors::ParquetError,
    },
    /// A file of ours is not what was written.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How it shows.
        detail: String,
    },
    /// The caller asked for something that cannot be: generations in a wrong order or of a wrong type.
    #[error("{0}")]
    Misuse(String),
    /// The data is larger than the limit the caller gave.
    #[error("{what} exceed the limit of {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The work was asked to end early.
    #[error("stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { path, source }
    }

    pub(crate) fn parquet(
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Error {
        let path = path.into();
        move |source| Error::Parquet { path, source }
    }
}

/// The double a person means by a single precision value: 0.1 stays 0.1, so that a threshold or
/// a filter with 0.1 takes it.
pub(crate) fn shortest_double(value: f32) -> f64 {
    let as_is = f64::from(value);
    if value.fract() == 0.0 {
        return as_is;
    }
    value.to_string().parse().unwrap_or(as_is)
}

/// Whether two event types are the same: they are compared ignoring case.
pub(crate) fn same_ignoring_case(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
        || (!(left.is_ascii() && right.is_ascii()) && left.to_lowercase() == right.to_lowercase())
}
