//! Names, ARNs, limits, shapes and their constraints, schema languages.
//!
//! The words everything else is written in. No IO, no clock, no randomness: what needs those is
//! handed a [`parts::Clock`] or a [`parts::Random`].

pub mod arn;
pub mod check;
pub mod filter;
pub mod interacted;
pub mod item_query;
pub mod parts;
pub mod schema;
pub mod shapes;
pub mod time;
