//! `agent run`: connects as the configuration says and stays connected.
//!
//! One line is logged for each connection that is made, lost or not to be had, with the cause and
//! with when the next one is tried. No failure of the network ends it; SIGTERM, SIGINT and `--for`
//! do, and it then leaves in order. SIGUSR1 prints what its fibers do.

mod subscriptions;

use std::cell::RefCell;
use std::rc::Rc;

use fiber::Stopped;
use mqtt::{Client, Message, QoS};

use crate::agent::Agent;
use crate::args::RunArgs;
use crate::connect::LEAVE_TIMEOUT;
use crate::failure::Failure;
use crate::out::{PrintError, Printer};
use crate::subscribe;

use self::subscriptions::Subscriptions;

/// Does what `agent run` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`Failure`], which knows the exit code. Nothing that is wrong with the network is one.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let received = Rc::new(Received::new());
    let told = Rc::clone(&received);
    let ran = Agent::builder()
        .config_source(args.source.source())
        .limit(args.limit)
        // Before the connection is there: what a kept session holds finds its handler.
        .on_start(move |agent| {
            told.agent.borrow_mut().replace(agent.clone());
            let subscriptions = Subscriptions::new(told);
            subscriptions.set(agent.mqtt(), agent.config())?;
            agent.on_reload(move |agent, config| {
                // What the broker refused may be allowed by now.
                subscriptions.forget(&agent.take_refused_filters());
                subscriptions.set(agent.mqtt(), config)
            });
            Ok(())
        })
        .run();
    received.finish();
    ran.and_then(|()| received.result())
}

/// Prints what arrives.
struct Received {
    printer: Printer,
    failed: RefCell<Option<PrintError>>,
    /// Who is to stop once something could not be printed.
    agent: RefCell<Option<Agent>>,
}

impl Received {
    fn new() -> Self {
        Self {
            printer: Printer::to_stdout(),
            failed: RefCell::default(),
            agent: RefCell::default(),
        }
    }

    /// The body of the handler: returns once the message may be acknowledged, or cannot be any
    /// more.
    fn receive(&self, client: &Client, message: &Message) {
        if let Err(error) = self.print(message) {
            self.fail(error);
            // Not acknowledged: a kept session has it for the next start.
            let ended: Result<_, Stopped> = client.ended();
            drop(ended);
        }
    }

    /// Prints one message, and waits for that where somebody relies on it.
    fn print(&self, message: &Message) -> Result<(), PrintError> {
        let end = self.printer.print(&subscribe::parts(message, true, true))?;
        match message.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.printer.printed(end),
        }
    }

    fn fail(&self, error: PrintError) {
        self.failed.borrow_mut().get_or_insert(error);
        if let Some(agent) = &*self.agent.borrow() {
            agent.stop("what arrives cannot be printed");
        }
    }

    /// Prints what had arrived, within [`LEAVE_TIMEOUT`].
    fn finish(&self) {
        // The agent has what prints, and this has the agent.
        let Some(agent) = self.agent.borrow_mut().take() else {
            return;
        };
        let dropped = agent.mqtt().stats().dropped;
        if dropped > 0 {
            log::warn!(
                "{dropped} messages of QoS 0 came faster than they could be printed and are lost"
            );
        }
        let flushed = fiber::timeout(LEAVE_TIMEOUT, || self.printer.flush());
        if let Err(error) = flushed.unwrap_or_else(|elapsed| elapsed.0) {
            // Acknowledged it was not, unless its quality of service is 0.
            log::warn!("what arrived last was not printed: {error}");
        }
    }

    fn result(&self) -> Result<(), Failure> {
        match &*self.failed.borrow() {
            Some(error) => Failure::of_print(error),
            None => Ok(()),
        }
    }
}
