//! The recipes: one file each, with training and metrics behind the names of the service.

pub mod item_affinity;
pub mod item_attribute_affinity;
