//! `agent sub`: prints what arrives.
//!
//! A QoS 1 or 2 message is acknowledged after it was printed, and what comes after the last
//! message wanted is neither printed nor acknowledged, so that a kept session loses nothing. The
//! subscription is registered before CONNECT is sent, because the broker may send what it kept
//! right after accepting the connection. It does not connect again when the link ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, FiberBuilder, Stopped};
use mqtt::{Client, Message, QoS};

use crate::args::SubArgs;
use crate::connect::{self, Link};
use crate::failure::Failure;
use crate::out::{self, PrintError, Printer};

/// How long the broker may take to answer the subscription.
pub const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long whoever reads the output may take for what is left of it at the end.
pub const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);

/// Does what `agent sub` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`Failure`], which knows the exit code.
pub fn run(args: &SubArgs) -> Result<(), Failure> {
    let link = Rc::new(Link::dial(&args.connection, SUBSCRIBE_TIMEOUT)?);
    let receiver = Rc::new(Receiver::new(args));
    let receive = || receive(&link, &receiver, args);
    // From here on: the connection is made.
    let outcome = match args.wait {
        None => receive(),
        Some(limit) => match fiber::timeout(limit, receive) {
            Ok(outcome) | Err(fiber::Elapsed(outcome @ Ok(()))) => outcome,
            Err(fiber::Elapsed(Err(_))) => Err(Failure::Expired),
        },
    };
    receiver.stop(&outcome);
    connect::leave(link.client());
    let dropped = link.client().stats().dropped;
    if dropped > 0 {
        out::warning(format_args!(
            "{dropped} messages of QoS 0 came faster than they could be printed and are lost"
        ));
    }
    outcome
}

/// Connects, subscribes and prints until there is a reason to end.
fn receive(link: &Rc<Link>, receiver: &Rc<Receiver>, args: &SubArgs) -> Result<(), Failure> {
    let client = link.client();
    let mut connecting = {
        let link = Rc::clone(link);
        let connect = move || link.connect();
        FiberBuilder::new()
            .name("connect")
            .spawn(connect)
            .map_err(Failure::Spawn)?
    };
    let filters: Vec<(&str, QoS)> = args
        .filters
        .iter()
        .map(|filter| (filter.as_str(), args.qos))
        .collect();
    let subscribed = {
        let receiver = Rc::clone(receiver);
        client.subscribe_all(&filters, move |client, message| {
            receiver.receive(client, message);
            Ok(())
        })
    };
    connecting.join().map_err(Failure::Join)??;
    match subscribed {
        Ok(_) => log::debug!("subscribed to {} filters", filters.len()),
        Err(mqtt::Error::SubscribeRefused { filters: refused }) => {
            if filters
                .iter()
                .all(|(filter, _)| refused.iter().any(|other| other == filter))
            {
                return Err(Failure::SubscriptionRefused { filters: refused });
            }
            out::warning(format_args!(
                "the broker refused to subscribe to {}",
                refused.join(", ")
            ));
        }
        Err(error) => return Err(Failure::Subscribe(error)),
    }
    receiver.watch(client)?;
    receiver.finished.wait()?;
    receiver.result(client)
}

/// What is printed of a message, with its topic if that is wanted; of an empty one without its
/// topic that is nothing.
pub(crate) fn parts(message: &Message, verbose: bool) -> [&[u8]; 4] {
    match (verbose, message.data.is_empty()) {
        (true, false) => [message.topic.as_bytes(), b" ", &message.data, b"\n"],
        (true, true) => [message.topic.as_bytes(), b" (null)\n", b"", b""],
        (false, false) => [&message.data, b"\n", b"", b""],
        (false, true) => [b""; 4],
    }
}

/// Takes the messages, prints and counts them.
#[derive(Debug)]
struct Receiver {
    printer: Printer,
    verbose: bool,
    /// How many more messages are wanted, if that is limited.
    wanted: Cell<Option<u64>>,
    /// Nothing more is printed.
    stopped: Cell<bool>,
    /// Messages that the handler was given.
    begun: Cell<u64>,
    failed: RefCell<Option<PrintError>>,
    /// There is a reason to end.
    finished: Event,
}

impl Receiver {
    fn new(args: &SubArgs) -> Self {
        Self {
            printer: Printer::to_stdout(),
            verbose: args.verbose,
            wanted: Cell::new(args.count.map(std::num::NonZeroU64::get)),
            stopped: Cell::new(false),
            begun: Cell::new(0),
            failed: RefCell::default(),
            finished: Event::new(),
        }
    }

    /// The body of the handler: returns once the message may be acknowledged, or cannot be any
    /// more.
    fn receive(&self, client: &Client, message: &Message) {
        if !self.stopped.get() {
            self.begun.set(self.begun.get() + 1);
            match self.print(message) {
                Ok(()) => return,
                Err(error) => {
                    *self.failed.borrow_mut() = Some(error);
                    self.finish();
                }
            }
        }
        // Not acknowledged: a kept session gives it to the next subscriber.
        let ended: Result<_, Stopped> = client.ended();
        drop(ended);
    }

    /// Prints one message, and waits for that where somebody relies on it.
    fn print(&self, message: &Message) -> Result<(), PrintError> {
        let end = self.printer.print(&parts(message, self.verbose))?;
        let last = self.wanted.get() == Some(1);
        if message.qos != QoS::AtMostOnce || last {
            self.printer.printed(end)?;
        }
        if let Some(wanted) = self.wanted.get() {
            self.wanted.set(Some(wanted - 1));
        }
        if last {
            self.finish();
        }
        Ok(())
    }

    fn finish(&self) {
        self.stopped.set(true);
        self.finished.set();
    }

    /// Finishes when the link ends.
    fn watch(&self, client: &Client) -> Result<(), Failure> {
        let (client, finished) = (client.clone(), self.finished.clone());
        let watch = move || {
            if client.ended().is_ok() {
                finished.set();
            }
        };
        FiberBuilder::new()
            .name("watch")
            .spawn(watch)
            .map(drop)
            .map_err(Failure::Spawn)
    }

    /// Why it finished.
    fn result(&self, client: &Client) -> Result<(), Failure> {
        if let Some(error) = &*self.failed.borrow() {
            return Failure::of_print(error);
        }
        if self.wanted.get() == Some(0) {
            return Ok(());
        }
        self.drain();
        Err(Failure::Lost(client.ended()?))
    }

    /// Prints what had arrived when the link ended.
    fn drain(&self) {
        let drain = || -> Result<(), PrintError> {
            loop {
                let begun = self.begun.get();
                self.printer.flush()?;
                // The handler's turn, if it has more.
                fiber::yield_now()?;
                if self.begun.get() == begun {
                    return Ok(());
                }
            }
        };
        self.give_up_after(
            fiber::timeout(OUTPUT_TIMEOUT, drain).unwrap_or_else(|elapsed| elapsed.0),
        );
    }

    /// Prints nothing more; what is being printed is finished and acknowledged.
    fn stop(&self, outcome: &Result<(), Failure>) {
        self.stopped.set(true);
        if matches!(outcome, Err(Failure::Output(_))) || self.failed.borrow().is_some() {
            return;
        }
        let flushed = fiber::timeout(OUTPUT_TIMEOUT, || self.printer.flush());
        self.give_up_after(flushed.unwrap_or_else(|elapsed| elapsed.0));
    }

    fn give_up_after(&self, printed: Result<(), PrintError>) {
        if let Err(error) = printed {
            log::debug!("what arrived last was not printed: {error}");
        }
    }
}
