//! `agent run`: connects as the configuration says and stays connected.
//!
//! One line is logged for each connection that is made, lost or not to be had, with the cause and
//! with when the next one is tried. No failure of the network ends it; SIGTERM, SIGINT and `--for`
//! do, and it then leaves in order. What is under way lives in memory: what the broker has not
//! acknowledged by then is told, and lost. SIGUSR1 prints what its fibers do.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use fiber::signal::{Signal, Signals};
use fiber::{Event, Instant, Selected, Stopped};
use mqtt::{Client, Message, QoS, Remaining, Subscribe, Wait};

use crate::agent::Agent;
use crate::args::RunArgs;
use crate::attach::{Attaching, attach_until};
use crate::config::Config;
use crate::connect::LEAVE_TIMEOUT;
use crate::failure::Failure;
use crate::out::{self, PrintError, Printer};
use crate::profile::Profile;
use crate::subscribe;

/// Does what `agent run` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`Failure`], which knows the exit code. Nothing that is wrong with the network is one.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    // First of all, so that a stop that comes early is not lost.
    let listened = [Signal::Terminate, Signal::Interrupt, Signal::User1];
    let signals = Signals::listen(&listened).map_err(Failure::Signals)?;
    let deadline = args.limit.map(|limit| Instant::now() + limit);
    let attached = attach_until(load(args)?, &signals, deadline)?;
    let attached = match attached {
        Attaching::Done(attached) => attached,
        Attaching::Signal(signal) => {
            log::info!("stopping: {signal}");
            return Ok(());
        }
        Attaching::Deadline => {
            log::info!("stopping: {}", Why::Limit);
            return Ok(());
        }
    };
    // The state folder is this program's until the end.
    let (config, _attached) = &*attached;
    let agent = Agent::start(config)?;
    let received = Rc::new(Received::new());
    // Before the connection is there: what a kept session holds finds its handler.
    subscribe(agent.mqtt(), config, &received)?;
    let why = wait_for_end(&signals, &received, deadline)?;
    log::info!("stopping: {why}");
    leave(agent, &received)?;
    received.result()
}

fn load(args: &RunArgs) -> Result<Box<Config>, Failure> {
    let config = Config::load(&args.config);
    config
        .map(Box::new)
        .map_err(|errors| Failure::Config(Box::new(errors)))
}

/// Declares the subscriptions; they are made whenever there is a connection.
fn subscribe(client: &Client, config: &Config, received: &Rc<Received>) -> Result<(), Failure> {
    let filters: Vec<(&str, QoS)> = config
        .subscriptions
        .iter()
        .map(|subscription| (subscription.topic.as_str(), subscription.qos))
        .collect();
    if filters.is_empty() {
        return Ok(());
    }
    for part in Profile::of_config(config).parts(&filters) {
        let received = Rc::clone(received);
        let subscribe = Subscribe::to_all(part).wait(Wait::None);
        let subscribed = client.subscribe_as(subscribe, move |client, message| {
            received.receive(client, message);
            Ok(())
        });
        subscribed.map(drop).map_err(Failure::Subscribe)?;
    }
    Ok(())
}

/// Why the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Signal(Signal),
    Output,
    Limit,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Output => f.write_str("what arrives cannot be printed"),
            Self::Limit => f.write_str("the time of --for is over"),
        }
    }
}

fn wait_for_end(
    signals: &Signals,
    received: &Received,
    deadline: Option<Instant>,
) -> Result<Why, Failure> {
    loop {
        let found = fiber::select(&[signals, &received.failure], deadline);
        match found.map_err(Failure::Signals)? {
            Selected::Ready(0) => match signals.try_recv() {
                Some(Signal::User1) => out::fibers(&fiber::fibers()),
                Some(signal) => return Ok(Why::Signal(signal)),
                None => {}
            },
            Selected::Ready(_) => return Ok(Why::Output),
            Selected::Deadline => return Ok(Why::Limit),
        }
    }
}

/// Stops telemetry, leaves the broker, prints what had arrived; twice [`LEAVE_TIMEOUT`] at most,
/// and what closing the transport takes.
fn leave(agent: Agent, received: &Received) -> Result<(), Failure> {
    let client = agent.mqtt().clone();
    match left(&agent.leave(LEAVE_TIMEOUT)?) {
        None => log::info!("left; the broker acknowledged everything"),
        Some(text) => log::warn!("left; {text}"),
    }
    let dropped = client.stats().dropped;
    if dropped > 0 {
        log::warn!(
            "{dropped} messages of QoS 0 came faster than they could be printed and are lost"
        );
    }
    let flushed = fiber::timeout(LEAVE_TIMEOUT, || received.printer.flush());
    if let Err(error) = flushed.unwrap_or_else(|elapsed| elapsed.0) {
        // Acknowledged it was not, unless its quality of service is 0.
        log::warn!("what arrived last was not printed: {error}");
    }
    Ok(())
}

/// What is lost by leaving, in words; nothing if nothing is.
fn left(remaining: &Remaining) -> Option<String> {
    let unsent = remaining.unsent_bytes;
    match remaining.unacknowledged {
        0 if unsent == 0 => None,
        0 => Some(format!("{unsent} bytes were never sent")),
        1 => Some(format!(
            "1 message was not acknowledged, {unsent} bytes were never sent"
        )),
        count => Some(format!(
            "{count} messages were not acknowledged, {unsent} bytes were never sent"
        )),
    }
}

/// Prints what arrives.
#[derive(Debug)]
struct Received {
    printer: Printer,
    failed: RefCell<Option<PrintError>>,
    /// Set once something could not be printed.
    failure: Event,
}

impl Received {
    fn new() -> Self {
        Self {
            printer: Printer::to_stdout(),
            failed: RefCell::default(),
            failure: Event::new(),
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
        let end = self.printer.print(&subscribe::parts(message, true))?;
        match message.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.printer.printed(end),
        }
    }

    fn fail(&self, error: PrintError) {
        self.failed.borrow_mut().get_or_insert(error);
        self.failure.set();
    }

    fn result(&self) -> Result<(), Failure> {
        match &*self.failed.borrow() {
            Some(error) => Failure::of_print(error),
            None => Ok(()),
        }
    }
}
