//! Where a page of a listing starts.

use kindred_types::time::Timestamp;

/// The sort key of the last entry of the page before: listings go from new to old, ties by ARN.
/// A key, not an offset, so that pages stay right while resources come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageStart {
    /// Creation time of that entry.
    pub created: Timestamp,
    /// Its ARN.
    pub arn: String,
}
