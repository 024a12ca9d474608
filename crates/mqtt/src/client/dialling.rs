//! One attempt to get a transport, on a fiber of its own: the client goes on with its other duties
//! meanwhile, and a function of the program that does not return holds up nothing but that fiber.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, Instant, JoinError, JoinHandle, Source};
use safe_rt::{Phase, Socket};

use super::clock::ClockWatch;
use super::error::EndCause;
use super::handler;
use super::link::{STARVED_RETRY, run_user_code};
use super::shared::{Shared, now};

/// How long a dial that was cancelled may take to return when the client ends.
const DIAL_CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// How many times as long as an answer to PINGREQ may take the kernel waits for the peer's kernel.
const USER_TIMEOUT_FACTOR: u32 = 2;
/// Bytes up to which the kernel takes more than it has sent: a PINGREQ is not far behind them.
const NOT_SENT_BYTES_MAX: u32 = 16 * 1024;

/// The function that dials; it is away while a fiber runs it.
pub(super) struct Dialler<D> {
    dial: Rc<Cell<Option<D>>>,
    clock: ClockWatch,
}

impl<D> Dialler<D>
where
    D: FnMut(usize) -> Result<Socket, safe_rt::Error> + 'static,
{
    pub(super) fn new(dial: D, clock: ClockWatch) -> Self {
        Self {
            dial: Rc::new(Cell::new(Some(dial))),
            clock,
        }
    }

    /// Asks for credentials, if they are asked for, and dials the endpoint of this number. Yields
    /// until that is done, the client is left or a pause begins.
    pub(super) fn dial(&self, shared: &Rc<Shared>, endpoint: usize) -> Result<Socket, EndCause> {
        if let Some(event) = self.clock.look() {
            shared.state().events.push(event);
        }
        let ask = shared.state().login.ask.clone();
        let limit = shared.options.connect_timeout;
        let place = Rc::clone(&self.dial);
        let attempt = move || {
            let asked = ask.map(|ask| ask.credentials(limit)).transpose();
            let credentials = asked.map_err(EndCause::Credentials)?;
            let mut dial = place.take().expect("one attempt at a time");
            let dialled = catch_unwind(AssertUnwindSafe(|| dial(endpoint)));
            place.set(Some(dial));
            match dialled {
                Ok(dialled) => Ok((dialled.map_err(EndCause::Dial)?, credentials)),
                Err(payload) => {
                    handler::drop_payload(payload);
                    Err(panicked())
                }
            }
        };
        let attempt = FiberBuilder::new().name("mqtt-dial").spawn(attempt);
        let mut attempt = match attempt {
            Ok(attempt) => attempt,
            Err(error) => return Err(failed(io::Error::other(error))),
        };
        wait(shared, &attempt)?;
        match attempt.join() {
            Ok(dialled) => {
                let (socket, credentials) = dialled?;
                let login = &mut shared.state().login;
                // The program may have set others meanwhile.
                if let Some(credentials) = credentials.filter(|_| login.ask.is_some()) {
                    login.set_credentials(credentials);
                }
                Ok(socket)
            }
            Err(JoinError::Panicked(payload)) => {
                handler::drop_payload(payload);
                Err(panicked())
            }
            Err(JoinError::Stopped(stopped)) => Err(EndCause::Transport(stopped.into())),
            Err(error) => Err(failed(io::Error::other(error.to_string()))),
        }
    }
}

/// Waits for the end of an attempt.
fn wait<T>(shared: &Rc<Shared>, attempt: &JoinHandle<T>) -> Result<(), EndCause> {
    let mut until = None;
    while !attempt.is_finished() {
        shared.wake.clear();
        let leaving = shared.is_leaving();
        if leaving || shared.state().standby.pause().is_some() {
            attempt.cancel();
        }
        if leaving
            && *until.get_or_insert_with(|| Instant::now() + DIAL_CANCEL_TIMEOUT) <= Instant::now()
        {
            // It goes on by itself, for nothing.
            return Err(EndCause::Closed);
        }
        let (more, deadline) = {
            let mut state = shared.state();
            let more = state.tick(shared, now());
            (more, state.deadline().map(|at| Instant::from_nanos(at.0)))
        };
        let retry = run_user_code(shared).then(|| Instant::now() + STARVED_RETRY);
        let times = [until, deadline, retry].into_iter().flatten();
        let sources: [&dyn Source; 2] = [attempt, &shared.wake];
        let waited = if more {
            fiber::yield_now().map_err(io::Error::from)
        } else {
            fiber::select(&sources, times.min()).map(|_| ())
        };
        match waited {
            Ok(()) => {}
            Err(error) => {
                attempt.cancel();
                return Err(EndCause::Transport(error));
            }
        }
    }
    Ok(())
}

/// Has the kernel notice as well that the link is dead, and keep little that it cannot send.
pub(super) fn set_options(socket: &Socket, ping_timeout: Duration) {
    let set = socket
        .set_user_timeout(ping_timeout * USER_TIMEOUT_FACTOR)
        .and_then(|()| socket.set_not_sent_low_water(NOT_SENT_BYTES_MAX));
    if let Err(error) = set {
        // The clocks of the session notice it without.
        log::debug!("the options of the socket are not set: {error}");
    }
}

fn panicked() -> EndCause {
    failed(io::Error::other("the program's function panicked"))
}

fn failed(error: io::Error) -> EndCause {
    EndCause::Dial(safe_rt::Error::new(Phase::Connect, "the broker", error))
}
