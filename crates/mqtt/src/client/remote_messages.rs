//! Subscribing from other threads: their messages are handed over one by one.
//!
//! ```text
//!  a thread asks for one ─► a fiber of the client takes it out of the subscription ─► the thread has it
//!         ▲                                                                                │
//!         └──────── the thread asks for the next, and the one before is acknowledged ◄─────┘
//! ```

use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fiber::{FiberBuilder, Stopped, Unparker};

use super::Client;
use super::error::Error;
use super::message::Message;
use super::messages::{Messages, Taken};
use super::remote::{Remote, check_thread};
use super::remote_ticket::RemoteError;
use super::shared::Shared;
use crate::packet::QoS;

/// How long a thread waits before it asks a runtime again that has too much to take note of.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A message that another thread got, with memory of its own (MQTT3-3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteMessage {
    /// The topic name it was published under.
    pub topic: String,
    /// The application message; it may be empty.
    pub data: Vec<u8>,
    /// The quality of service it was delivered with.
    pub qos: QoS,
    /// Whether it was kept by the broker from before the subscription (MQTT3-3.3.1-8).
    pub retain: bool,
    /// Whether the broker may have sent it before (MQTT3-3.3.1-1).
    pub dup: bool,
}

impl From<Message> for RemoteMessage {
    fn from(message: Message) -> Self {
        Self {
            topic: message.topic.to_string(),
            data: message.data.to_vec(),
            qos: message.qos,
            retain: message.retain,
            dup: message.dup,
        }
    }
}

#[derive(Default)]
struct Inner {
    /// What came of subscribing.
    begun: Option<Result<(), RemoteError>>,
    /// The thread wants the next message, and is done with the one before.
    asked: bool,
    message: Option<RemoteMessage>,
    /// The client's fiber, while it waits.
    waiter: Option<Unparker>,
    /// No message comes any more.
    over: bool,
    /// The thread has let go.
    dropped: bool,
}

/// What both sides touch.
#[derive(Default)]
struct Channel {
    inner: Mutex<Inner>,
    /// Something came of what the thread waits for.
    changed: Condvar,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of others runs under this lock, so a poisoned one guards sound data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Blocks until `look` finds something, at most for `timeout` if there is one.
    fn wait<T>(
        &self,
        timeout: Option<Duration>,
        mut look: impl FnMut(&mut Inner) -> Option<T>,
    ) -> Option<T> {
        let mut found = None;
        let nothing = |inner: &mut Inner| {
            found = look(inner);
            found.is_none()
        };
        let inner = self.lock();
        match timeout {
            Some(timeout) => {
                drop(self.changed.wait_timeout_while(inner, timeout, nothing));
            }
            None => drop(self.changed.wait_while(inner, nothing)),
        }
        found
    }
}

/// A subscription that another thread has asked for.
pub(super) struct Ask {
    filter: String,
    qos: QoS,
    channel: Arc<Channel>,
}

/// The messages of a subscription for another thread; see [`Remote::subscribe`]. As an iterator it
/// blocks the thread for each message without a limit, and ends as [`RemoteMessages::recv`] does.
///
/// A QoS 1 or 2 message is acknowledged when the next one is asked for. Dropping this
/// unsubscribes, without waiting for the broker.
pub struct RemoteMessages {
    channel: Arc<Channel>,
    runtime: fiber::Remote,
}

impl fmt::Debug for RemoteMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.channel.lock().over;
        f.debug_struct("RemoteMessages")
            .field("over", &over)
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// Subscribes to a topic filter for this thread (MQTT3-3.8); otherwise as
    /// [`Client::subscribe_iter`]. Blocks the thread until the broker answered, at most for
    /// `timeout`; an answer that comes later counts for nobody, and the filter is unsubscribed. A message
    /// of a thread that waits for room in the client holds it up.
    ///
    /// # Errors
    ///
    /// [`RemoteError::SubscribeRefused`] when the broker refused it, [`RemoteError::Argument`] for what
    /// is no topic filter, [`RemoteError::TimedOut`], [`RemoteError::Full`] without room for a fiber or
    /// where [`REMOTE_MESSAGES_MAX`](super::REMOTE_MESSAGES_MAX) subscriptions wait to be made,
    /// [`RemoteError::Closed`], and [`RemoteError::InRuntime`] on a thread that runs fibers.
    pub fn subscribe(
        &self,
        filter: &str,
        qos: QoS,
        timeout: Duration,
    ) -> Result<RemoteMessages, RemoteError> {
        check_thread()?;
        let messages = RemoteMessages {
            channel: Arc::default(),
            runtime: self.runtime().clone(),
        };
        self.ask(Ask {
            filter: filter.to_owned(),
            qos,
            channel: Arc::clone(&messages.channel),
        })?;
        let begun = |inner: &mut Inner| inner.begun.clone();
        let begun = messages.channel.wait(Some(timeout), begun);
        begun
            .unwrap_or(Err(RemoteError::TimedOut))
            .map(|()| messages)
    }
}

impl RemoteMessages {
    /// The next message. Blocks the thread until there is one, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`RemoteError::TimedOut`], after which it can be asked again; [`RemoteError::Closed`] when the
    /// filter was unsubscribed or the client is over; [`RemoteError::InRuntime`] on a thread that
    /// runs fibers; [`RemoteError::Full`] when too much waits for the runtime.
    pub fn recv(&mut self, timeout: Duration) -> Result<RemoteMessage, RemoteError> {
        check_thread()?;
        self.next_in(Some(timeout))
    }

    /// The next message, if it is there already: a client gives one only after it was asked for, so
    /// that the first call finds none. Neither blocks nor yields, on whatever thread.
    ///
    /// # Errors
    ///
    /// [`RemoteError::TimedOut`] if none is there; otherwise as [`RemoteMessages::recv`].
    pub fn try_recv(&mut self) -> Result<RemoteMessage, RemoteError> {
        self.next_in(Some(Duration::ZERO))
    }

    fn next_in(&self, timeout: Option<Duration>) -> Result<RemoteMessage, RemoteError> {
        self.ask_next()?;
        let next = |inner: &mut Inner| match inner.message.take() {
            Some(message) => Some(Ok(message)),
            None => inner.over.then_some(Err(RemoteError::Closed)),
        };
        let next = self.channel.wait(timeout, next);
        next.unwrap_or(Err(RemoteError::TimedOut))
    }

    /// Has the client give the next message, unless it does so already.
    fn ask_next(&self) -> Result<(), RemoteError> {
        let mut inner = self.channel.lock();
        if inner.message.is_some() || inner.asked || inner.over {
            return Ok(());
        }
        match inner.waiter.map(|waiter| self.runtime.unpark(waiter)) {
            None | Some(Ok(())) => {
                inner.asked = true;
                Ok(())
            }
            Some(Err(fiber::RemoteError::Full)) => Err(RemoteError::Full),
            Some(Err(_)) => Err(RemoteError::Closed),
        }
    }
}

impl Iterator for RemoteMessages {
    type Item = RemoteMessage;

    fn next(&mut self) -> Option<RemoteMessage> {
        check_thread().ok()?;
        loop {
            match self.next_in(None) {
                Ok(message) => return Some(message),
                // The runtime has more to do than it takes note of.
                Err(RemoteError::Full) => {
                    let over = |inner: &mut Inner| inner.over.then_some(());
                    let _ = self.channel.wait(Some(FULL_PAUSE), over);
                }
                Err(_) => return None,
            }
        }
    }
}

impl Drop for RemoteMessages {
    fn drop(&mut self) {
        let waiter = {
            let mut inner = self.channel.lock();
            inner.dropped = true;
            inner.waiter
        };
        let Some(waiter) = waiter else { return };
        if check_thread().is_err() && waiter.unpark() {
            return;
        }
        // Without its runtime there is nobody to tell.
        while let Err(fiber::RemoteError::Full) = self.runtime.unpark(waiter) {
            if check_thread().is_err() {
                break;
            }
            let _ = self.channel.wait(Some(FULL_PAUSE), |_| None::<()>);
        }
    }
}

impl Ask {
    /// Whether nobody waits for it any more.
    pub(super) fn is_idle(&self) -> bool {
        self.channel.lock().dropped
    }

    /// Tells the thread that its client takes nothing more.
    pub(super) fn refuse(self, error: RemoteError) {
        self.channel.change(|inner| {
            inner.begun = Some(Err(error));
            inner.over = true;
        });
    }

    /// Subscribes on a fiber of its own.
    pub(super) fn start(self, shared: &Rc<Shared>) {
        let (shared, channel) = (Rc::clone(shared), Arc::clone(&self.channel));
        let builder = FiberBuilder::new().name("mqtt-remote-messages");
        if builder.spawn(move || carry(&shared, &self)).is_err() {
            channel.change(|inner| {
                inner.begun = Some(Err(RemoteError::Full));
                inner.over = true;
            });
        }
    }
}

/// Tells the thread at the end of the fiber, by a panic too.
struct OverOnDrop<'a>(&'a Channel);

impl Drop for OverOnDrop<'_> {
    fn drop(&mut self) {
        self.0.change(|inner| {
            inner.begun.get_or_insert(Err(RemoteError::Closed));
            inner.over = true;
        });
    }
}

/// The body of the fiber that takes messages out of the subscription.
fn carry(shared: &Rc<Shared>, ask: &Ask) {
    let channel = &*ask.channel;
    let _over = OverOnDrop(channel);
    let subscribed = Client::inside(shared).subscribe_iter(&ask.filter, ask.qos);
    let mut messages = match subscribed {
        Ok(messages) => messages,
        Err(error) => return channel.change(|inner| inner.begun = Some(Err(refused(error)))),
    };
    channel.change(|inner| inner.begun = Some(Ok(())));
    loop {
        match next(channel, &mut messages) {
            Ok(Some(message)) => channel.change(|inner| {
                inner.message = Some(message.into());
                inner.asked = false;
            }),
            Ok(None) if channel.lock().message.is_some() => return messages.end_unseen(),
            Ok(None) => return,
            Err(_) => return messages.forget(),
        }
    }
}

/// Waits until the thread asks for the next message and there is one; none when no more is to come.
fn next(channel: &Channel, messages: &mut Messages) -> Result<Option<Message>, Stopped> {
    loop {
        let token = fiber::prepare()?;
        let asked = {
            let mut inner = channel.lock();
            if inner.dropped {
                return Ok(None);
            }
            inner.waiter = Some(token);
            inner.asked
        };
        if asked {
            match messages.take(token) {
                Taken::Message(message) => {
                    channel.lock().waiter = None;
                    return Ok(Some(message));
                }
                Taken::Over => return Ok(None),
                Taken::Nothing => {}
            }
        }
        let parked = fiber::park();
        messages.unwait();
        channel.lock().waiter = None;
        parked?;
    }
}

fn refused(error: Error) -> RemoteError {
    match error {
        Error::Argument(error) => RemoteError::Argument(error),
        Error::SubscribeRefused { .. } => RemoteError::SubscribeRefused,
        Error::Spawn(_) => RemoteError::Full,
        Error::Wait(cause) => super::remote::not_waited(cause),
        _ => RemoteError::Closed,
    }
}
