//! What the tests of several modules use, and tests that no one module can hold.

#[cfg(feature = "client")]
mod end_causes;

/// Makes `variant`, which names the variant of a value, and `VARIANTS`, the names of all of them.
///
/// A variant that is missing here does not compile. So a table that has a row for each of
/// `VARIANTS` has one for each variant.
macro_rules! variants {
    ($kind:ident { $($name:ident),* $(,)? }) => {
        fn variant(value: &$kind) -> &'static str {
            match value {
                $($kind::$name { .. } => stringify!($name),)*
            }
        }

        const VARIANTS: &[&str] = &[$(stringify!($name)),*];
    };
}

pub(crate) use variants;

/// Fails for a variant that no row of a table showed.
#[track_caller]
pub(crate) fn expect_all(variants: &[&str], shown: &std::collections::BTreeSet<&str>) {
    let missing: Vec<_> = variants
        .iter()
        .filter(|name| !shown.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no row shows {missing:?}");
}
