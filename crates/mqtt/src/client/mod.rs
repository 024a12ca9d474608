//! The client: handles, the driver that owns the connection, tickets and handlers.
//!
//! One driver fiber per client owns the socket. Everything the program does goes through what
//! it shares with the handles, and is never borrowed while a fiber waits; so a publish from
//! inside a handler is a publish like any other.

mod driver;
mod error;
mod handler;
mod message;
mod messages;
mod options;
mod publish;
mod read_buffer;
mod request;
mod room;
mod shared;
mod subscribe;
mod subscription;
mod ticket;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fiber::{FiberBuilder, Stopped};
use safe_rt::Socket;

pub use self::error::{EndCause, Error, PublishError, WaitCause, WaitError};
pub use self::message::{Message, Payload, Topic};
pub use self::messages::Messages;
pub use self::options::{
    CONNECT_TIMEOUT_DEFAULT, ClientOptions, EXACTLY_ONCE_WINDOW_DEFAULT, KEEP_ALIVE_DEFAULT,
    MAXIMUM_PACKET_SIZE_DEFAULT, OPERATION_TIMEOUT_DEFAULT, WINDOW_DEFAULT, Will,
};
pub use self::publish::Publish;
pub use self::shared::ClientStats;
pub use self::subscription::{
    HandlerError, INBOUND_BYTES_MAX, QOS_0_QUEUE_BYTES_MAX, QOS_0_QUEUE_MAX, SubscriptionId,
};
pub use self::ticket::{Outcome, Ticket, Wait};

use self::shared::{Shared, State, now};
use crate::packet::{self, Connect, ConnectFields, Properties, Version};
use crate::session::Phase;

/// What a [`Client::close`] left undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// QoS 1 and 2 messages that the broker had not acknowledged. They are lost to this client; the
    /// broker may have them.
    pub unacknowledged: usize,
    /// Bytes that never left.
    pub unsent_bytes: usize,
}

/// A client of one broker, over one connection.
///
/// Clones share it. When the last one is dropped the client leaves in order: what was published
/// is sent, then DISCONNECT, within two seconds (MQTT3-3.14). A handler is given the client; one
/// that captures a clone of its own keeps the connection open.
pub struct Client {
    shared: Rc<Shared>,
    /// The program holds it: it keeps the connection open.
    counted: bool,
    socket: Rc<RefCell<Option<Socket>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.shared.options.client_id)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        self.shared.handles.set(self.shared.handles.get() + 1);
        Self {
            shared: Rc::clone(&self.shared),
            counted: true,
            socket: Rc::clone(&self.socket),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.counted {
            let left = self.shared.handles.get() - 1;
            self.shared.handles.set(left);
            if left == 0 {
                self.shared.wake.set();
                self.end_unconnected();
            }
        }
    }
}

impl Client {
    /// A client over a connection that is there already. Nothing is sent before
    /// [`Client::connect`]. Does not yield.
    #[must_use]
    pub fn over(socket: impl Into<Socket>, options: ClientOptions) -> Self {
        let shared = Rc::new(Shared::new(options));
        shared.handles.set(1);
        Self {
            shared,
            counted: true,
            socket: Rc::new(RefCell::new(Some(socket.into()))),
        }
    }

    /// The handle that handlers get: it does not keep the connection open.
    fn inside(shared: &Rc<Shared>) -> Self {
        Self {
            shared: Rc::clone(shared),
            counted: false,
            socket: Rc::default(),
        }
    }

    /// Sends CONNECT and waits for the broker's answer (MQTT3-3.1). Yields until it is there;
    /// the ambient deadline limits that, and the connect timeout in any case.
    ///
    /// Returns whether the broker had kept a session (MQTT3-3.2.2.2). When the ambient deadline
    /// ends the wait the client goes on connecting until it is closed or dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the broker's reason, [`Error::Argument`] for settings that make no
    /// packet, [`Error::AlreadyConnected`] on a second call or after a close, [`Error::Spawn`] without room for the
    /// driver's fiber, [`Error::Wait`] when the wait ended early or the connection did.
    pub fn connect(&self) -> Result<bool, Error> {
        let options = &self.shared.options;
        let will = options.will.as_ref().map(|will| packet::Will {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: Properties::EMPTY,
        });
        let connect = Connect::new(
            Version::V311,
            ConnectFields {
                client_id: options.client_id.as_str(),
                clean_start: options.clean_start,
                keep_alive_secs: options.keep_alive_secs(),
                will,
                user_name: options.user_name.as_deref(),
                password: options.password.as_deref(),
                ..ConnectFields::default()
            },
        )?;
        let socket = self
            .socket
            .borrow_mut()
            .take()
            .ok_or(Error::AlreadyConnected)?;
        {
            let mut state = self.shared.state();
            if state.session.connect(&connect, now()).is_err() {
                return Err(Error::AlreadyConnected);
            }
        }
        let shared = Rc::clone(&self.shared);
        let driver = FiberBuilder::new()
            .name("mqtt-driver")
            .spawn(move || driver::drive(&shared, socket));
        if let Err(error) = driver {
            self.shared.finish(EndCause::Closed);
            return Err(Error::Spawn(error));
        }
        self.shared.answered.wait()?;
        let state = self.shared.state();
        match (&state.end, state.session.phase()) {
            (Some(end), _) => match **end {
                EndCause::Refused(reason) => Err(Error::Refused(reason)),
                _ => Err(Error::Wait(WaitCause::ConnectionLost(Arc::clone(end)))),
            },
            (None, Phase::Up { session_present }) => Ok(session_present),
            (None, _) => Err(Error::Wait(WaitCause::Closed)),
        }
    }

    /// Whether the broker accepted the connection and it has not ended. Does not yield.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.state().is_up()
    }

    /// Waits for the end of the connection and tells why it ended. Yields until then.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early.
    pub fn ended(&self) -> Result<Arc<EndCause>, Stopped> {
        loop {
            if let Some(end) = &self.shared.state().end {
                return Ok(Arc::clone(end));
            }
            self.shared.ended.wait()?;
        }
    }

    /// What the client did so far. Does not yield.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.shared.state().stats
    }

    /// Leaves in order: takes nothing new, waits up to `timeout` for what was published to be
    /// sent and acknowledged, then sends DISCONNECT and closes the connection (MQTT3-3.14).
    ///
    /// Yields until the connection is closed, which after the `timeout` may take four seconds
    /// more. Other handles find the client closed, and so do calls that wait for room. Handlers
    /// are dropped when they have handled what had come.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when an outer scope ended the wait; the client leaves all the same.
    pub fn close(&self, timeout: Duration) -> Result<Remaining, Stopped> {
        {
            let mut state = self.shared.state();
            state.closing = true;
            state.lines.wake_all();
        }
        let drained = fiber::timeout(timeout, || self.wait_drained());
        let remaining = {
            let mut state = self.shared.state();
            let remaining = Remaining {
                unacknowledged: state.session.unacknowledged(),
                unsent_bytes: state.log.tail().since(state.flushed.max(state.log.head())),
            };
            let State { session, log, .. } = &mut *state;
            session.disconnect(now(), log);
            remaining
        };
        self.shared.wake.set();
        self.end_unconnected();
        match drained {
            Ok(Err(stopped)) => Err(stopped),
            Ok(Ok(())) | Err(_) => {
                self.shared.ended.wait()?;
                Ok(remaining)
            }
        }
    }

    /// Ends a client that never connected: there is no driver to do it.
    fn end_unconnected(&self) {
        let socket = self.socket.borrow_mut().take();
        if socket.is_some() {
            self.shared.finish(EndCause::Closed);
        }
    }

    fn wait_drained(&self) -> Result<(), Stopped> {
        loop {
            let token = fiber::prepare()?;
            {
                let mut state = self.shared.state();
                if state.is_drained() {
                    return Ok(());
                }
                state.close_waiters.push(token);
            }
            let parked = fiber::park();
            let mut state = self.shared.state();
            state.close_waiters.retain(|waiter| *waiter != token);
            parked?;
        }
    }
}
