//! The fibers of a client with a store: one writes to the disk, one lets go what the disk is sure of,
//! and one gives stored messages their turn.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, Stopped};

use super::durable::Turn;
use super::event::Event;
use super::room::Room;
use super::shared::{Shared, State, now};
use crate::packet::QoS;
use crate::store::{Store, StorePos, StoredMessage};

/// How long until a message that could not be read is read again.
const READ_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long the store may take at the end of its client.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many commits in a row may fail at the end of the client.
const LAST_COMMIT_FAILURES_MAX: u32 = 2;

/// Runs `body` with the fibers of the store beside it, and has everything durable at the end.
pub(super) fn with_store<T>(shared: &Rc<Shared>, body: impl FnOnce() -> T) -> T {
    let Some(store) = store_of(shared) else {
        return body();
    };
    let value = fiber::scope(|scope| {
        let spawned = [
            FiberBuilder::new()
                .name("mqtt-store")
                .spawn_scoped(scope, || stopped(store.run())),
            FiberBuilder::new()
                .name("mqtt-gates")
                .spawn_scoped(scope, || stopped(open_gates(shared, &*store))),
            FiberBuilder::new()
                .name("mqtt-feeder")
                .spawn_scoped(scope, || stopped(feed(shared, &*store))),
        ];
        for error in spawned.into_iter().filter_map(Result::err) {
            log::error!("a client with a store lacks one of its fibers: {error}");
        }
        let value = body();
        scope.cancel();
        Ok::<_, Never>(value)
    });
    write_the_rest(shared);
    match value {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Has everything that was appended written, as far as that goes in time. Yields.
pub(super) fn write_the_rest(shared: &Shared) {
    let Some(store) = store_of(shared) else {
        return;
    };
    let last = || last_commits(&*store);
    if fiber::shield(LAST_COMMIT_TIMEOUT, last).is_err() {
        log::warn!("the store of the client was not written to the end in time");
    }
}

enum Never {}

fn stopped(ended: Result<(), Stopped>) -> Result<(), Never> {
    // It ends with the client and never before.
    let _ = ended;
    Ok(())
}

pub(super) fn store_of(shared: &Shared) -> Option<Rc<dyn Store>> {
    let state = shared.state();
    let durable = state.durable.as_ref()?;
    Some(Rc::clone(&durable.store))
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
        {
            let mut state = shared.state();
            state.open_gates(now());
            state.wake_for_room(Room::Store);
            state.onlookers.wake_all();
            tell_reports(&mut state, store);
        }
        shared.wake.set();
        store.wait_commit()?;
    }
}

fn tell_reports(state: &mut State, store: &dyn Store) {
    while let Some(report) = store.next_report() {
        log::warn!("the message store: {report}");
        state.events.push(Event::Store { report });
    }
}

/// Gives messages their turn, in the order in which they were published at their QoS.
fn feed(shared: &Rc<Shared>, store: &dyn Store) -> Result<(), Stopped> {
    let Some(event) = feed_of(shared) else {
        return Ok(());
    };
    loop {
        event.wait()?;
        event.clear();
        shared.state().send_recorded();
        let mut waiting = None;
        while let Some((pos, qos)) = next(shared, waiting) {
            let turn = match store.read(pos) {
                Ok(Some(message)) => take_turn(shared, qos, pos, &message),
                Ok(None) => {
                    shared.state().give_up_first(qos, pos);
                    Turn::Taken
                }
                Err(error) => unreadable(shared, qos, pos, error)?,
            };
            if turn == Turn::Waits {
                if waiting.is_some() {
                    break;
                }
                // Those of the other QoS need not wait for it.
                waiting = Some(qos);
            }
        }
        shared.wake.set();
    }
}

fn feed_of(shared: &Shared) -> Option<Rc<fiber::Event>> {
    let state = shared.state();
    let durable = state.durable.as_ref()?;
    Some(Rc::clone(&durable.feed))
}

/// The message that was published first of those that there is room for; without those of the QoS that
/// is `waiting`.
fn next(shared: &Shared, waiting: Option<QoS>) -> Option<(StorePos, QoS)> {
    let state = shared.state();
    let durable = state.durable.as_ref()?;
    let both = [QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter();
    let there = both.filter(|qos| Some(*qos) != waiting && state.has_turn(*qos));
    let first = there.filter_map(|qos| Some((durable.first(qos)?, qos)));
    first.min_by_key(|(pos, _)| *pos)
}

fn take_turn(shared: &Shared, qos: QoS, pos: StorePos, message: &StoredMessage) -> Turn {
    let mut state = shared.state();
    let is_next = state
        .durable
        .as_ref()
        .is_some_and(|durable| durable.is_next(qos, pos));
    if !is_next {
        // It got another place while it was read.
        return Turn::Taken;
    }
    state.take_turn(message.outgoing(), now())
}

fn unreadable(shared: &Shared, qos: QoS, pos: StorePos, error: io::Error) -> Result<Turn, Stopped> {
    if let Some(stopped) = fiber::cause(&error) {
        return Err(stopped);
    }
    log::error!("a stored message cannot be read: {error}");
    if error.kind() == io::ErrorKind::InvalidData {
        shared.state().give_up_first(qos, pos);
        return Ok(Turn::Taken);
    }
    fiber::sleep(READ_RETRY_PAUSE)?;
    if let Some(durable) = &shared.state().durable {
        durable.room();
    }
    Ok(Turn::Waits)
}
