//! Signals to the programs of simulated machines: sent by the test, received as outside.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::core::Core;
use crate::signal::Signal;
use crate::sim::host::Host;
use crate::sim::sockets::Socket;
use crate::sim::state::State;

/// What one listener of a machine has not received yet.
pub(crate) struct Inlet {
    pub(crate) host: u32,
    signals: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Inlet {
    pub(crate) fn is_pending(&self) -> bool {
        self.signals
            .iter()
            .any(|(_, pending)| pending.load(Ordering::SeqCst))
    }
}

/// The signals that no longer do what they do by default, by machine.
#[derive(Default)]
pub(crate) struct Handled(RefCell<BTreeSet<(u32, Signal)>>);

impl Handled {
    /// Programs that start anew know of nothing.
    pub(crate) fn forget(&self, host: u32) {
        self.0.borrow_mut().retain(|&(of, _)| of != host);
    }
}

impl State {
    /// Makes a listener of the running fiber's machine; its number is closed as a socket's.
    pub(crate) fn listen_to_signals(
        &self,
        core: &Core,
        signals: Vec<(Signal, Arc<AtomicBool>)>,
    ) -> RawFd {
        let host = self.current_host(core);
        let handled = signals.iter().map(|&(signal, _)| (host, signal));
        self.handled.0.borrow_mut().extend(handled);
        self.net.add(Socket::Signals(Inlet { host, signals }))
    }
}

impl Host {
    /// Sends a signal to the programs of the machine, all of whose listeners get it, as
    /// [`crate::signal::Signals`] says. Does not yield.
    ///
    /// A machine on which nobody ever listened to that signal since its programs began does what is
    /// done by default: they end, as by [`Host::kill`], which does not return to a caller that is
    /// one of them. On a machine that is off nothing happens.
    pub fn signal(&self, signal: Signal) {
        if !self.is_on() {
            return;
        }
        let state = &self.state;
        if !state.handled.0.borrow().contains(&(self.number, signal)) {
            self.kill();
            return;
        }
        let mut told = Vec::new();
        for (&fd, socket) in state.net.sockets.borrow().iter() {
            let Socket::Signals(inlet) = socket else {
                continue;
            };
            let meant = inlet.signals.iter().find(|(of, _)| *of == signal);
            if let (true, Some((_, pending))) = (inlet.host == self.number, meant) {
                pending.store(true, Ordering::SeqCst);
                told.push(fd);
            }
        }
        for fd in told {
            state.edge(fd);
        }
    }
}
