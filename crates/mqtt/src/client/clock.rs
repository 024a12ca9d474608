//! Tells of a wall clock that cannot be right when it matters: where certificates are judged by it.
//!
//! The client itself goes by a clock that no jump of the wall clock moves. A wrong wall clock refuses
//! no connection here and ends nothing.

use std::cell::Cell;

use safe_rt::{ClockFloor, ClockVerdict};

use super::event::Event;

/// What a client that dials over TLS knows of the wall clock.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    /// The earliest time that it can be; `None` where no certificate is judged.
    floor: Option<ClockFloor>,
    /// The program was told, and the clock was not plausible since.
    told: Cell<bool>,
}

impl ClockWatch {
    pub(super) const fn new(floor: Option<ClockFloor>) -> Self {
        Self {
            floor,
            told: Cell::new(false),
        }
    }

    /// Looks at the clock before a dial; returns what the program is to be told, once for each time
    /// that the clock is found wrong.
    pub(super) fn look(&self) -> Option<Event> {
        let floor = self.floor.as_ref()?;
        let wall = fiber::wall_time();
        let is_behind = matches!(floor.check(wall), ClockVerdict::Behind { .. });
        let was_behind = self.told.replace(is_behind);
        (is_behind && !was_behind).then(|| Event::ClockImplausible {
            wall,
            earliest: floor.earliest(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn each_time_that_the_clock_is_found_wrong_is_told_once() {
        let floor = ClockFloor::new();
        let told = fiber::Runtime::builder().paused_clock(true).run(move || {
            let watch = ClockWatch::new(Some(floor.clone()));
            let mut told = vec![watch.look()];
            assert!(floor.raise(fiber::wall_time() + DAY));
            told.extend([watch.look(), watch.look()]);
            fiber::sleep(2 * DAY).unwrap();
            told.push(watch.look());
            assert!(floor.raise(fiber::wall_time() + DAY));
            told.extend([watch.look(), watch.look()]);
            told.iter()
                .map(|told| match told {
                    None => false,
                    Some(Event::ClockImplausible { wall, earliest }) => earliest > wall,
                    Some(other) => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        });
        assert_eq!(told.unwrap(), [false, true, false, false, true, false]);
    }

    #[test]
    fn without_certificates_nothing_is_told() {
        assert!(ClockWatch::default().look().is_none());
    }
}
