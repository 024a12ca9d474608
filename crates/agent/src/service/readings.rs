//! The fiber that sends readings in batches.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use fiber::{Event, Stopped};
use mqtt::{Client, Publish, QoS};
use serde_json::Value;

use super::batch::{Batch, BatchOptions, Now, ReadingError};

/// Takes readings, and sends them in batches; see [`super::batch`]. Clones share it.
#[derive(Clone)]
pub struct Readings(Rc<Shared>);

struct Shared {
    client: Client,
    /// Where they go, and with which QoS.
    place: RefCell<(String, QoS)>,
    batch: RefCell<Batch>,
    /// Set when there is a first reading to be waited for, and when others may be due sooner.
    begun: Event,
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readings")
            .field("topic", &self.0.place.borrow().0)
            .finish_non_exhaustive()
    }
}

impl Readings {
    pub(crate) fn new(
        client: Client,
        device_id: &str,
        topic: String,
        qos: QoS,
        options: BatchOptions,
    ) -> Self {
        Self(Rc::new(Shared {
            client,
            place: RefCell::new((topic, qos)),
            batch: RefCell::new(Batch::new(device_id, options)),
            begun: Event::new(),
        }))
    }

    /// Takes a reading with the present time. Yields while a message that is full by it finds no room
    /// in the queue.
    ///
    /// # Errors
    ///
    /// [`ReadingError`]: it is none, and nothing was taken.
    pub fn record(&self, name: &str, value: impl Into<Value>) -> Result<(), ReadingError> {
        let (is_first, full) = {
            let mut batch = self.0.batch.borrow_mut();
            let is_first = batch.due().is_none();
            (is_first, batch.push(name, &value.into(), Now::read())?)
        };
        if is_first {
            self.0.begun.set();
        }
        for message in full {
            self.send(&message);
        }
        Ok(())
    }

    /// Sends what there is now as before, and everything later otherwise. Yields as
    /// [`Readings::record`] does.
    pub(crate) fn set(&self, topic: String, qos: QoS, options: BatchOptions) {
        self.flush();
        // What came while that waited for room is of the new kind.
        self.0.place.replace((topic, qos));
        self.0.batch.borrow_mut().set_options(options);
        self.0.begun.set();
    }

    /// Sends what there is now. Yields as [`Readings::record`] does.
    pub fn flush(&self) {
        let message = self.0.batch.borrow_mut().take(Now::read());
        if let Some(message) = message {
            self.send(&message);
        }
    }

    fn send(&self, message: &str) {
        let (topic, qos) = self.0.place.borrow().clone();
        let publish = Publish::to(&topic, message).qos(qos);
        if let Err(error) = self.0.client.publish(publish) {
            log::warn!("a batch of readings is lost: {error}");
        }
    }

    /// Sends what has waited for long enough, until it is stopped: the body of a fiber. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`], always.
    pub(crate) fn serve(&self) -> Result<(), Stopped> {
        loop {
            self.0.begun.clear();
            let due = self.0.batch.borrow().due();
            if let Err(error) = fiber::select(&[&self.0.begun], due) {
                return Err(fiber::cause(&error).unwrap_or(Stopped::NoRuntime));
            }
            // Meanwhile it may have become full, and another have begun.
            let is_due = self.0.batch.borrow().due();
            if is_due.is_some_and(|due| due <= fiber::Instant::now()) {
                self.flush();
            }
        }
    }
}
