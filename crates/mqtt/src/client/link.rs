//! From one connection to the next: who dials, when, and what the end of a connection means.
//!
//! ```text
//!                 ┌──────────── wait (standby) ◄───────────────┐
//!   open ──► dial ─► CONNECT ─► driver until the connection ends ─► attach
//!   over ─────────► CONNECT ─► driver until the connection ends ─► end, until a connection is given
//! ```
//! The client of [`Client::open`] never gives up: no error ends its trying, only being closed or
//! let go, or the end of the runtime.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fiber::Instant;
use safe_rt::{Class, Socket};

use super::course::Course;
use super::dialling::{self, Dialler};
use super::driver::{self, Driver, Served};
use super::error::EndCause;
use super::event::{self, Event};
use super::expiry;
use super::feeder::{self, StoreFibers};
use super::handler;
use super::lasting::is_lasting;
use super::leave::finish;
use super::remote;
use super::shared::{Shared, State};
use super::ticket::Outcome;
use crate::packet::ConnectReason;
use crate::seldom::Seldom;
use crate::session::{CloseCause, Fate, Output};
use crate::store::DoneCause;
use crate::time::Time;

/// How long until another fiber is tried for user code that got none.
pub(super) const STARVED_RETRY: Duration = Duration::from_millis(100);

/// The body of the fiber of a client over one connection.
pub(super) fn serve_one(shared: &Rc<Shared>, socket: Socket) {
    end_on_panic(shared, || serve_connection(shared, socket));
}

fn serve_connection(shared: &Rc<Shared>, socket: Socket) {
    let Served {
        cause, up, address, ..
    } = *driver::drive(Driver::new(shared, socket));
    let cause = Arc::new(cause);
    if up.is_some() || !matches!(*cause, EndCause::Closed) {
        tell_of_end(shared, (up.is_some(), address), &cause, None);
    }
    // Nobody can give a connection to a client that is being closed.
    if shared.state().closing || is_final(shared, &cause) {
        finish(shared, cause);
    } else {
        between_connections(shared, Some(cause));
    }
    let _told = event::tell(shared);
    handle_the_rest(shared);
}

/// The body of the fiber of a client that makes its connections itself.
pub(super) fn serve(serving: &mut Serving, store: Option<Box<StoreFibers>>) {
    let store = store.map(|store| *store);
    let Serving {
        shared,
        dialler,
        course,
    } = serving;
    let shared = &*shared;
    end_on_panic(shared, || {
        let serve = || stay_connected(shared, dialler, course);
        let (cause, mut time) = feeder::with_store(shared, store, serve);
        finish(shared, cause);
        handle_the_rest(shared);
        feeder::write_the_rest(shared, &mut time);
    });
}

/// What that fiber is given. In a box: what a fiber begins with lies several times on its stack.
pub(super) struct Serving {
    pub(super) shared: Rc<Shared>,
    pub(super) dialler: Dialler,
    pub(super) course: Course,
}

/// Makes one connection after the other until there is a reason to end. Below this lies the stack of each
/// connection, which is to be one page: what is done between two of them is done elsewhere.
fn stay_connected(shared: &Rc<Shared>, dialler: &Dialler, course: &mut Course) -> Arc<EndCause> {
    loop {
        if let Err(cause) = course.wait(shared) {
            return cause;
        }
        let began = Instant::now();
        let served = connect(shared, dialler, course.turn.endpoint);
        if let Err(cause) = course.go_on(shared, served, began) {
            return cause;
        }
    }
}

/// Makes one connection and serves it until it ends.
fn connect(shared: &Rc<Shared>, dialler: &Dialler, endpoint: usize) -> Box<Served> {
    match begin(shared, dialler, endpoint) {
        Ok(driver) => driver::drive(driver),
        Err(cause) => Box::new(Served::failed(cause)),
    }
}

/// Makes a connection, and enters CONNECT for it.
#[inline(never)]
fn begin<'a>(
    shared: &'a Rc<Shared>,
    dialler: &Dialler,
    endpoint: usize,
) -> Result<Box<Driver<'a>>, EndCause> {
    let socket = dialler.dial(shared, endpoint)?;
    if shared.is_leaving() {
        return Err(EndCause::Closed);
    }
    if shared.state().standby.pause().is_some() {
        return Err(EndCause::Paused);
    }
    shared.state().begin(&shared.client_id, false)?;
    shared.state().events.push(Event::Attach);
    dialling::set_options(&socket, shared.state().session.ping_timeout());
    Ok(Driver::new(shared, socket))
}

/// Starts the fibers that user code waits for; returns whether some still does.
#[inline]
pub(super) fn run_user_code(shared: &Rc<Shared>) -> bool {
    let has_some = shared.state().has_user_code();
    has_some && start_user_code(shared)
}

#[cold]
fn start_user_code(shared: &Rc<Shared>) -> bool {
    let starved = handler::start_starved(shared);
    wake_threads(shared);
    let garbage = std::mem::take(&mut shared.state().garbage).into_value();
    let kept = if garbage.is_empty() {
        false
    } else {
        let left = handler::discard(shared, garbage);
        let kept = !left.is_empty();
        shared.state().garbage.extend(left);
        kept
    };
    !event::tell(shared) || starved || kept
}

/// Wakes those of other threads whose messages are settled.
pub(super) fn wake_threads(shared: &Rc<Shared>) {
    let wakers = std::mem::take(&mut shared.state().tickets.wakers);
    for waker in wakers {
        remote::wake(Some(waker));
    }
}

/// What came is handled, also by those for whom there is no fiber yet.
fn handle_the_rest(shared: &Rc<Shared>) {
    while run_user_code(shared) && fiber::sleep(STARVED_RETRY).is_ok() {}
}

/// A random number for the pause; where there is none, the pause is as long as it may be.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    match fiber::random::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => u64::MAX,
    }
}

/// Whether the end of this connection is the end of the client.
pub(super) fn is_final(shared: &Rc<Shared>, cause: &EndCause) -> bool {
    let stopped = match cause {
        // Only who lets go of the client or stops the runtime closes from this side.
        EndCause::Closed => true,
        EndCause::Transport(error) => fiber::cause(error).is_some(),
        // A dial sets limits of its own: what counts is whether this fiber may still wait.
        EndCause::Dial(error) => fiber::cause(error).is_some() && fiber::yield_now().is_err(),
        EndCause::Credentials(error) => {
            fiber::cause(error).is_some() && fiber::yield_now().is_err()
        }
        _ => false,
    };
    stopped || shared.is_leaving()
}

/// How the next attempt is paced: soon, unless nothing suggests that it would end otherwise.
pub(super) fn class(cause: &EndCause) -> Class {
    match cause {
        EndCause::Refused(ConnectReason::ServerUnavailable) => Class::Short,
        EndCause::Refused(_) | EndCause::Argument(_) => Class::Long,
        EndCause::Credentials(error) if error.is_lasting() => Class::Long,
        EndCause::Dial(error) if is_lasting(error) => Class::Long,
        EndCause::Transport(error) if is_lasting(error) => Class::Long,
        _ => Class::Short,
    }
}

pub(super) fn tell_of_end(
    shared: &Rc<Shared>,
    (was_up, address): (bool, Option<SocketAddr>),
    cause: &Arc<EndCause>,
    retry_in: Option<Duration>,
) {
    let cause = Arc::clone(cause);
    let state = &mut *shared.state();
    state.events.push(if let EndCause::Idle = *cause {
        Event::Idle
    } else if was_up {
        Event::Disconnected {
            cause,
            last_sent: state.last_sent,
            last_acked: state.last_acked,
            unanswered: state.unanswered(),
            address,
            retry_in,
        }
    } else {
        Event::ConnectFailed { cause, retry_in }
    });
}

/// Lays the connection to rest; what was not done goes on with the next one. With an `end` none
/// comes by itself, and everyone who waits for one is told.
pub(super) fn between_connections(shared: &Rc<Shared>, end: Option<Arc<EndCause>>) {
    {
        end_connection(&mut shared.state(), end);
    }
    expiry::watch(shared);
}

fn end_connection(state: &mut State, end: Option<Arc<EndCause>>) {
    state.session.connection_lost();
    state.stall = Seldom::new();
    state
        .session
        .attach(&mut state.log)
        .expect("a connection that is lost can be followed by another");
    state.introduced = false;
    while let Some(output) = state.session.next_output() {
        state.carry_over(output);
    }
    if let Some(end) = end {
        state.served = false;
        state.end_by(end);
        state.wake_all();
    }
}

impl State {
    /// Whether [`run_user_code`] has something to do.
    #[inline]
    pub(super) fn has_user_code(&self) -> bool {
        self.subscriptions.has_starved()
            || !self.tickets.wakers.is_empty()
            || self
                .garbage
                .get()
                .is_some_and(|garbage| !garbage.is_empty())
            || self.events.is_due()
    }

    /// Does what is due by now, connected or not. Returns whether there is more than goes in one turn.
    #[must_use]
    pub(super) fn tick(&mut self, shared: &Rc<Shared>, now: Time) -> bool {
        self.turned = now;
        if self.waits_end.is_some_and(|end| end <= now) {
            self.end_waits();
        }
        self.release_early(shared, now, false);
        self.expire_acks(shared, now);
        self.expire_queued(shared, now)
    }

    /// When something is due, connected or not.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Time> {
        let deadline = Time::earlier(self.early_deadline(), self.ack_deadline());
        let deadline = Time::earlier(deadline, self.waits_deadline());
        Time::earlier(deadline, self.next_expiry())
    }

    /// Acts on what the session says of one connection to the next.
    pub(super) fn carry_over(&mut self, output: Output) {
        match output {
            Output::RequestLost { key } => self.ask_again(key),
            Output::SessionLost {
                key,
                fate: Fate::HandedBack { maybe_sent },
            } => self.take_back(key, maybe_sent),
            Output::SessionLost {
                key,
                fate: Fate::GivenUp,
            } if self.durable.is_some() => self.settle_stored(key, DoneCause::SessionLost),
            Output::SessionLost {
                key,
                fate: Fate::GivenUp,
            } => {
                self.tickets.settle(key, Outcome::SessionLost);
                self.wake_for_all_room();
                self.check_drained();
            }
            Output::Throttled => self.events.push(Event::Throttled),
            Output::SessionLost { .. } | Output::Connected { .. } | Output::Closed(_) => {}
        }
    }
}

/// Runs the body of a fiber that serves a client. If it panics the client ends, and is told so: a fiber
/// that unwinds could start none to tell it.
pub(super) fn end_on_panic(shared: &Rc<Shared>, body: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(body)) else {
        return;
    };
    let cause = Arc::new(EndCause::Panicked);
    let was_up = shared.state().is_up();
    tell_of_end(shared, (was_up, None), &cause, None);
    finish(shared, cause);
    // Without a fiber for that it is told to nobody.
    let _told = event::tell(shared);
    resume_unwind(payload);
}

impl EndCause {
    /// What the session's reason to close means.
    pub(super) fn of_close(cause: CloseCause) -> Self {
        match cause {
            CloseCause::Refused(reason) => Self::Refused(reason),
            CloseCause::Disconnected => Self::Closed,
            CloseCause::Rested => Self::Idle,
            cause => Self::Dead(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::Client;
    use super::super::options::ClientOptions;
    use super::*;
    use crate::packet::ClientId;

    #[test]
    fn a_panic_of_the_driver_is_told_to_everyone_who_waits() {
        let end = fiber::run(|| {
            let id = ClientId::new("meter").unwrap();
            let shared = Rc::new(Shared::new(ClientOptions::new(id), false));
            let told = Rc::new(RefCell::new(Vec::new()));
            let noted = Rc::clone(&told);
            Client::inside(&shared).on_event(move |_, event| {
                noted.borrow_mut().push(format!("{event:?}"));
            });
            let driver = Rc::clone(&shared);
            let panics = move || {
                end_on_panic(&driver, || {
                    panic!("a panic of the driver, as this test asks for")
                });
            };
            fiber::spawn(panics).unwrap();
            let end = shared.look_until(|state| state.end.clone()).unwrap();
            while told.borrow().is_empty() {
                fiber::yield_now().unwrap();
            }
            let failed = "ConnectFailed { cause: Panicked, retry_in: None }";
            assert_eq!(*told.borrow(), [failed]);
            end.to_string()
        });
        let text = "the fiber that serves the connection panicked";
        assert_eq!(end.unwrap(), text);
    }
}
