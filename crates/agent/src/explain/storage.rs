//! `S###`: what can go wrong with what the device keeps on its disk.

use super::Explanation;

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[];
