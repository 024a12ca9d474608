//! Stored messages get their turn, in the order in which they were published at their QoS; before
//! them, those that were in flight in an earlier process.
//!
//! A message that cannot be read is read again, later and later, and holds back those behind it. When
//! that has failed for about two minutes while others can be read, it is its part of the disk that is
//! bad, and it is given up like one that is damaged. Where no other can be read that takes about an hour.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Instant, Stopped};

use super::durable::Turn;
use super::feeder::{each_queued, tell};
use super::restore::beyond;
use super::shared::{Shared, State, now};
use crate::packet::QoS;
use crate::session::Limited;
use crate::store::{Report, Store, StorePos, Stored, StoredMessage};

/// How long until a message that could not be read is read again the first time; doubles each time.
const READ_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest such pause.
const READ_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often reading a message may fail before it is given up, if another can be read.
const READ_ATTEMPTS_MAX: u32 = 8;

/// How often reading a message may fail before it is given up in any case: in about an hour. A disk that
/// can be reached again finds it before that, and it does not block the others for ever.
const READ_ATTEMPTS_ALONE_MAX: u32 = 64;

/// Where a message waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Among those that were in flight in an earlier process.
    Again,
    /// Among those of its QoS.
    New(QoS),
}

/// A message that could not be read.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    attempts: u32,
    /// When it is read again.
    until: Instant,
}

/// By message: at most the first of each line.
type Troubles = BTreeMap<StorePos, Trouble>;

/// Gives messages their turn until it is stopped. Yields.
pub(super) fn feed(shared: &Rc<Shared>, store: &dyn Store) -> Result<(), Stopped> {
    let Some(event) = feed_of(shared) else {
        return Ok(());
    };
    let mut troubles = Troubles::new();
    loop {
        // What is due and was not tried waits for something else.
        let recent = Instant::now();
        let pauses = troubles.values().map(|trouble| trouble.until - recent);
        match pauses.filter(|pause| !pause.is_zero()).min() {
            Some(pause) => {
                if let Ok(waited) = fiber::timeout(pause, || event.wait()) {
                    waited?;
                }
            }
            None => event.wait()?,
        }
        event.clear();
        troubles.retain(|pos, _| is_first(shared, *pos));
        shared.state().send_recorded();
        let mut waiting = Vec::new();
        while let Some((line, pos)) = next(shared, &waiting, &troubles) {
            let turn = match store.read(pos) {
                Ok(Some(message)) => {
                    troubles.remove(&pos);
                    if let Some(limited) = beyond_limits(shared, pos, &message) {
                        give_up_unsent(shared, line, pos, &message, limited);
                        // There may be a store full of them.
                        fiber::yield_now()?;
                        Turn::Taken
                    } else {
                        take_turn(shared, line, pos, &message)
                    }
                }
                Ok(None) => {
                    give_up(shared, line, pos);
                    Turn::Taken
                }
                Err(error) => unreadable(shared, store, (line, pos), &error, &mut troubles)?,
            };
            if turn == Turn::Waits {
                // Those of the other QoS need not wait for it.
                waiting.push(line);
            }
        }
        shared.state().send_recorded();
        shared.wake.set();
        if event.is_set() {
            // There may be much that is too old.
            fiber::yield_now()?;
        }
    }
}

fn feed_of(shared: &Shared) -> Option<Rc<fiber::Event>> {
    let state = shared.state();
    let durable = state.durable.as_ref()?;
    Some(Rc::clone(&durable.feed))
}

/// The message that goes first of those that there is room for; none of a line that is `waiting`.
fn next(shared: &Shared, waiting: &[Line], troubles: &Troubles) -> Option<(Line, StorePos)> {
    let mut state = shared.state();
    state.release_restored();
    // What is too old must not get its turn.
    let is_behind = state.expire_queued(shared, now());
    let durable = state.durable.as_ref()?;
    if is_behind {
        durable.feed.set();
        return None;
    }
    let recent = Instant::now();
    let may_go = |line, pos: &StorePos| {
        !waiting.contains(&line) && troubles.get(pos).is_none_or(|it| it.until <= recent)
    };
    if let Some(first) = durable.first_restored().filter(|_| state.is_up()) {
        return may_go(Line::Again, &first.pos).then_some((Line::Again, first.pos));
    }
    let both = [QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter();
    let there = both.filter(|qos| state.has_turn(*qos));
    let first = there.filter_map(|qos| Some((Line::New(qos), durable.first(qos)?)));
    first
        .filter(|(line, pos)| may_go(*line, pos))
        .min_by_key(|(_, pos)| *pos)
}

/// Whether a message is the first of its line.
fn is_first(shared: &Shared, pos: StorePos) -> bool {
    let state = shared.state();
    state.durable.as_ref().is_some_and(|durable| {
        let again = durable.first_restored().map(|restored| restored.pos);
        let of = |qos| durable.first(qos);
        [again, of(QoS::AtLeastOnce), of(QoS::ExactlyOnce)].contains(&Some(pos))
    })
}

fn take_turn(shared: &Shared, line: Line, pos: StorePos, message: &StoredMessage) -> Turn {
    let state = &mut *shared.state();
    let qos = match line {
        Line::Again => {
            let is_taken = state.send_again(pos, message.outgoing());
            return if is_taken { Turn::Taken } else { Turn::Waits };
        }
        Line::New(qos) => qos,
    };
    let durable = state.durable.as_ref();
    if durable.is_none_or(|durable| !durable.is_next(qos, pos)) {
        // It got another place while it was read.
        return Turn::Taken;
    }
    state.take_turn(message.outgoing(), now())
}

/// What the broker is known not to take of a message that an earlier client left; those of this one
/// were checked when they were published.
fn beyond_limits(shared: &Shared, pos: StorePos, message: &StoredMessage) -> Option<Limited> {
    let limited = beyond(&shared.options, message.outgoing())?;
    shared.state().is_found(pos).then_some(limited)
}

/// Gives a message up that the broker would not take, and tells.
fn give_up_unsent(
    shared: &Shared,
    line: Line,
    pos: StorePos,
    message: &StoredMessage,
    limited: Limited,
) {
    if !is_first(shared, pos) {
        // It expired, or was dropped or withdrawn, while it was read.
        return;
    }
    let mut state = shared.state();
    state.tell_unsendable(message.outgoing().topic, limited.into());
    match line {
        Line::Again => {
            let limits = shared.options.server_limits.as_ref();
            let has_qos_2 = limits.is_none_or(|it| it.highest_qos() == QoS::ExactlyOnce);
            state.give_up_restored(pos, has_qos_2);
        }
        Line::New(qos) => state.give_up_first(qos, pos),
    }
}

fn unreadable(
    shared: &Shared,
    store: &dyn Store,
    (line, pos): (Line, StorePos),
    error: &io::Error,
    troubles: &mut Troubles,
) -> Result<Turn, Stopped> {
    if let Some(stopped) = fiber::cause(error) {
        return Err(stopped);
    }
    let attempts = troubles.get(&pos).map_or(0, |trouble| trouble.attempts) + 1;
    let is_damaged = error.kind() == io::ErrorKind::InvalidData
        || attempts >= READ_ATTEMPTS_ALONE_MAX
        || (attempts >= READ_ATTEMPTS_MAX && reads_another(store, pos)?);
    if is_damaged {
        troubles.remove(&pos);
        give_up(shared, line, pos);
        return Ok(Turn::Taken);
    }
    tell(&mut shared.state(), Report::ReadFailed(error.kind()));
    let pause = READ_PAUSE_MIN.saturating_mul(1 << (attempts - 1).min(16));
    let until = Instant::now() + pause.min(READ_PAUSE_MAX);
    troubles.insert(pos, Trouble { attempts, until });
    Ok(Turn::Waits)
}

/// Whether the disk can read, which another message shows.
fn reads_another(store: &dyn Store, pos: StorePos) -> Result<bool, Stopped> {
    let recovered = store.recovered_in_part();
    let rest = recovered.end();
    let mut other = None;
    // The last one lies furthest from it.
    let mut note = |stored: Stored| other = Some(stored.pos).filter(|it| *it != pos).or(other);
    let known = recovered.in_flight.into_iter().chain(recovered.queued);
    known.for_each(&mut note);
    each_queued(store, rest, note);
    let Some(other) = other else {
        return Ok(false);
    };
    match store.read(other) {
        Ok(found) => Ok(found.is_some()),
        Err(error) => fiber::cause(&error).map_or(Ok(false), Err),
    }
}

/// Gives a message up that cannot be read, and tells.
fn give_up(shared: &Shared, line: Line, pos: StorePos) {
    if !is_first(shared, pos) {
        // It expired, or was dropped or withdrawn, while it was read.
        return;
    }
    let state: &mut State = &mut shared.state();
    tell(state, Report::MessageDamaged { message: pos });
    match line {
        Line::Again => state.give_up_restored(pos, true),
        Line::New(qos) => state.give_up_first(qos, pos),
    }
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::super::Client;
    use super::super::options::ClientOptions;
    use super::super::publish::Publish;
    use super::*;
    use crate::packet::ClientId;
    use crate::store::Memory;

    #[test]
    fn what_expires_before_a_turn_leaves_its_place_to_who_waits_for_it() {
        let runtime = fiber::Runtime::builder().paused_clock(true);
        let main = || {
            let options = ClientOptions::new(ClientId::new("meter").unwrap());
            let options = options.store(Memory::default()).queue_max(1, usize::MAX);
            let shared = Rc::new(Shared::new(options, true));
            // Nobody else is to notice.
            shared.state().expiry_is_watched = true;
            let client = Client::inside(&shared);
            let expiring = Publish::to("m", "old").expires_after(Duration::from_secs(1));
            client.publish(expiring).unwrap();
            let waits = move || client.publish(Publish::to("m", "new")).is_ok();
            let mut waiting = fiber::spawn(waits).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(next(&shared, &[], &Troubles::new()), None);
            assert!(waiting.join().unwrap());
        };
        runtime.run(main).unwrap();
    }
}
