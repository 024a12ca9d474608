//! The fiber that sends readings in batches.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, Instant, Mutex, Selected, Stopped};
use mqtt::{Client, Publish, PublishError, QoS};
use safe_rt::ClockFloor;
use serde_json::Value;

use super::batch::{Batch, BatchOptions, Now, Reading, ReadingError};

/// When a message that found no room is tried again, at the latest.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Why a reading was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It is none.
    Reading(ReadingError),
    /// A message waits for room in the queue, and the next one is full.
    NoRoom,
}

/// Takes readings, and sends them in batches; see [`super::batch`]. Clones share it.
#[derive(Clone)]
pub(crate) struct Readings(Rc<Shared>);

struct Shared {
    client: Client,
    /// Where they go, and with which QoS.
    place: RefCell<(String, QoS)>,
    floor: ClockFloor,
    batch: RefCell<Batch>,
    /// Whoever has it sends.
    sending: Mutex<()>,
    /// Set when there is another time for the fiber to wait for.
    wake: Event,
    /// The message that is to leave has found no room.
    is_held: Cell<bool>,
    lost: Cell<u64>,
}

/// What readings are made with.
pub(crate) struct Sending<'a> {
    pub(crate) client: Client,
    pub(crate) device_id: &'a str,
    /// This start of the agent.
    pub(crate) boot: &'a str,
    pub(crate) floor: ClockFloor,
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readings")
            .field("topic", &self.0.place.borrow().0)
            .finish_non_exhaustive()
    }
}

impl Readings {
    pub(crate) fn new(by: Sending<'_>, topic: String, qos: QoS, options: BatchOptions) -> Self {
        let batch = Batch::new(by.device_id, by.boot, Instant::now(), options);
        Self(Rc::new(Shared {
            client: by.client,
            place: RefCell::new((topic, qos)),
            floor: by.floor,
            batch: RefCell::new(batch),
            sending: Mutex::new(()),
            wake: Event::new(),
            is_held: Cell::new(false),
            lost: Cell::new(0),
        }))
    }

    /// Takes a reading with the present time. Yields while a message that is full by it finds no room
    /// in the queue; the ambient deadline limits that, and the reading is taken all the same.
    pub(crate) fn record(&self, name: &str, value: impl Into<Value>) -> Result<(), NotTaken> {
        let reading = self
            .0
            .batch
            .borrow()
            .reading(name, &value.into(), Instant::now());
        self.take(reading.map_err(NotTaken::Reading)?)
    }

    /// As [`Readings::record`], of a reading with these parts, which are JSON.
    pub(crate) fn record_sample(&self, parts: &[(&str, String)]) -> Result<(), NotTaken> {
        let reading = self.0.batch.borrow().sample(parts, Instant::now());
        self.take(reading.map_err(NotTaken::Reading)?)
    }

    fn take(&self, reading: Reading) -> Result<(), NotTaken> {
        if !self.0.batch.borrow().has_room_for(&reading) {
            self.send();
        }
        let earlier = self.0.batch.borrow().due();
        let taken = self.0.batch.borrow_mut().push(reading);
        taken.map_err(|_| NotTaken::NoRoom)?;
        if self.0.batch.borrow().due() != earlier {
            self.0.wake.set();
        }
        if self.0.batch.borrow().is_closed() {
            self.send();
        }
        Ok(())
    }

    /// Sends what there is now as before, and everything later otherwise; what finds no room goes with
    /// what comes later. Yields as [`Readings::record`] does.
    pub(crate) fn set(&self, topic: String, qos: QoS, options: BatchOptions) {
        self.flush();
        self.0.place.replace((topic, qos));
        self.0.batch.borrow_mut().set_options(options);
        self.0.wake.set();
    }

    /// Sends what there is now. Yields as [`Readings::record`] does. Returns how many readings found
    /// no room; they are kept.
    pub(crate) fn flush(&self) -> usize {
        loop {
            self.send();
            let mut batch = self.0.batch.borrow_mut();
            if batch.is_closed() || !batch.close() {
                return batch.len();
            }
        }
    }

    /// Readings that were taken and could never be sent.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.get()
    }

    /// Sends the message that is to leave, and those that are full behind it, as far as there is room.
    fn send(&self) {
        let shared = &self.0;
        // Without it somebody else sends, and the time to wait for that is over.
        let Ok(_sending) = shared.sending.lock() else {
            return;
        };
        loop {
            let message = shared.batch.borrow().message(Now::read(&shared.floor));
            let Some(message) = message else {
                shared.is_held.set(false);
                return;
            };
            let (topic, qos) = shared.place.borrow().clone();
            let publish = Publish::to(&topic, &message).qos(qos);
            match shared.client.publish(publish) {
                // It was accepted.
                Ok(_) | Err(PublishError::Wait(_)) => shared.batch.borrow_mut().sent(),
                Err(PublishError::Argument(error)) => {
                    let lost = shared.batch.borrow_mut().halve();
                    if lost > 0 {
                        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
                        shared.lost.set(shared.lost.get().saturating_add(lost));
                        log::error!("a reading can never be sent, and is lost: {error}");
                    }
                }
                Err(error) => {
                    if !shared.is_held.replace(true) {
                        log::warn!("readings wait for room in the queue: {error}");
                    }
                    shared.wake.set();
                    return;
                }
            }
        }
    }

    /// Sends what has waited for long enough, until it is stopped: the body of a fiber. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`], always.
    pub(crate) fn serve(&self) -> Result<(), Stopped> {
        loop {
            self.0.wake.clear();
            let (due, is_closed) = {
                let batch = self.0.batch.borrow();
                (batch.due(), batch.is_closed())
            };
            let next = if is_closed {
                Some(Instant::now() + RETRY_PAUSE)
            } else {
                due
            };
            match fiber::select(&[&self.0.wake], next) {
                Ok(Selected::Deadline) => {}
                Ok(_) => continue,
                Err(error) => return Err(fiber::cause(&error).unwrap_or(Stopped::NoRuntime)),
            }
            {
                let mut batch = self.0.batch.borrow_mut();
                if batch.due().is_some_and(|due| due <= Instant::now()) {
                    batch.close();
                }
            }
            self.send();
        }
    }
}
