//! The line pipeline of a batch segment job: queries in, ranked users out.
//!
//! Knows lines, queries and rankings, but not where bytes come from or go to: sources and sinks are
//! handed in. [`pipeline::run`] is the whole of it. Lines: [`chunks`] cuts sources, [`lines`] splits what
//! it gives, [`ordered`] has many workers on it, [`parse`] reads a line, [`render`] writes one. The first
//! pass is [`plan`]: [`asked`] knows what lines of either recipe ask for, [`audiences`] whom they choose
//! from, [`distinct`] keeps each pair of the two once. Then come [`rankings`], kept on disk by [`blocks`]
//! and rendered by [`answers`] into [`tails`]; the second pass is [`write`].

pub(crate) mod ahead;
pub(crate) mod answers;
pub mod asked;
pub(crate) mod audiences;
pub(crate) mod blocks;
pub(crate) mod budget;
pub(crate) mod chunks;
pub(crate) mod distinct;
pub(crate) mod item_ids;
pub(crate) mod lines;
pub(crate) mod numbered;
pub(crate) mod ordered;
pub(crate) mod parse;
pub mod pipeline;
pub(crate) mod plan;
pub(crate) mod rankings;
pub(crate) mod remembered;
pub(crate) mod render;
pub(crate) mod tails;
pub(crate) mod write;
