//! What there is a number of, up to which number, and what is to be reached.

use crate::sweep::Beside;

/// What is measured beside a number of things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) beside: Beside,
    /// Instructions are counted up to this number: a program under valgrind is slow, and large.
    pub(super) counted_to: usize,
    /// The time on a processor is measured from this number on; below there is too little to time.
    pub(super) timed_from: usize,
    /// The largest number.
    pub(super) to: usize,
    /// Messages that are counted, and twice as many.
    pub(super) counted: usize,
    /// Messages that are timed.
    pub(super) timed: usize,
    /// What the memory that each takes is called, where that is measured.
    pub(super) each: Option<&'static str>,
    /// At most so many bytes each, at a number.
    pub(super) each_goal: Option<(usize, f64)>,
    /// The title of the panel of the plot.
    pub(super) panel: &'static str,
    /// The name of the line in it.
    pub(super) line: &'static str,
}

/// Everything, in the order in which it is measured and printed.
pub(super) fn specs() -> [Spec; 6] {
    let messages = Spec {
        name: "queued without a connection",
        beside: Beside::Queued,
        counted_to: 100_000,
        timed_from: 1_000,
        to: 100_000,
        counted: 0,
        timed: 0,
        each: None,
        each_goal: None,
        panel: "messages queued offline",
        line: "in memory",
    };
    let others = Spec {
        counted: 20_000,
        timed: 200_000,
        timed_from: 1,
        ..messages
    };
    [
        messages,
        Spec {
            name: "queued in the store `Memory`",
            beside: Beside::Stored,
            line: "store `Memory`",
            ..messages
        },
        Spec {
            name: "received beside subscriptions",
            beside: Beside::Filters,
            counted_to: 10_000,
            to: 10_000,
            panel: "subscriptions",
            line: "received",
            ..others
        },
        Spec {
            name: "published beside parked fibers",
            beside: Beside::Fibers,
            counted_to: 10_000,
            to: 1_000_000,
            panel: "parked fibers",
            line: "published",
            ..others
        },
        Spec {
            name: "published beside connections",
            beside: Beside::Connections,
            counted_to: 1_000,
            to: 1_000,
            each: Some("memory of a connection"),
            each_goal: Some((1_000, 6.0 * 1024.0)),
            panel: "idle connections",
            line: "connection",
            ..others
        },
        Spec {
            name: "published by simulated devices",
            beside: Beside::Devices,
            counted_to: 1_000,
            to: 10_000,
            each: Some("memory of a simulated device"),
            panel: "simulated devices",
            line: "device",
            ..others
        },
    ]
}

/// Powers of ten up to a number.
pub(super) fn numbers(to: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1), |n: &usize| n.checked_mul(10)).take_while(move |n| *n <= to)
}

#[cfg(test)]
mod tests {
    use super::{numbers, specs};

    #[test]
    fn numbers_are_powers_of_ten() {
        assert_eq!(numbers(1_000).collect::<Vec<_>>(), [1, 10, 100, 1_000]);
        assert_eq!(numbers(999).last(), Some(100));
    }

    #[test]
    fn growth_can_be_judged_of_everything() {
        for spec in specs() {
            assert!(numbers(spec.to).last() == Some(spec.to), "{}", spec.name);
            assert!(spec.counted_to <= spec.to && spec.timed_from < spec.to);
        }
    }
}
