//! The fibers of a client with a store: one writes to the disk, one lets go what the disk is sure of,
//! and one gives stored messages their turn.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Canceller, Elapsed, FiberBuilder, Instant, JoinHandle, SpawnError, Stopped};

use super::event::Event;
use super::handler;
use super::link::end_on_panic;
use super::room::Room;
use super::shared::{Shared, State, now};
use super::store_failure::run_store;
use super::turns::feed;
use crate::store::{Report, Store, StorePos, Stored};

/// How long the store may take at the end of its client, all in all.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many messages that wait are asked for at once.
const QUEUED_PART: usize = 512;

/// How many commits in a row may fail at the end of the client.
const LAST_COMMIT_FAILURES_MAX: u32 = 2;

/// The fibers that see to the store of a client, until they are stopped or this is dropped.
pub(super) struct StoreFibers {
    fibers: Vec<JoinHandle<()>>,
    stop: Rc<Stop>,
}

/// Ends them.
#[derive(Default)]
struct Stop {
    is_over: Cell<bool>,
    running: RefCell<Vec<Canceller>>,
}

impl Stop {
    fn stop(&self) {
        self.is_over.set(true);
        for canceller in self.running.take() {
            canceller.cancel();
        }
    }
}

impl Drop for StoreFibers {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl StoreFibers {
    /// Starts the fibers of a client, if it has a store. Without all of them nothing would come of the
    /// store.
    ///
    /// # Errors
    /// One could not be had.
    pub(super) fn start(shared: &Rc<Shared>) -> Result<Option<Self>, SpawnError> {
        let Some(store) = store_of(shared) else {
            return Ok(None);
        };
        let mut started = Self {
            fibers: Vec::new(),
            stop: Rc::default(),
        };
        started.spawn("mqtt-store", shared, &store, run_store)?;
        started.spawn("mqtt-gates", shared, &store, open_gates)?;
        started.spawn("mqtt-feeder", shared, &store, feed)?;
        Ok(Some(started))
    }

    fn spawn(
        &mut self,
        name: &'static str,
        shared: &Rc<Shared>,
        store: &Rc<dyn Store>,
        body: fn(&Rc<Shared>, &dyn Store) -> Result<(), Stopped>,
    ) -> Result<(), SpawnError> {
        let (shared, store) = (Rc::clone(shared), Rc::clone(store));
        let stop = Rc::clone(&self.stop);
        let run = move || {
            end_on_panic(&shared, || {
                let ended = fiber::cancellable(|canceller| {
                    stop.running.borrow_mut().push(canceller.clone());
                    if stop.is_over.get() {
                        return Ok(());
                    }
                    body(&shared, &*store)
                });
                // It ends with the client and never before.
                let _ = ended;
            });
        };
        self.fibers.push(FiberBuilder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Ends them, and waits for that. Yields.
    fn end(mut self, time: &mut LastTime) {
        self.stop.stop();
        let mut fibers = std::mem::take(&mut self.fibers);
        let join = || {
            for fiber in &mut fibers {
                // A panic was told before.
                let _ = fiber.join();
            }
        };
        // One that the disk holds up ends by itself.
        let _ = time.spend(join);
    }
}

/// What is left of the time that the store may take at the end of its client.
pub(super) struct LastTime(Duration);

impl LastTime {
    /// Runs what waits for the disk, and counts how long it takes. Yields as that does.
    fn spend<T>(&mut self, body: impl FnOnce() -> T) -> Result<T, Elapsed<T>> {
        let began = Instant::now();
        let spent = fiber::shield(self.0, body);
        self.0 = self.0.saturating_sub(began.elapsed());
        spent
    }
}

/// Runs `body` with the fibers of the store beside it, and has everything durable at the end; returns
/// how much time is left for what is appended after that.
pub(super) fn with_store<T>(
    shared: &Rc<Shared>,
    fibers: Option<StoreFibers>,
    body: impl FnOnce() -> T,
) -> (T, LastTime) {
    let value = body();
    let mut time = LastTime(LAST_COMMIT_TIMEOUT);
    if let Some(fibers) = fibers {
        fibers.end(&mut time);
    }
    write_the_rest(shared, &mut time);
    (value, time)
}

/// Has everything that was appended written, as far as that goes in time. Yields.
pub(super) fn write_the_rest(shared: &Shared, time: &mut LastTime) {
    let Some(store) = store_of(shared) else {
        return;
    };
    let last = || catch_unwind(AssertUnwindSafe(|| last_commits(&*store)));
    match time.spend(last) {
        Ok(Ok(())) => {}
        Ok(Err(payload)) => {
            log::error!("the store of the client panicked when it was written to the end");
            handler::drop_payload(payload);
        }
        Err(_) => log::warn!("the store of the client was not written to the end in time"),
    }
}

pub(super) fn store_of(shared: &Shared) -> Option<Rc<dyn Store>> {
    let state = shared.state();
    let durable = state.durable.as_ref()?;
    Some(Rc::clone(&durable.store))
}

/// Goes through the messages without an identifier from a position on. As many as a store holds need
/// not be in memory at once.
pub(super) fn each_queued(store: &dyn Store, from: StorePos, mut each: impl FnMut(Stored)) {
    let mut from = from;
    loop {
        let part = store.queued(from, QUEUED_PART);
        let Some(last) = part.last() else {
            return;
        };
        from = last.pos.next();
        part.into_iter().for_each(&mut each);
    }
}

fn last_commits(store: &dyn Store) {
    let mut failures = 0;
    while store.durable() < store.appended() && failures < LAST_COMMIT_FAILURES_MAX {
        let before = store.durable();
        let committed = store.commit();
        failures += u32::from(committed.is_err() || store.durable() == before);
    }
}

/// Lets go what the disk is sure of, after each commit.
fn open_gates(shared: &Rc<Shared>, store: &dyn Store) -> Result<(), Stopped> {
    loop {
        after_commit(shared, store);
        store.wait_commit()?;
    }
}

/// Lets go what the disk is sure of, and tells what went wrong.
pub(super) fn after_commit(shared: &Shared, store: &dyn Store) {
    {
        let mut state = shared.state();
        state.open_gates(now());
        state.wake_for_room(Room::Store);
        state.onlookers.wake_all();
        tell_reports(&mut state, store);
        state.tell_store_failure();
    }
    shared.wake.set();
}

fn tell_reports(state: &mut State, store: &dyn Store) {
    let ours = state
        .durable
        .as_mut()
        .map(|it| std::mem::take(&mut it.reports));
    for report in ours.into_iter().flatten() {
        tell(state, report);
    }
    while let Some(report) = store.next_report() {
        tell(state, report);
    }
}

/// Tells the program of something about the store.
pub(super) fn tell(state: &mut State, report: Report) {
    log::warn!("the message store: {report}");
    state.events.push(Event::Store { report });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{PacketId, QoS};
    use crate::store::{Memory, MessageRecord, Record};

    #[test]
    fn of_more_messages_than_are_asked_for_at_once_each_comes_once() {
        let store = Memory::default();
        let message = MessageRecord {
            key: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            published: 0,
            expires: 0,
            topic: "m",
            payload: b"",
        };
        for packet_id in 1..4 * QUEUED_PART as u16 {
            let message = store.append(&Record::Publish(message)).unwrap();
            // They do not lie one after the other.
            if packet_id % 3 == 0 {
                let packet_id = PacketId::new(packet_id).unwrap();
                let assigned = Record::Assigned { message, packet_id };
                store.append(&assigned).unwrap();
            }
        }
        let expected = store.recovered().queued;
        assert!(expected.len() > 2 * QUEUED_PART);
        for skipped in [0, 1, QUEUED_PART] {
            let mut found = Vec::new();
            each_queued(&store, expected[skipped].pos, |stored| found.push(stored));
            assert_eq!(found, expected[skipped..]);
        }
    }

    #[test]
    fn the_time_at_the_end_is_one_for_all_that_waits_for_the_disk() {
        let runtime = fiber::Runtime::builder().paused_clock(true);
        let main = || {
            let began = Instant::now();
            let mut time = LastTime(LAST_COMMIT_TIMEOUT);
            let part = LAST_COMMIT_TIMEOUT / 2;
            let mut wait = |takes| time.spend(|| fiber::sleep(takes)).is_ok();
            assert!(wait(part));
            assert!(!wait(LAST_COMMIT_TIMEOUT));
            assert!(!wait(part));
            assert_eq!(began.elapsed(), LAST_COMMIT_TIMEOUT);
            // What needs not wait is done all the same.
            assert_eq!(time.spend(|| 7).ok(), Some(7));
        };
        runtime.run(main).unwrap();
    }
}
