//! Back-pressure: who waits for room, in order of arrival.
//!
//! A wake stands for a place: as many fibers are woken as there are places, and until those have
//! run nobody else takes one. Whoever is woken and does not take the place, for whatever reason,
//! lets the next one look.

use std::collections::VecDeque;

use fiber::Unparker;

use super::error::WaitCause;
use super::shared::{Shared, State};

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A place in the window of unacknowledged messages. QoS 0 needs none.
    Window,
    /// Bytes of the outbound log.
    Log,
    /// A place among the unanswered requests.
    Requests,
    /// A place among the QoS 2 messages under way.
    ExactlyOnce,
    /// A place in the store.
    Store,
}

/// The lines of those who wait, one for each [`Room`].
#[derive(Debug, Default)]
pub(super) struct Lines([Line; 5]);

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Unparker>,
    /// Fibers that were woken and have not run since.
    woken: usize,
}

impl Lines {
    /// Whether somebody comes before a newcomer.
    #[inline]
    pub(super) fn is_waited_for(&self, room: Room) -> bool {
        let line = &self.0[room as usize];
        line.woken > 0 || !line.waiting.is_empty()
    }

    /// Wakes the first in line while fewer are on their way than there are `places`.
    #[inline]
    pub(super) fn wake(&mut self, room: Room, places: usize) {
        let line = &mut self.0[room as usize];
        while line.woken < places {
            let Some(waiter) = line.waiting.pop_front() else {
                return;
            };
            // Else its wait has just ended in another way.
            line.woken += usize::from(waiter.unpark());
        }
    }

    /// Wakes everyone, because there will be no room at all.
    pub(super) fn wake_all(&mut self) {
        let all = [
            Room::Window,
            Room::Log,
            Room::Requests,
            Room::ExactlyOnce,
            Room::Store,
        ];
        for room in all {
            self.wake(room, usize::MAX);
        }
    }
}

impl State {
    /// Wakes those for whom there may be room of any kind for a message.
    pub(super) fn wake_for_all_room(&mut self) {
        for room in [Room::Window, Room::ExactlyOnce, Room::Log, Room::Store] {
            self.wake_for_room(room);
        }
    }

    /// Wakes those for whom there may be such room.
    #[inline]
    pub(super) fn wake_for_room(&mut self, room: Room) {
        let places = match room {
            Room::Window => self.session.window_room(),
            Room::ExactlyOnce => self.exactly_once_room(),
            // How much each needs shows when it tries: one after the other.
            Room::Log | Room::Requests | Room::Store => 1,
        };
        if let Some(durable) = &self.durable {
            durable.room();
        }
        self.lines.wake(room, places);
    }
}

impl Shared {
    /// Waits for room and enters, in order of arrival. `enter` is tried with the room that was
    /// waited for, and says if it needs another.
    #[cold]
    pub(super) fn enter_in_turn<T, E>(
        &self,
        mut room: Room,
        refused: impl Fn(WaitCause) -> E,
        mut enter: impl FnMut(&mut State) -> Result<Result<T, Room>, E>,
    ) -> Result<T, E> {
        let mut again = false;
        loop {
            self.wait_for_room(room, again).map_err(&refused)?;
            let mut state = self.state();
            let is_behind = match room {
                Room::Log => state.stored_needs_log(),
                Room::Store => false,
                Room::Window | Room::Requests | Room::ExactlyOnce => state.is_log_waited_for(),
            };
            let entered = if is_behind && state.refusal().is_none() {
                Ok(Err(Room::Log))
            } else {
                enter(&mut state)
            };
            again = matches!(entered, Ok(Err(other)) if other == room);
            if !again {
                state.wake_for_room(room);
            }
            match entered? {
                Ok(value) => return Ok(value),
                Err(other) => room = other,
            }
        }
    }

    /// Waits for room. `again` says that an earlier wait found none after all.
    fn wait_for_room(&self, room: Room, again: bool) -> Result<(), WaitCause> {
        let token = fiber::prepare()?;
        {
            let waiting = &mut self.state().lines.0[room as usize].waiting;
            if again {
                waiting.push_front(token);
            } else {
                waiting.push_back(token);
            }
        }
        let parked = fiber::park();
        let mut state = self.state();
        let line = &mut state.lines.0[room as usize];
        match parked {
            Ok(()) => line.woken -= 1,
            Err(stopped) => {
                line.waiting.retain(|waiter| *waiter != token);
                // There may be room for one that needs less.
                state.wake_for_room(room);
                return Err(stopped.into());
            }
        }
        Ok(())
    }
}
