//! HTTP, signatures, operations, the S3 endpoint, STS and IAM, configuration, logs.
//!
//! [`Server`] puts the parts together; everything else is a part.

mod audit;
pub mod config;
pub mod error;
mod http;
mod identity;
pub mod keys;
mod kms;
pub mod logs;
pub mod ops;
pub mod parts;
mod policy;
mod s3;
mod safety;
mod server;
pub mod signing;
mod sigv4;
mod telemetry;

pub use config::Settings;
pub use server::{Endpoint, Server, Signals, StartError};
