//! HTTP, signatures, operations, the S3 endpoint, STS and IAM, configuration, logs.

pub mod config;
pub mod error;
mod http;
pub mod keys;
pub mod logs;
pub mod ops;
pub mod parts;
mod sigv4;

pub use config::Settings;
