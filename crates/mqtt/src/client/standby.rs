//! What a client that connects by itself does while it has no connection: it waits until the next
//! attempt is due, and keeps its own time meanwhile.
//!
//! ```text
//!   end of a connection ─► delay (backoff) ─► attempt
//!   pause asked for ─────► its end ─► delay (backoff, long) ─► attempt
//!   idle for too long ───► something to do ─► attempt
//! ```

use std::rc::Rc;
use std::time::Duration;

use fiber::{Instant, Selected, Stopped};

use super::Client;
use super::error::EndCause;
use super::event::Event;
use super::link::{STARVED_RETRY, run_user_code};
use super::shared::{Shared, State, now};
use crate::time::Time;

/// What the program asked of a client for the time between two connections.
#[derive(Debug, Default)]
pub(super) struct Standby {
    /// The next attempt is to be made at once.
    pub(super) retry_now: bool,
    /// The client has left for having nothing to do.
    pub(super) resting: bool,
    /// Somebody wants a connection who has nothing to send.
    pub(super) wanted: bool,
    /// No attempt is made before.
    pub(super) paused_until: Option<Instant>,
}

impl Standby {
    /// When the pause ends, while there is one.
    pub(super) fn pause(&mut self) -> Option<Instant> {
        self.paused_until = self.paused_until.filter(|until| *until > Instant::now());
        self.paused_until
    }
}

impl Client {
    /// Tries to connect now, if the client is waiting to do so, or as soon as the least time between
    /// two attempts has passed ([`safe_rt::BackoffOptions::floor`]); also if it has left for having
    /// nothing to do. During a pause it does nothing:
    /// what the server wishes goes first. Does not yield.
    pub fn retry_now(&self) {
        {
            let mut state = self.shared.state();
            state.standby.retry_now = true;
            // What there is need not be made again when it is left.
            state.standby.wanted |= !state.is_up();
        }
        self.shared.wake.set();
    }

    /// Asks the broker whether it is still there, and gives the connection up unless something comes
    /// within `limit`, whatever the transport takes meanwhile: for who has a reason to doubt it, such as
    /// that the machine slept. The client then connects again as after any other end. Where there is no
    /// connection but one could be made, the next attempt is made as by [`Client::retry_now`]. Does not
    /// yield.
    pub fn probe(&self, limit: Duration) {
        let asked = {
            let mut state = self.shared.state();
            let State { session, log, .. } = &mut *state;
            session.probe(now(), log, limit).is_ok()
        };
        if asked {
            self.shared.wake.set();
        } else if !self.shared.state().is_resting() {
            self.retry_now();
        }
    }

    /// Makes no connection for that long; see [`Client::pause_until`].
    pub fn pause_for(&self, length: Duration) {
        self.pause_until(Instant::now() + length);
    }

    /// Makes no connection until then, because the server asks to be left alone: no CONNECT is sent
    /// before, and [`Client::retry_now`] changes nothing about that. Does not yield.
    ///
    /// A connection that there is, or whose CONNECT has been sent, stays: the pause is for the next
    /// one. An attempt that is being made otherwise is ended. After the pause the next attempt waits
    /// for a delay of the long kind ([`safe_rt::BackoffOptions::long_base`]), so that clients that
    /// were told the same do not come back in one wave; [`Client::retry_now`] then ends that one.
    ///
    /// The last call counts: an earlier time shortens the pause, and one that has passed ends it.
    /// [`Event::Paused`] tells of it. Who wants it to outlive the program writes it down. A client of
    /// [`Client::over`] makes no connections by itself and takes no notice.
    pub fn pause_until(&self, until: Instant) {
        let mut state = self.shared.state();
        if state.over || !self.shared.connects {
            return;
        }
        state.standby.paused_until = Some(until);
        if state.standby.pause().is_some() {
            state.events.push(Event::Paused { until });
        }
        self.shared.wake.set();
    }

    /// Until when no connection is made, if [`Client::pause_until`] was called and that time has not come.
    /// Does not yield.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.shared.state().standby.pause()
    }
}

/// Waits until there is something to do that needs a connection; the cause if there will be none.
pub(super) fn rest(shared: &Rc<Shared>) -> Result<(), EndCause> {
    {
        let mut state = shared.state();
        state.standby.resting = true;
        // Those who wait for a connection have it made.
        state.onlookers.wake_all();
    }
    let rested = serve_until(shared, |state| {
        state.wants_connection().then_some(()).ok_or(None)
    });
    shared.state().standby.resting = false;
    rested
}

/// Sees to the client without a connection until `look` says that one is to be made, which is asked
/// whenever something has happened and at the time that it gives; the cause if there will be none.
pub(super) fn serve_until(
    shared: &Rc<Shared>,
    mut look: impl FnMut(&mut State) -> Result<(), Option<Time>>,
) -> Result<(), EndCause> {
    loop {
        shared.wake.clear();
        if shared.is_leaving() {
            return Err(EndCause::Closed);
        }
        let looked = {
            let mut state = shared.state();
            // What is too old needs no connection.
            let more = state.tick(shared, now());
            (!more).then(|| (look(&mut state), state.deadline()))
        };
        let Some((looked, deadline)) = looked else {
            run_user_code(shared);
            fiber::yield_now().map_err(stopped)?;
            continue;
        };
        let Err(again) = looked else {
            return Ok(());
        };
        let retry = run_user_code(shared).then(|| Instant::now() + STARVED_RETRY);
        let times = [deadline, again].into_iter().flatten();
        let times = times.map(|at| Instant::from_nanos(at.0)).chain(retry);
        if let Err(error) = fiber::select(&[&shared.wake], times.min()) {
            return Err(EndCause::Transport(error));
        }
    }
}

/// Waits until the next connection is due, which is in `delay`, or asked for and not too early, or after
/// a pause, which is followed by what `after_pause` gives; the cause if there will be none.
pub(super) fn wait(
    shared: &Rc<Shared>,
    mut after_pause: impl FnMut() -> Duration,
    delay: Duration,
    earliest: Duration,
) -> Result<(), EndCause> {
    let mut due = Instant::now() + delay;
    let earliest = Instant::now() + earliest;
    let mut spread = None;
    let mut paused = None;
    let mut waited = false;
    loop {
        shared.wake.clear();
        if shared.is_leaving() {
            return Err(EndCause::Closed);
        }
        let (more, deadline) = {
            let mut state = shared.state();
            let more = state.tick(shared, now());
            (more, state.deadline().map(|at| Instant::from_nanos(at.0)))
        };
        let starved = run_user_code(shared);
        let retry_now = {
            let standby = &mut shared.state().standby;
            let pause = standby.pause();
            let mut delay = || *spread.get_or_insert_with(&mut after_pause);
            match (paused, pause) {
                (_, Some(end)) if paused != pause => due = end + delay(),
                (Some(end), None) if end > Instant::now() => due = Instant::now() + delay(),
                _ => {}
            }
            paused = pause;
            std::mem::take(&mut standby.retry_now) && pause.is_none()
        };
        if retry_now {
            due = due.min(earliest);
        }
        if Instant::now() >= due {
            // An attempt may fail without a wait as well, and others must run.
            let yielded = if waited { Ok(()) } else { fiber::yield_now() };
            return yielded.map_err(stopped);
        }
        if more {
            fiber::yield_now().map_err(stopped)?;
            waited = true;
            continue;
        }
        let retry = starved.then(|| Instant::now() + STARVED_RETRY);
        let times = [Some(due), retry, deadline, paused];
        match fiber::select(&[&shared.wake], times.into_iter().flatten().min()) {
            Ok(Selected::Ready(_) | Selected::Deadline) => waited = true,
            Err(error) => return Err(EndCause::Transport(error)),
        }
    }
}

fn stopped(stopped: Stopped) -> EndCause {
    EndCause::Transport(stopped.into())
}

#[cfg(test)]
mod tests {
    use super::super::options::ClientOptions;
    use super::*;
    use crate::packet::ClientId;

    #[test]
    fn who_waited_for_a_connection_before_the_client_rests_has_it_made() {
        let rested = fiber::run(|| {
            let options = ClientOptions::new(ClientId::new("meter").unwrap());
            let shared = Rc::new(Shared::new(options, true));
            let client = Client::inside(&shared);
            shared.handles.set(1);
            let waits = move || client.wait_connected().is_err();
            fiber::spawn(waits).unwrap();
            fiber::yield_now().unwrap();
            let rested = fiber::timeout(Duration::from_secs(5), || rest(&shared).is_ok());
            // The one that waits is let go.
            super::super::leave::finish(&shared, std::sync::Arc::new(EndCause::Closed));
            rested.is_ok_and(|rested| rested)
        });
        assert!(rested.unwrap());
    }
}
