//! SIGINT and SIGTERM: the first says that it is enough, the second ends everything.

use std::cell::Cell;
use std::rc::Rc;

use fiber::signal::{Signal, Signals};
use fiber::{Cancelled, Event, FiberBuilder};

use super::error::DemoError;
use super::timeline::{Timeline, Who};

/// Whether it is enough: what was begun is finished, nothing more is done to anybody, and the counts
/// are compared. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Enough(Event);

impl Enough {
    /// Whether somebody said so.
    pub(super) fn is_said(&self) -> bool {
        self.0.is_set()
    }

    /// Waits for something until somebody says so; `None` then. Yields as that does.
    pub(super) fn unless<T>(
        &self,
        wait: impl FnOnce() -> Result<T, DemoError>,
    ) -> Result<Option<T>, DemoError> {
        let waited = fiber::cancellable(|canceller| {
            let (said, canceller) = (self.0.clone(), canceller.clone());
            let watch = move || {
                if said.wait().is_ok() {
                    canceller.cancel();
                }
            };
            let watch = FiberBuilder::new().name("enough").spawn(watch)?;
            let waited = wait();
            watch.cancel();
            waited
        });
        match waited {
            Ok(waited) | Err(Cancelled(waited @ Ok(_))) => waited.map(Some),
            Err(Cancelled(Err(_))) => Ok(None),
        }
    }

    /// Does something while signals are listened to. Yields as that does.
    ///
    /// # Errors
    ///
    /// What that ends with; [`DemoError::Signal`] where a second signal ended it.
    pub(super) fn at_signals(
        &self,
        timeline: &Timeline,
        work: impl FnOnce() -> Result<(), DemoError>,
    ) -> Result<(), DemoError> {
        let signals = Signals::listen(&[Signal::Interrupt, Signal::Terminate]);
        let signals = signals.map_err(DemoError::Signals)?;
        let second = Rc::new(Cell::new(None));
        let done = fiber::cancellable(|canceller| {
            let (said, timeline) = (self.0.clone(), timeline.clone());
            let (told, canceller) = (Rc::clone(&second), canceller.clone());
            let listen = move || {
                while let Ok(signal) = signals.recv() {
                    if said.is_set() {
                        told.set(Some(signal));
                        canceller.cancel();
                        return;
                    }
                    timeline.say(Who::Fault, format_args!("{signal}: that is enough"));
                    said.set();
                }
            };
            let listening = FiberBuilder::new().name("signals").spawn(listen)?;
            let done = work();
            listening.cancel();
            done
        });
        match (done, second.get()) {
            (Err(Cancelled(Err(_))), Some(signal)) => Err(DemoError::Signal(signal)),
            (Ok(done) | Err(Cancelled(done)), _) => done,
        }
    }
}
