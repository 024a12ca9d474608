//! Back-pressure: who waits for room, in order of arrival.
//!
//! A wake stands for a place: as many fibers are woken as there are places, and until those have
//! run nobody else takes one. Whoever is woken and does not take the place, for whatever reason,
//! lets the next one look. Each keeps its number until it is through, so that one that needs much is
//! not passed for ever by those that need little.

use std::collections::VecDeque;

use fiber::Unparker;

use super::error::WaitCause;
use super::shared::{Shared, State};
use crate::packet::QoS;
use crate::sorted::insert_behind;

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A place for a message of QoS 0: in the queue, or directly in the outbound log.
    AtMostOnce,
    /// A place for a message of QoS 1, likewise.
    AtLeastOnce,
    /// A place for a message of QoS 2, likewise.
    ExactlyOnce,
    /// Bytes of the outbound log, for a request.
    Log,
    /// A place among the unanswered requests.
    Requests,
    /// A place in the store.
    Store,
}

impl Room {
    /// What a message waits for without a store.
    pub(super) const fn of(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::AtMostOnce,
            QoS::AtLeastOnce => Self::AtLeastOnce,
            QoS::ExactlyOnce => Self::ExactlyOnce,
        }
    }
}

/// The lines for a place in the queue. They share it, but not the way past it.
const MESSAGES: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// When a call began to wait for room, compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival(u64);

impl Arrival {
    /// That of a call that has not waited yet.
    pub(super) const NEW: Self = Self(u64::MAX);
}

/// The lines of those who wait, one for each [`Room`].
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// None before somebody waits.
    lines: Option<Box<[Line; 6]>>,
    arrivals: u64,
}

#[derive(Debug, Default)]
struct Line {
    /// In order of arrival.
    waiting: VecDeque<(Arrival, Unparker)>,
    /// Fibers that were woken and have not run since.
    woken: usize,
}

impl Line {
    /// Whether somebody comes before this call. Those who were woken before it have run.
    fn comes_before(&self, arrival: Arrival) -> bool {
        let first = self.waiting.front().map(|(first, _)| *first);
        (arrival == Arrival::NEW && self.woken > 0) || first.is_some_and(|first| first < arrival)
    }

    fn wake_first(&mut self) {
        if let Some((_, waiter)) = self.waiting.pop_front() {
            // Else its wait has just ended in another way.
            self.woken += usize::from(waiter.unpark());
        }
    }
}

impl Lines {
    /// Whether somebody comes before a newcomer.
    #[inline]
    pub(super) fn is_waited_for(&self, room: Room) -> bool {
        self.comes_before(room, Arrival::NEW)
    }

    /// Whether somebody comes before this call.
    #[inline]
    pub(super) fn comes_before(&self, room: Room, arrival: Arrival) -> bool {
        let lines = self.lines.as_ref();
        lines.is_some_and(|lines| lines[room as usize].comes_before(arrival))
    }

    /// Whether somebody comes before this call among those who wait for a place in the queue.
    pub(super) fn is_crowded(&self, arrival: Arrival) -> bool {
        let mut lines = MESSAGES.into_iter().map(Room::of);
        lines.any(|room| self.comes_before(room, arrival))
    }

    /// Whether somebody waits for a place in the queue.
    #[inline]
    pub(super) fn has_messages(&self) -> bool {
        let lines = self.lines.as_ref();
        lines.is_some_and(|lines| {
            let mut messages = lines[..MESSAGES.len()].iter();
            messages.any(|line| !line.waiting.is_empty())
        })
    }

    /// Wakes the first in line while fewer are on their way than there are `places`.
    #[inline]
    pub(super) fn wake(&mut self, room: Room, places: usize) {
        let Some(lines) = &mut self.lines else {
            return;
        };
        let line = &mut lines[room as usize];
        while line.woken < places && !line.waiting.is_empty() {
            line.wake_first();
        }
    }

    /// Wakes those who wait for a place in the queue, where there are `places`, and for one `past_it`,
    /// of which each QoS has its own.
    pub(super) fn wake_messages(&mut self, places: usize, past_it: impl Fn(QoS) -> usize) {
        let Some(lines) = &mut self.lines else {
            return;
        };
        let woken = MESSAGES.map(|qos| lines[Room::of(qos) as usize].woken);
        let mut places = places.saturating_sub(woken.iter().sum());
        loop {
            let able = MESSAGES.into_iter().filter_map(|qos| {
                let line = &lines[Room::of(qos) as usize];
                let (arrival, _) = line.waiting.front()?;
                (places > 0 || line.woken < past_it(qos)).then_some((*arrival, Room::of(qos)))
            });
            let Some((_, room)) = able.min_by_key(|(arrival, _)| *arrival) else {
                return;
            };
            places = places.saturating_sub(1);
            lines[room as usize].wake_first();
        }
    }

    /// Wakes everyone, because there will be no room at all.
    pub(super) fn wake_all(&mut self) {
        for line in self.lines.iter_mut().flat_map(|lines| lines.iter_mut()) {
            while !line.waiting.is_empty() {
                line.wake_first();
            }
        }
    }

    fn arrive(&mut self) -> Arrival {
        self.arrivals += 1;
        Arrival(self.arrivals)
    }

    fn insert(&mut self, room: Room, arrival: Arrival, waiter: Unparker) {
        let lines = self.lines.get_or_insert_default();
        let waiting = &mut lines[room as usize].waiting;
        insert_behind(waiting, (arrival, waiter), |(other, _)| *other < arrival);
    }
}

impl State {
    /// Wakes those for whom there may be room of any kind for a message.
    pub(super) fn wake_for_all_room(&mut self) {
        self.wake_for_room(Room::Log);
        self.wake_for_room(Room::Store);
    }

    /// Wakes those for whom there may be such room.
    #[inline]
    pub(super) fn wake_for_room(&mut self, room: Room) {
        if let Some(durable) = &self.durable {
            durable.room();
        }
        match room {
            Room::AtMostOnce | Room::AtLeastOnce | Room::ExactlyOnce => {}
            // How much each needs shows when it tries: one after the other.
            Room::Log | Room::Requests | Room::Store => self.lines.wake(room, 1),
        }
        self.admit_queued();
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
        mut enter: impl FnMut(&mut State, Arrival) -> Result<Result<T, Room>, E>,
    ) -> Result<T, E> {
        let arrival = self.state().lines.arrive();
        loop {
            self.wait_for_room(room, arrival).map_err(&refused)?;
            let mut state = self.state();
            let is_behind = match room {
                Room::Log => state.stored_needs_log(),
                Room::Requests => {
                    state.lines.comes_before(Room::Log, arrival) || state.stored_needs_log()
                }
                Room::Store | Room::AtMostOnce | Room::AtLeastOnce | Room::ExactlyOnce => false,
            };
            let entered = if is_behind && state.refusal().is_none() {
                Ok(Err(Room::Log))
            } else {
                enter(&mut state, arrival)
            };
            if !matches!(entered, Ok(Err(other)) if other == room) {
                state.wake_for_room(room);
                // That may have let messages of the queue go.
                self.wake.set();
            }
            match entered? {
                Ok(value) => return Ok(value),
                Err(other) => room = other,
            }
        }
    }

    fn wait_for_room(&self, room: Room, arrival: Arrival) -> Result<(), WaitCause> {
        let token = fiber::prepare()?;
        self.state().lines.insert(room, arrival, token);
        let parked = fiber::park();
        let mut state = self.state();
        let lines = state.lines.lines.as_mut();
        let line = &mut lines.expect("somebody waits")[room as usize];
        match parked {
            Ok(()) => line.woken -= 1,
            Err(stopped) => {
                line.waiting.retain(|(_, waiter)| *waiter != token);
                // There may be room for one that needs less.
                state.wake_for_room(room);
                self.wake.set();
                return Err(stopped.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::Client;
    use super::super::options::ClientOptions;
    use super::super::publish::Publish;
    use super::*;
    use crate::packet::ClientId;

    #[test]
    fn a_place_that_may_be_too_small_for_all_is_shown_to_one_and_each_lets_the_next_look() {
        const WAITING: usize = 10;
        let runtime = fiber::Runtime::builder().paused_clock(true);
        let main = || {
            let options = ClientOptions::new(ClientId::new("meter").unwrap());
            let shared = Rc::new(Shared::new(options.queue_max(100, 10_000), true));
            let client = Client::inside(&shared);
            let publish = |len| client.publish(Publish::to("m", &vec![0; len])).unwrap();
            let (small, large) = (publish(10), publish(9_000));
            let waits = |_| {
                let client = Client::inside(&shared);
                let waits = move || client.publish(Publish::to("m", &[0; 500])).is_ok();
                fiber::spawn(waits).unwrap()
            };
            let mut waiting = Vec::from_iter((0..WAITING).map(waits));
            fiber::yield_now().unwrap();
            let woken = || shared.state().lines.lines.as_ref().unwrap()[0].woken;
            small.abandon().unwrap();
            assert_eq!(woken(), 1);
            fiber::yield_now().unwrap();
            large.abandon().unwrap();
            assert_eq!(woken(), 1);
            for waiting in &mut waiting {
                assert!(waiting.join().unwrap());
            }
        };
        runtime.run(main).unwrap();
    }
}
