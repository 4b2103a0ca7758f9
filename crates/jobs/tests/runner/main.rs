//! The job runner over a real catalog and real embedded buckets, in one process.
//!
//! Killing at failpoints needs the feature `failpoints`; those tests are in `tests/failpoints.rs`.

mod imports;
mod keys;
mod rights;
mod segments;
mod storage;
mod support;
mod training;
