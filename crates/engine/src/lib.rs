//! Datasets, recipes, training, scoring, metrics. Bytes in, bytes out.
//!
//! The engine has never heard of the catalog or of HTTP: it is given files, sources and sinks, and
//! gives back files and numbers. Same input and seed, same bytes, whatever the thread count.

pub mod attributes;
pub mod data;
pub mod error;
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
