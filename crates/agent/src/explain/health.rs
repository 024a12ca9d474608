//! Health conditions, by name: what the agent goes on working with, and somebody should know.

use super::Explanation;

/// The table, in the order of the names.
pub(super) const TABLE: &[Explanation] = &[];
