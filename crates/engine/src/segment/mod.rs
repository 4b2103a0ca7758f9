//! The line pipeline of a batch segment job: queries in, ranked users out.
//!
//! Knows lines, queries and rankings, but not where bytes come from or go to: sources and sinks are
//! handed in. [`pipeline::run`] is the whole of it; [`parse`] reads a line, [`render`] writes one,
//! [`asked`] knows what lines of either recipe ask for, [`audiences`] whom they choose from, [`distinct`]
//! keeps each pair of the two once, [`lines`] splits a source, [`blocks`] keeps finished rankings on disk.

pub mod asked;
pub(crate) mod audiences;
pub(crate) mod blocks;
pub(crate) mod distinct;
pub(crate) mod lines;
pub(crate) mod parse;
pub mod pipeline;
pub(crate) mod render;
