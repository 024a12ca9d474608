//! Who notices that a message got too old while there is no connection.
//!
//! With one the driver does, whose next deadline counts the message that expires first. Without one
//! there may be no fiber of the client, or it dials: so one more watches, while there is something to
//! watch for.

use std::rc::Rc;

use fiber::{FiberBuilder, Instant, Stopped};

use super::link;
use super::shared::{Shared, now};

/// Starts the fiber that watches, or has it look again. Does not yield.
pub(super) fn watch(shared: &Rc<Shared>) {
    {
        let mut state = shared.state();
        if state.is_up() || state.over || state.next_expiry().is_none() {
            return;
        }
        if state.expiry_is_watched {
            shared.expiry.set();
            return;
        }
        state.expiry_is_watched = true;
    }
    let watched = Rc::clone(shared);
    let spawned = FiberBuilder::new()
        .name("mqtt-expiry")
        .spawn(move || run(&watched));
    if let Err(error) = spawned {
        shared.state().expiry_is_watched = false;
        // They expire when there is a connection.
        log::warn!("no fiber watches for messages that get too old: {error}");
    }
}

/// The body of the fiber that watches.
fn run(shared: &Rc<Shared>) {
    let _ended = EndWatch(shared);
    while let Some(at) = next(shared) {
        if wait(shared, at).is_err() {
            return;
        }
    }
}

/// Lets go of what is too old; returns when to look again, if at all.
fn next(shared: &Rc<Shared>) -> Option<Instant> {
    shared.expiry.clear();
    let at = {
        let mut state = shared.state();
        state.expire_queued(now());
        state.admit_queued();
        let is_watched = !state.is_up() && !state.over;
        is_watched.then(|| state.next_expiry()).flatten()
    };
    link::wake_threads(shared);
    at.map(|at| Instant::from_nanos(at.0))
}

fn wait(shared: &Shared, at: Instant) -> Result<(), Stopped> {
    match fiber::select(&[&shared.expiry], Some(at)) {
        Ok(_) => Ok(()),
        Err(error) => Err(fiber::cause(&error).unwrap_or(Stopped::Cancelled)),
    }
}

struct EndWatch<'a>(&'a Rc<Shared>);

impl Drop for EndWatch<'_> {
    fn drop(&mut self) {
        self.0.state().expiry_is_watched = false;
    }
}
