//! Datasets, recipes, training, scoring, metrics. Bytes in, bytes out.
//!
//! The engine has never heard of the catalog or of HTTP: it is given files, sources and sinks, and
//! gives back files and numbers. How files are kept, in the clear or sealed with a customer's key, is
//! said by the `kindred_store::Vault` that it is given with a directory. Same input and seed, same bytes, whatever the thread count.

pub mod attributes;
pub mod data;
pub mod error;
mod files;
pub mod interactions;
pub mod metrics;
pub mod model;
pub mod progress;
pub mod recipes;
pub mod score;
pub mod segment;
pub mod selection;
pub mod train;

pub use error::Error;
