//! HTTP, signatures, operations, the S3 endpoint, STS and IAM, configuration, logs.
//!
//! [`Server`] puts the parts together; everything else is a part.

pub mod config;
pub mod error;
mod http;
mod identity;
pub mod keys;
pub mod logs;
pub mod ops;
pub mod parts;
mod s3;
mod safety;
mod server;
mod sigv4;
mod telemetry;

pub use config::Settings;
pub use server::{Endpoint, Server, Signals, StartError};
