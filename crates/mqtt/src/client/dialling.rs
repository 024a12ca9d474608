//! One attempt to get a transport. Meanwhile the client goes on with its other duties: so it is made on a
//! fiber of its own, where a function of the program that does not return holds up nothing but that
//! fiber. Only a dial that does nothing but connect needs none: there is one thing to wait for.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, Instant, JoinError, JoinHandle, Source, Stopped};
use safe_rt::{
    BackoffOptions, ClockFloor, Connecting, DIAL_TIMEOUT_DEFAULT, DialOptions, Endpoint, Phase,
    Socket, begin_dial,
};

use super::clock::ClockWatch;
use super::error::EndCause;
use super::handler;
use super::link::{STARVED_RETRY, run_user_code};
use super::settings::Settings;
use super::shared::{Shared, now};

/// How long a dial that was cancelled may take to return when the client ends.
const DIAL_CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// How many times as long as an answer to PINGREQ may take the kernel waits for the peer's kernel.
const USER_TIMEOUT_FACTOR: u32 = 2;
/// Bytes up to which the kernel takes more than it has sent: a PINGREQ is not far behind them.
const NOT_SENT_BYTES_MAX: u32 = 16 * 1024;

/// A function of the program that connects.
type Connect = Box<dyn FnMut() -> Result<Socket, safe_rt::Error>>;

/// Makes connections.
pub(super) struct Dialler {
    to: To,
    clock: ClockWatch,
}

/// What is connected to.
enum To {
    /// This endpoint, which has number 0, and the fallbacks of the client's options.
    Endpoints(Endpoint),
    /// What a function of the program connects to; it is away while a fiber runs it.
    Function(Rc<Cell<Option<Connect>>>),
}

impl Dialler {
    /// One for an endpoint and the fallbacks of the client's options.
    pub(super) fn to(endpoint: &Endpoint, clock: ClockWatch) -> Self {
        let to = To::Endpoints(endpoint.clone());
        Self { to, clock }
    }

    /// One that calls a function of the program.
    pub(super) fn by(connect: Connect) -> Self {
        Self {
            to: To::Function(Rc::new(Cell::new(Some(connect)))),
            clock: ClockWatch::default(),
        }
    }

    /// How many endpoints there are.
    pub(super) fn endpoints(&self, shared: &Shared) -> usize {
        match self.to {
            To::Endpoints(_) => 1 + shared.options.fallbacks.len(),
            To::Function(_) => 1,
        }
    }

    /// Asks for credentials, if they are asked for, and dials the endpoint of this number. Yields
    /// until that is done, the client is left or a pause begins.
    #[inline(never)]
    pub(super) fn dial(&self, shared: &Rc<Shared>, number: usize) -> Result<Socket, EndCause> {
        if let Some(event) = self.clock.look() {
            shared.state().events.push(event);
        }
        let ask = shared.state().login.ask.clone();
        if ask.is_none()
            && let To::Endpoints(first) = &self.to
            && let Some(begun) = begin(endpoint(first, shared, number), shared)
        {
            return finish(shared, begun.map_err(EndCause::Dial)?);
        }
        let limit = shared.options.connect_timeout;
        // Not the client: what does not return must not keep its store.
        let attempt = self.to.attempt(shared, number);
        let attempt = move || {
            let asked = ask.map(|ask| ask.credentials(limit)).transpose();
            let credentials = asked.map_err(EndCause::Credentials)?;
            match catch_unwind(AssertUnwindSafe(|| attempt.dial())) {
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
                let login = Rc::make_mut(login);
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

impl To {
    /// What is to be dialled for this number.
    fn attempt(&self, shared: &Shared, number: usize) -> Attempt {
        match self {
            Self::Endpoints(first) => {
                let endpoint = endpoint(first, shared, number).clone();
                let options = shared.dial_options();
                Attempt::Endpoint(Box::new((endpoint, options)))
            }
            Self::Function(place) => Attempt::Function(Rc::clone(place)),
        }
    }
}

impl Shared {
    fn dial_options(&self) -> DialOptions {
        self.options.dial_options(self.state().login.keep_alive)
    }
}

impl Settings {
    /// How connections are made with this keep-alive. An idle link that PINGREQ tries is not tried by the kernel as
    /// well, which would wake a radio for it, unless the program has chosen that.
    pub(super) fn dial_options(&self, keep_alive: Duration) -> DialOptions {
        let options = self.dial.as_deref().cloned().unwrap_or_default();
        if self.ping_after.is_some() || !keep_alive.is_zero() {
            options.keep_alive_unless_chosen(None)
        } else {
            options
        }
    }

    /// The earliest time that it can be, see [`DialOptions::clock_floor`].
    pub(super) fn clock_floor(&self) -> Option<ClockFloor> {
        self.dial.as_deref()?.clock_floor().cloned()
    }

    pub(super) fn backoff_options(&self) -> BackoffOptions {
        self.backoff.as_deref().copied().unwrap_or_default()
    }
}

/// One attempt, with all that it needs.
enum Attempt {
    Endpoint(Box<(Endpoint, DialOptions)>),
    Function(Rc<Cell<Option<Connect>>>),
}

impl Attempt {
    fn dial(&self) -> Result<Socket, safe_rt::Error> {
        match self {
            Self::Endpoint(what) => safe_rt::dial(&what.0, &what.1),
            Self::Function(place) => {
                /// Puts the function back, also where it panics.
                struct Away<'a>(&'a Cell<Option<Connect>>, Option<Connect>);
                impl Drop for Away<'_> {
                    fn drop(&mut self) {
                        self.0.set(self.1.take());
                    }
                }
                let mut away = Away(place, place.take());
                let connect = away.1.as_mut().expect("one attempt at a time");
                connect()
            }
        }
    }
}

fn endpoint<'a>(first: &'a Endpoint, shared: &'a Shared, number: usize) -> &'a Endpoint {
    match number.checked_sub(1) {
        None => first,
        Some(fallback) => &shared.options.fallbacks[fallback],
    }
}

/// Begins an attempt that needs no fiber of its own, where it is such a one.
#[inline(never)]
fn begin(endpoint: &Endpoint, shared: &Shared) -> Option<Result<Connecting, safe_rt::Error>> {
    begin_dial(endpoint, &shared.dial_options())
}

/// Waits for the end of an attempt that needs no fiber of its own.
fn finish(shared: &Rc<Shared>, mut attempt: Connecting) -> Result<Socket, EndCause> {
    let until = Instant::now() + DIAL_TIMEOUT_DEFAULT;
    loop {
        shared.wake.clear();
        let stopped = if shared.is_leaving() || shared.state().standby.pause().is_some() {
            Some(Stopped::Cancelled)
        } else {
            (until <= Instant::recent()).then_some(Stopped::TimedOut)
        };
        if let Some(stopped) = stopped {
            return Err(EndCause::Dial(attempt.give_up(stopped)));
        }
        if let Err(error) = go_on(shared, &attempt.ended(), Some(until)) {
            let _counted = attempt.give_up(Stopped::Cancelled);
            return Err(EndCause::Transport(error));
        }
        match attempt.finish().map_err(EndCause::Dial)? {
            Ok(socket) => return Ok(socket),
            Err(unfinished) => attempt = unfinished,
        }
    }
}

/// Waits for the end of an attempt on a fiber.
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
        if let Err(error) = go_on(shared, attempt, until) {
            attempt.cancel();
            return Err(EndCause::Transport(error));
        }
    }
    Ok(())
}

/// Sees to the other duties of the client, and waits until there may be more of them, the attempt may
/// have ended, or until then.
fn go_on(shared: &Rc<Shared>, attempt: &dyn Source, until: Option<Instant>) -> io::Result<()> {
    let (more, deadline) = {
        let mut state = shared.state();
        let more = state.tick(shared, now());
        (more, state.deadline().map(|at| Instant::from_nanos(at.0)))
    };
    let retry = run_user_code(shared).then(|| Instant::now() + STARVED_RETRY);
    if more {
        return Ok(fiber::yield_now()?);
    }
    let times = [until, deadline, retry].into_iter().flatten();
    fiber::select(&[attempt, &shared.wake], times.min()).map(drop)
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

#[cfg(test)]
mod tests {
    use safe_rt::{Listener, Scheme, TcpKeepAlive};

    use super::*;
    use crate::client::{Client, ClientOptions};
    use crate::packet::ClientId;

    #[test]
    fn the_kernel_probes_what_pingreq_does_not_try() {
        let chosen = || DialOptions::new().keep_alive(Some(TcpKeepAlive::default()));
        let own = || DialOptions::new().nodelay(false);
        let fresh = || ClientOptions::new(ClientId::new("a").expect("a name"));
        let without = || fresh().keep_alive(Duration::ZERO);
        let pinged = || without().ping_after(Duration::from_secs(60));
        let cases = [
            (fresh(), false),
            (fresh().dial(own()), false),
            (fresh().dial(chosen()), true),
            (without(), true),
            (without().dial(own()), true),
            (without().dial(own().keep_alive(None)), false),
            (pinged(), false),
            (pinged().dial(own()), false),
        ];
        let changing = fresh().dial(own());
        fiber::run(|| {
            let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("a port");
            let address = listener.local_addr().expect("an address");
            let endpoint = Endpoint::new(Scheme::Mqtt, &address.to_string()).expect("right");
            let has_probes = |client: &Client| {
                let socket = safe_rt::dial(&endpoint, &client.shared.dial_options());
                let found = socket.expect("a connection").keep_alive();
                found.expect("Linux").is_some()
            };
            for (number, (options, probes)) in cases.into_iter().enumerate() {
                let client = Client::new(options, true);
                assert_eq!(has_probes(&client), probes, "{number}");
            }
            // What is set later holds from the next connection on.
            let client = Client::new(changing, true);
            for (secs, probes) in [(0, true), (60, false), (0, true)] {
                client.set_keep_alive(Duration::from_secs(secs));
                assert_eq!(has_probes(&client), probes, "{secs} s");
            }
        })
        .expect("the runtime ran");
    }
}
