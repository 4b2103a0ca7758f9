//! What can go wrong in the engine.

use std::path::{Path, PathBuf};

/// An error of the engine. A caller retries `Io`, tells the user about `Input` and
/// `Data`, and reports `Damaged`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The work was told to stop.
    #[error("stopped before the end")]
    Stopped,
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A stored file is not what was written.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The data cannot be trained on; the sentence is for the data's owner, whole and ready to show.
    #[error("{0}")]
    Data(String),
    /// The caller asked for something impossible; the sentence says what.
    #[error("{0}")]
    Input(String),
    /// Worker threads could not be started.
    #[error("worker threads could not be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The system gave no memory.
    #[error("{bytes} bytes of memory could not be had: {source}")]
    Memory {
        /// How many were wanted.
        bytes: usize,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Error {
        Error::Damaged {
            path: path.to_path_buf(),
            detail: detail.into(),
        }
    }
}
