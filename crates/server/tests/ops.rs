//! The control plane's operations, called as the HTTP layer calls them, without HTTP.
//!
//! States that only jobs bring about are set through the catalog.

#[path = "ops/support.rs"]
mod support;

#[path = "ops/error_cases.rs"]
mod error_cases;
#[path = "ops/errors.rs"]
mod errors;
#[path = "ops/filters.rs"]
mod filters;
#[path = "ops/life.rs"]
mod life;
#[path = "ops/lists.rs"]
mod lists;
#[path = "ops/malformed.rs"]
mod malformed;
#[path = "ops/solutions.rs"]
mod solutions;
#[path = "ops/tags.rs"]
mod tags;
