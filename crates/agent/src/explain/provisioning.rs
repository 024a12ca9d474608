//! `P###`: what can go wrong while a device gets or renews its identity.

use super::Explanation;

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[];
