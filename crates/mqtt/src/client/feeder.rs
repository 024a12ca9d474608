//! The fibers of a client with a store: one writes to the disk, one lets go what the disk is sure of,
//! and one gives stored messages their turn.

use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, Stopped};

use super::event::Event;
use super::room::Room;
use super::shared::{Shared, State, now};
use super::turns::feed;
use crate::store::{Report, Store};

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
