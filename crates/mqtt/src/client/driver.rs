//! The fiber that owns the connection: it writes what the log holds, reads what comes, keeps the
//! link alive, and ends. What it does about the rare events of the session is in `outputs`.
//!
//! ```text
//!  publishers ─► log ─┐                         ┌─► tickets settled, waiters woken
//!  handlers  ─► acks ─┴─► write ─► [socket] ─► read ─► decode ─► session ─┴─► queues, handler fibers
//! ```
//!
//! Whoever puts bytes into the log sets `wake`, which puts this fiber behind all that are ready;
//! so what a pass of the run queue publishes leaves in one write.

mod holding;
mod leaving;
mod reading;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use fiber::{Instant, Selector, Source};
use safe_rt::Socket;

use self::holding::Hold;
use super::error::EndCause;
use super::inbox::QOS_0_QUEUE_MAX;
use super::link::{self, STARVED_RETRY, run_user_code};
use super::outputs;
use super::oversized::Oversized;
use super::poison::Malformed;
use super::read_buffer::ReadBuffer;
use super::room::Room;
use super::shared::{Shared, State, now};
use crate::outbound_log::LogOffset;
use crate::session::Input;
use crate::time::Time;

/// Bytes written in one turn before the driver looks at what came in.
const WRITE_BYTES_PER_TURN_MAX: usize = 256 * 1024;
/// Messages delivered in one turn: no more than a queue holds, so that a handler that keeps up
/// loses none, however small they are.
const DELIVERIES_PER_TURN_MAX: u64 = QOS_0_QUEUE_MAX as u64 / 2;
/// Reads after writing failed.
const LAST_READS_MAX: u32 = 64;
/// Bytes that a transport may have accepted and not given to the kernel: one TLS record, or one frame
/// of a WebSocket.
const UNFLUSHED_BYTES_MAX: u64 = 16 * 1024;
#[cfg(feature = "tls")]
const _: () = assert!(safe_rt::RECORD_PLAINTEXT_MAX as u64 <= UNFLUSHED_BYTES_MAX);
#[cfg(feature = "ws")]
const _: () = assert!(safe_rt::WS_FRAME_BYTES_MAX as u64 <= UNFLUSHED_BYTES_MAX);
/// Waits from CONNECT or PINGREQ to one that is likely long: that for the answer comes first.
const WAITS_TO_TRIM: u8 = 2;

/// What became of one connection.
pub(super) struct Served {
    /// Why it ended.
    pub(super) cause: EndCause,
    /// When the broker accepted it, if it did.
    pub(super) up: Option<Instant>,
    /// The broker said something after it had accepted it.
    pub(super) answered: bool,
    /// What it sent that is no packet, if that ended it.
    pub(super) malformed: Option<Box<Malformed>>,
    /// Where the other end is.
    pub(super) address: Option<SocketAddr>,
}

impl Served {
    /// A connection that did not come about.
    pub(super) const fn failed(cause: EndCause) -> Self {
        Self {
            cause,
            up: None,
            answered: false,
            malformed: None,
            address: None,
        }
    }
}

/// Serves a connection for which CONNECT was entered until it ends, and closes it.
#[inline(never)]
pub(super) fn drive(mut driver: Box<Driver<'_>>) -> Box<Served> {
    let cause = match driver.run() {
        Ok(never) => match never {},
        Err(cause) => cause,
    };
    driver.end(cause)
}

/// How far [`Driver::write`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// Nothing is left.
    All,
    /// The kernel takes no more.
    Blocked,
    /// It has written enough for one turn.
    Enough,
}

/// What [`Driver::look_around`] found.
enum Look {
    /// There may be something to do beside reading and writing.
    Now,
    /// There will be, then at the earliest.
    Later(Option<Time>),
}

/// One connection of a client, for the fiber that serves it.
pub(super) struct Driver<'a> {
    shared: &'a Rc<Shared>,
    socket: Socket,
    input: ReadBuffer,
    /// There may be whole packets that were read and not handled.
    behind: bool,
    /// A message above the bound that is read past.
    oversized: Option<Box<Oversized>>,
    /// The next message finds no room: nothing is read until there is, and the connection ends at this
    /// time if there is none.
    overrun: Option<Time>,
    /// What waits for acknowledgements.
    hold: Hold,
    /// The next turn writes, whatever it is for; else only one that was asked for by
    /// [`Shared::wake`].
    has_unwritten: bool,
    /// Something may be due earlier than was found when that was looked at last.
    has_changed: bool,
    /// When something is due, as was found then.
    next: Option<Time>,
    /// Nothing can be sent any more.
    is_mute: bool,
    /// DISCONNECT was asked for because no handle is left.
    left: bool,
    /// When it is, whatever still waits to be sent.
    leave_at: Option<Time>,
    /// The transport holds bytes that the kernel has not taken: the rest of a TLS record.
    unflushed: bool,
    /// When the broker accepted the connection.
    up: Option<Instant>,
    /// Bytes came after that.
    answered: bool,
    malformed: Option<Box<Malformed>>,
    /// Of the peer, when it was connected.
    address: Option<SocketAddr>,
    /// Waits until there is likely one that is long; zero where that was.
    waits_to_trim: u8,
    selector: Selector,
}

/// A driver runs until there is a reason to end.
enum Never {}

impl<'a> Driver<'a> {
    /// That of a connection. In a box: what lies beside it on the stack is to be one page.
    pub(super) fn new(shared: &'a Rc<Shared>, socket: Socket) -> Box<Self> {
        Box::new(Self {
            shared,
            // Of a connection that was reset the system does not know it any more.
            address: socket.peer(),
            socket,
            input: ReadBuffer::default(),
            behind: false,
            oversized: None,
            overrun: None,
            hold: Hold::default(),
            has_unwritten: true,
            has_changed: true,
            next: None,
            left: false,
            leave_at: None,
            unflushed: false,
            up: None,
            answered: false,
            is_mute: false,
            malformed: None,
            waits_to_trim: WAITS_TO_TRIM,
            selector: Selector::new(),
        })
    }
}

impl Driver<'_> {
    #[inline(never)]
    fn run(&mut self) -> Result<Never, EndCause> {
        loop {
            let mut written = Written::All;
            if self.shared.wake.is_set() || self.has_unwritten {
                self.shared.wake.clear();
                self.has_changed = true;
                self.leave_if_asked();
                written = match self.write() {
                    Ok(written) => written,
                    Err(cause) => return Err(self.last_words(cause)),
                };
                self.has_unwritten = written != Written::All
                    || self.hold.until().is_some()
                    || self.leave_at.is_some();
            }
            let more = self.may_read() && self.read()?;
            let (more, starved, next) = match self.look_around() {
                Look::Later(next) => (more, false, next),
                Look::Now => {
                    let due = self.tick()?;
                    let starved = run_user_code(self.shared);
                    self.next = self.next_due(&self.shared.state());
                    self.has_changed = false;
                    (more || due, starved, self.next)
                }
            };
            if more || written == Written::Enough {
                // A peer that always has data, or takes all, must not keep the others from
                // running, nor much that is due at once.
                self.stopped(fiber::yield_now())?;
            } else {
                // Reading TLS may leave something to send.
                let flushed = self.socket.try_flush().map_err(EndCause::Transport)?;
                self.has_unwritten |= !flushed;
                if self.waits_to_trim > 0 {
                    self.trim();
                }
                self.wait(written == Written::Blocked || !flushed, starved, next)?;
            }
        }
    }

    /// Closes the connection, which has ended for this.
    #[inline(never)]
    fn end(mut self: Box<Self>, cause: EndCause) -> Box<Served> {
        log::debug!("{}: {cause}", self.shared.client_id.as_str());
        if let Some(oversized) = &mut self.oversized {
            oversized.finish(self.shared);
        }
        let Self {
            shared,
            socket,
            up,
            answered,
            malformed,
            address,
            ..
        } = *self;
        {
            let mut state = shared.state();
            state.left();
            state.end_waits();
        }
        if let EndCause::Idle = cause {
            // What is published while the transport is closed is for the next one, and who waits for a
            // connection is to say so.
            link::between_connections(shared, None);
            shared.state().standby.resting = shared.connects;
        }
        if let EndCause::Closed | EndCause::Idle = cause {
            // The rest of DISCONNECT may still be on its way through TLS. There is nobody to tell of
            // a failure. No scope is around a driver: the socket sets a limit.
            let _ = socket.close();
        } else {
            drop(socket);
        }
        Box::new(Served {
            cause,
            up,
            answered,
            malformed,
            address,
        })
    }

    /// Writes until nothing is left, the kernel takes no more, or the turn has written enough.
    fn write(&mut self) -> Result<Written, EndCause> {
        let mut state = self.shared.state();
        let state = &mut *state;
        let now = now();
        // Those that were finished since the last turn.
        state.session.flush_acks();
        state.session.pace(now, &state.log);
        if !self.unflushed
            && state.session.is_all_sent(&state.log)
            && state.asks.is_empty()
            && state.introduced
            && self.socket.try_flush().map_err(EndCause::Transport)?
        {
            self.hold.end();
            state.flushed_to(state.session.sent());
            state.check_drained();
            outputs::act(self.shared, &mut self.up, state)?;
            return Ok(Written::All);
        }
        let mut written = 0;
        let holds = self.holds(state, now);
        let end = loop {
            if holds {
                break Written::All;
            }
            if !state.asks.is_empty() {
                state.send_asks();
            }
            let mut chunk = state.session.next_chunk(&state.log);
            if chunk.is_empty() {
                break Written::All;
            }
            if written >= WRITE_BYTES_PER_TURN_MAX {
                break Written::Enough;
            }
            chunk = &chunk[..chunk.len().min(WRITE_BYTES_PER_TURN_MAX)];
            match self.socket.try_write(chunk).map_err(EndCause::Transport)? {
                Some(n) => {
                    state.session.advance(n, now, &mut state.log);
                    written += n;
                }
                None => {
                    state.session.write_blocked(now);
                    break Written::Blocked;
                }
            }
        };
        let flushed = self.socket.try_flush().map_err(EndCause::Transport)?;
        if flushed {
            if self.unflushed {
                state.session.progressed(now);
            }
            state.flushed_to(state.session.sent());
            if end == Written::All && !state.introduced {
                state.introduced = true;
                state.onlookers.wake_all();
            }
        } else {
            state.session.write_blocked(now);
            let sent = state.session.sent().0;
            state.flushed_to(LogOffset(sent.saturating_sub(UNFLUSHED_BYTES_MAX)));
        }
        let taken = written > 0 || self.unflushed;
        // Less than that may all be in the transport.
        if (flushed && taken) || written as u64 > UNFLUSHED_BYTES_MAX {
            state.last_sent = Some(Instant::from_nanos(now.0));
        }
        self.unflushed = !flushed;
        if written > 0 {
            state.last_activity = Some(Instant::from_nanos(now.0));
            state.wake_for_room(Room::Log);
            state.session.pace(now, &state.log);
            if end == Written::All && !state.session.next_chunk(&state.log).is_empty() {
                // That made room for what had waited.
                self.shared.wake.set();
            }
        }
        state.check_drained();
        outputs::act(self.shared, &mut self.up, state)?;
        Ok(if flushed { end } else { Written::Blocked })
    }

    /// Looks whether something is due, or to be done in each turn.
    #[inline]
    fn look_around(&mut self) -> Look {
        let mut state = self.shared.state();
        let now = now();
        // An acknowledgement makes nothing due but that a grown log is given back.
        let has_changed = self.has_changed || state.log.has_grown();
        if has_changed {
            self.next = self.next_due(&state);
        }
        if self.next.is_some_and(|at| at <= now)
            || state.may_get_idle()
            || self.overrun.is_some()
            || state.has_user_code()
        {
            return Look::Now;
        }
        state.turned = now;
        if has_changed && state.watch_acks(now) {
            self.next = Time::earlier(self.next, state.ack_deadline());
        }
        self.has_changed = false;
        Look::Later(self.next)
    }

    /// When something is due, beside what only this driver waits for.
    #[inline]
    fn next_due(&self, state: &State) -> Option<Time> {
        let next = Time::earlier(state.session.next_deadline(), state.deadline());
        if state.may_get_idle() && self.may_rest(state) {
            return Time::earlier(next, state.idle.deadline());
        }
        next
    }

    /// Does what is due, and tells the session the time if it waits for that.
    #[cold]
    fn tick(&mut self) -> Result<bool, EndCause> {
        let mut state = self.shared.state();
        let state = &mut *state;
        let now = now();
        if self.overrun.is_some() && self.socket.readable().is_ready() {
            // What waits to be read may be the answer that the link is tried for.
            state.session.received(now);
        }
        let more = state.tick(self.shared, now);
        let _looked_at_again = state.watch_acks(now);
        if self.may_rest(state) && state.is_idle(now) {
            if state.session.rest(now, &state.log) {
                state.left();
                self.shared.wake.set();
            } else if state.idle.is_overdue(now) {
                return Err(EndCause::Idle);
            } else {
                // Something is still on its way out: it is looked at again after the same time.
                state.touch(now);
            }
        }
        if state
            .session
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            state
                .session
                .handle(Input::Timer, now, &mut state.log)
                .map_err(EndCause::Peer)?;
            outputs::act(self.shared, &mut self.up, state)?;
            if state.log.is_empty() {
                self.waits_to_trim = WAITS_TO_TRIM;
            }
            // What the timer asked for is written before the next wait.
            self.shared.wake.set();
        }
        Ok(more)
    }

    /// Whether the connection may be left for having nothing to do; else nobody looks at the time
    /// for that.
    fn may_rest(&self, state: &State) -> bool {
        self.up.is_some() && state.is_up()
    }

    /// Gives back what handling packets has touched of the stack and taken of memory, before the wait
    /// that comes after that for an answer.
    #[cold]
    fn trim(&mut self) {
        self.waits_to_trim -= 1;
        if self.waits_to_trim == 0 {
            self.shared.state().session.give_back();
            fiber::trim_stack();
        }
    }

    fn wait(&mut self, blocked: bool, starved: bool, next: Option<Time>) -> Result<(), EndCause> {
        if blocked {
            // What is known of the socket then is what the kernel tells.
            self.hold.end_rest();
        }
        let mut next = Time::earlier(next, self.hold.until());
        if self.overrun.is_some() || self.leave_at.is_some() || starved {
            next = Time::earlier(next, self.overrun);
            next = Time::earlier(next, self.leave_at.filter(|_| !self.left));
            next = Time::earlier(next, starved.then(|| now() + STARVED_RETRY));
        }
        let deadline = next.map(|at| Instant::from_nanos(at.0));
        let readable = self.socket.readable();
        let writable = self.socket.writable();
        if self.overrun.is_some() {
            // Nothing is read: whether something came is to be known, not guessed.
            readable.watch().map_err(EndCause::Transport)?;
        }
        if !blocked && self.overrun.is_none() {
            if let Some(until) = self.hold.rest_until() {
                let deadline = Time::earlier(next, Some(until)).map(|at| Instant::from_nanos(at.0));
                let waited = self.selector.select(&[&self.shared.wake], deadline);
                return self.waited(waited.map(drop));
            }
            let waited = self
                .selector
                .wait_for_either(&readable, &self.shared.wake, deadline);
            return self.waited(waited);
        }
        // What must be watched stands in the middle.
        let sources: [&dyn Source; 3] = [&readable, &self.shared.wake, &writable];
        let from = usize::from(self.overrun.is_some());
        let to = if blocked { 3 } else { 2 };
        let waited = self.selector.select(&sources[from..to], deadline);
        self.waited(waited.map(drop))
    }

    /// What follows from how a wait ended.
    #[inline]
    fn waited(&mut self, waited: io::Result<()>) -> Result<(), EndCause> {
        match waited {
            Ok(()) => Ok(()),
            Err(error) => match fiber::cause(&error) {
                Some(stopped) => self.stopped(Err(stopped)),
                None => Err(EndCause::Transport(error)),
            },
        }
    }
}
