//! Keeps a panic of the user's code from ending more than what it happened in.

use core::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; `None` if it panicked. The panic hook has told of it then, and what the panic
/// carried is dropped here.
///
/// The closure may leave what it captured half changed: callers hand out nothing of it after a
/// panic but what is good in every state, as cells and counters are.
pub(crate) fn contain<T>(body: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // A payload is the user's, and so is its drop.
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                mem::forget(second);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_body_and_nothing_else() {
        assert_eq!(contain(|| 7), Some(7));
        assert_eq!(contain(|| -> u8 { panic!("of the body") }), None);
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_contained_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("of the payload");
            }
        }
        let outcome = contain(|| std::panic::panic_any(Bomb));
        assert_eq!(outcome, None::<()>);
    }
}
