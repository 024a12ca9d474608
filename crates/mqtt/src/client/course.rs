//! The course of a client that makes its connections itself: when the next one is due, and to whom, after
//! all those that were.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fiber::Instant;
use safe_rt::{Backoff, Class};

use super::dialling::Dialler;
use super::driver::Served;
use super::error::EndCause;
use super::event::Event;
use super::link::{between_connections, class, is_final, random, tell_of_end};
use super::overrun;
use super::poison::{Malformed, Poison};
use super::shared::Shared;
use super::standby;

/// What is known of the connections so far, and when the next one is due.
pub(super) struct Course {
    pub(super) turn: Turn,
    delay: Duration,
    earliest: Duration,
    /// Once a connection has ended, or was not to be made.
    past: Option<Box<Past>>,
}

/// What those that ended say of the next one.
struct Past {
    poison: Poison,
    backoff: Backoff,
}

impl Course {
    pub(super) fn of(shared: &Shared, dialler: &Dialler) -> Self {
        let backoff = Backoff::new(shared.options.backoff_options());
        let delay = if backoff.has_first_delay() {
            backoff.first_delay(random())
        } else {
            Duration::ZERO
        };
        Self {
            turn: Turn::of(dialler.endpoints(shared)),
            delay,
            earliest: Duration::ZERO,
            past: None,
        }
    }

    /// Waits until the next connection is due.
    #[inline(never)]
    pub(super) fn wait(&mut self, shared: &Rc<Shared>) -> Result<(), Arc<EndCause>> {
        let past = &mut self.past;
        let spread = || {
            let backoff = &mut Past::get(past, shared).backoff;
            backoff.next_delay(Class::Long, Duration::MAX, random())
        };
        standby::wait(shared, spread, self.delay, self.earliest).map_err(Arc::new)?;
        let is_elsewhere = self.turn.is_elsewhere();
        shared.state().session.set_elsewhere(is_elsewhere);
        Ok(())
    }

    /// Decides how it goes on after a connection that was begun then; not at all where it returns a cause.
    #[inline(never)]
    #[expect(
        clippy::boxed_local,
        reason = "where this is called it would lie on the stack of each connection"
    )]
    pub(super) fn go_on(
        &mut self,
        shared: &Rc<Shared>,
        served: Box<Served>,
        began: Instant,
    ) -> Result<(), Arc<EndCause>> {
        let served = *served;
        let cause = Arc::new(served.cause);
        if is_final(shared, &cause) {
            if served.up.is_some() && !matches!(*cause, EndCause::Idle) {
                tell_of_end(shared, (true, served.address), &cause, None);
                return Err(cause);
            }
            // What became of the attempt does not matter, nor that there was nothing to do.
            return Err(Arc::new(EndCause::Closed));
        }
        let Past { poison, backoff } = Past::get(&mut self.past, shared);
        let malformed = served.malformed.map(|malformed| *malformed);
        let is_poison = poison.look(malformed, served.up.is_some());
        if is_poison && let Some(Malformed { error, .. }) = malformed {
            shared.state().events.push(Event::PoisonPacket { error });
        }
        if let Some(since) = served.up {
            // That was for an attempt before it.
            shared.state().standby.retry_now = false;
            match *cause {
                EndCause::Idle | EndCause::Overrun { .. } => {
                    backoff.connection_left(since.elapsed(), served.answered);
                }
                // However long it lasted, the next one will end the same way.
                _ => backoff.connection_ended(since.elapsed(), served.answered && !is_poison),
            }
            self.turn.accepted();
        }
        if let EndCause::Idle = *cause {
            shared.state().events.push(Event::Idle);
            standby::rest(shared).map_err(Arc::new)?;
            self.earliest = backoff.earliest(began.elapsed());
            self.delay = self.earliest;
            return Ok(());
        }
        if let EndCause::Overrun { .. } = *cause {
            // The broker did nothing wrong: it is come back to as soon as there is room.
            self.earliest = backoff.earliest(began.elapsed());
            self.delay = self.earliest;
            tell_of_end(shared, (true, served.address), &cause, Some(self.delay));
            between_connections(shared, None);
            return overrun::recover(shared).map_err(Arc::new);
        }
        // Another endpoint has no other credentials.
        let is_ours = matches!(*cause, EndCause::Paused | EndCause::Credentials(_));
        let failed = served.up.is_none() && !is_ours;
        if failed || backoff.is_flapping() {
            self.turn.pass();
        }
        let class = if is_poison {
            Class::Long
        } else {
            class(&cause)
        };
        self.delay = backoff.next_delay(class, began.elapsed(), random());
        self.earliest = backoff.earliest(began.elapsed());
        let pause = shared.state().standby.pause();
        let retry_in = pause.map_or(self.delay, |until| self.delay.max(until - Instant::now()));
        let connection = (served.up.is_some(), served.address);
        tell_of_end(shared, connection, &cause, Some(retry_in));
        between_connections(shared, None);
        Ok(())
    }
}

impl Past {
    fn get<'a>(place: &'a mut Option<Box<Self>>, shared: &Shared) -> &'a mut Self {
        place.get_or_insert_with(|| {
            Box::new(Self {
                poison: Poison::default(),
                backoff: Backoff::new(shared.options.backoff_options()),
            })
        })
    }
}

/// Which endpoint is the next one's turn, and which has the session.
#[derive(Debug)]
pub(super) struct Turn {
    endpoints: usize,
    pub(super) endpoint: usize,
    /// The one that accepted the last connection that was.
    session_at: Option<usize>,
}

impl Turn {
    const fn of(endpoints: usize) -> Self {
        Self {
            endpoints,
            endpoint: 0,
            session_at: None,
        }
    }

    /// Whether the endpoint knows nothing of the session as it is here, whatever it has kept.
    fn is_elsewhere(&self) -> bool {
        self.endpoints > 1 && self.session_at != Some(self.endpoint)
    }

    fn accepted(&mut self) {
        self.session_at = Some(self.endpoint);
    }

    fn pass(&mut self) {
        self.endpoint = (self.endpoint + 1) % self.endpoints;
    }
}
