//! SIGINT and SIGTERM end a program in order, as they end `mosquitto_sub`.

use fiber::signal::{Signal, Signals};
use fiber::{Cancelled, FiberBuilder};
use std::cell::Cell;
use std::rc::Rc;

use crate::failure::Failure;

/// The signals that end the program.
pub(super) struct Stop(Rc<Signals>);

/// How something ended that a signal may end.
pub(super) enum Ended<T> {
    /// By itself.
    ByItself(T),
    /// A signal came before.
    BySignal(Signal),
}

impl Stop {
    /// Listens from now on. Does not yield.
    ///
    /// # Errors
    ///
    /// [`Failure::Signals`].
    pub(super) fn listen() -> Result<Self, Failure> {
        let signals = Signals::listen(&[Signal::Interrupt, Signal::Terminate]);
        Ok(Self(Rc::new(signals.map_err(Failure::Signals)?)))
    }

    /// Does something until the next signal comes, which ends its waits. Yields as that does.
    ///
    /// # Errors
    ///
    /// [`Failure::Spawn`] without room for a fiber; nothing was done.
    pub(super) fn until_signal<T>(&self, work: impl FnOnce() -> T) -> Result<Ended<T>, Failure> {
        let came = Rc::new(Cell::new(None));
        let ended = fiber::cancellable(|canceller| {
            let (signals, told, canceller) =
                (Rc::clone(&self.0), Rc::clone(&came), canceller.clone());
            let watch = move || {
                if let Ok(signal) = signals.recv() {
                    told.set(Some(signal));
                    canceller.cancel();
                }
            };
            let watch = FiberBuilder::new().name("signals").spawn(watch);
            let watch = watch.map_err(Failure::Spawn)?;
            let done = work();
            watch.cancel();
            Ok(done)
        });
        match (ended, came.get()) {
            (Err(Cancelled(Ok(_))), Some(signal)) => Ok(Ended::BySignal(signal)),
            (Ok(done) | Err(Cancelled(done)), _) => done.map(Ended::ByItself),
        }
    }
}
