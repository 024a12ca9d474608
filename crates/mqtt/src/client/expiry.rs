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
            look_again(shared);
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

/// Has the fiber that watches look again, if there is one.
pub(super) fn look_again(shared: &Shared) {
    if let Some(expiry) = shared.expiry.get() {
        expiry.set();
    }
}

/// The body of the fiber that watches.
fn run(shared: &Rc<Shared>) {
    let _ended = EndWatch(shared);
    while let Some(at) = next(shared) {
        let waited = match at {
            Next::AfterOthers => fiber::yield_now(),
            Next::At(at) => wait(shared, at),
        };
        if waited.is_err() {
            return;
        }
    }
}

/// When to look again.
enum Next {
    At(Instant),
    /// Others have had their turn.
    AfterOthers,
}

/// Lets go of what is too old; returns when to look again, if at all.
fn next(shared: &Rc<Shared>) -> Option<Next> {
    shared.expiry.clear();
    let next = {
        let mut state = shared.state();
        let has_more = state.expire_queued(shared, now());
        let is_watched = !state.is_up() && !state.over;
        let at = is_watched.then(|| state.next_expiry()).flatten();
        at.map(|at| match has_more {
            true => Next::AfterOthers,
            false => Next::At(Instant::from_nanos(at.0)),
        })
    };
    link::wake_threads(shared);
    next
}

fn wait(shared: &Shared, at: Instant) -> Result<(), Stopped> {
    match fiber::select(&[&*shared.expiry], Some(at)) {
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

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::super::Client;
    use super::super::admission::EXPIRED_PER_TURN_MAX;
    use super::super::options::ClientOptions;
    use crate::packet::{ClientId, QoS};
    use crate::store::{Memory, MessageRecord, Record, Store};

    #[test]
    fn messages_that_are_found_too_old_expire_at_once_and_let_others_run() {
        const COUNT: u64 = 20_000;
        /// The feeder, the fiber that watches, and the one that waits for a connection.
        const FIBERS: u64 = 3;
        let store = Memory::default();
        let message = MessageRecord {
            key: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            published: 0,
            expires: 1,
            topic: "m",
            payload: b"",
        };
        for _ in 0..COUNT {
            store.append(&Record::Publish(message)).unwrap();
        }
        let main = move || {
            let options = ClientOptions::new(ClientId::new("meter").unwrap());
            let dial = || {
                let refused = std::io::ErrorKind::ConnectionRefused.into();
                let phase = safe_rt::Phase::Connect;
                Err(safe_rt::Error::new(phase, "broker", refused))
            };
            let client = Client::open_by(dial, options.store(store)).unwrap();
            let (mut before, mut turns) = (0, 0);
            // No time passes while somebody runs.
            while before < COUNT {
                let expired = client.stats().expired;
                let in_turn = expired - before;
                assert!(in_turn <= FIBERS * EXPIRED_PER_TURN_MAX as u64, "{in_turn}");
                before = expired;
                turns += 1;
                assert!(turns < COUNT, "the rest is forgotten: {before}");
                fiber::yield_now().unwrap();
            }
            assert_eq!(client.unacknowledged(), 0);
        };
        let runtime = fiber::Runtime::builder().paused_clock(true);
        runtime.run(main).unwrap();
    }
}
