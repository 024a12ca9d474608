//! `agent sub`: prints what arrives.
//!
//! A QoS 1 or 2 message is acknowledged after it was printed, and what comes after the last
//! message wanted is neither printed nor acknowledged, so that a kept session loses nothing. The
//! subscription is registered before CONNECT is sent, because the broker may send what it kept
//! right after accepting the connection. With a kept session it may also send what earlier programs
//! subscribed to: that is printed as well, once [`mqtt::EARLY_WINDOW`] is over.
//!
//! When a connection is lost after the subscriptions were answered, another one is made, for as long as
//! it takes, and the subscriptions with it. SIGINT and SIGTERM end it in order. `agent request` is for
//! one answer: a lost connection ends it, and so does a signal, which is no answer.

mod again;
mod output;
mod stop;

use std::cell::{Cell, OnceCell, RefCell};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fiber::{FiberBuilder, Stopped};
use mqtt::{Client, EndCause, Event, Message, Publish, QoS, Wait};

use self::again::Again;
pub use self::again::RECONNECT_DELAY_MAX;
use self::output::Output;
pub(crate) use self::output::parts;
use self::stop::{Ended, Stop};
use crate::args::{Retained, SubArgs, TakeArgs};
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
    let then = match args.exit_subscribed {
        true => Then::Leave,
        false => Then::Receive,
    };
    run_then(args, then)
}

/// What is done once the broker has answered the subscriptions.
pub(crate) enum Then<'a> {
    /// Messages are received; those that came before as well.
    Receive,
    /// Nothing.
    Leave,
    /// Something is sent, and only messages that come from then on count.
    Send(Box<Send<'a>>),
}

/// What sends something.
pub(crate) type Send<'a> = dyn FnOnce(&Client) -> Result<(), Failure> + 'a;

/// As [`run`], with something else in place of mere receiving.
pub(crate) fn run_then(args: &SubArgs, then: Then<'_>) -> Result<(), Failure> {
    let stop = Stop::listen()?;
    let is_request = matches!(then, Then::Send(_));
    let mut begun = None;
    let outcome = match stop.until_signal(|| begin(args, then, &mut begun))? {
        Ended::ByItself(outcome) => outcome,
        Ended::BySignal(signal) if is_request => Err(Failure::Signal(signal)),
        Ended::BySignal(signal) => {
            log::debug!("ended by {signal}");
            Ok(())
        }
    };
    let Some((link, receiver)) = begun else {
        return outcome;
    };
    // A second signal does not wait for whoever reads, nor for the broker.
    let ended = stop.until_signal(|| {
        receiver.stop(&outcome);
        connect::leave(link.client());
    });
    if let Ok(Ended::BySignal(signal)) = ended {
        log::debug!("ended by {signal} once more");
    }
    let dropped = link.client().stats().dropped;
    if dropped > 0 {
        out::warning(format_args!(
            "{dropped} messages of QoS 0 came faster than they could be printed and are lost"
        ));
    }
    outcome
}

/// What there is once the transport is made.
type Begun = (Rc<Link>, Rc<Receiver>);

/// Makes the connection, and does what is to be done on it within the time that it may take.
fn begin(args: &SubArgs, then: Then<'_>, begun: &mut Option<Begun>) -> Result<(), Failure> {
    let output = Output::new(&args.output)?;
    let link = Rc::new(Link::dial(&args.connection, SUBSCRIBE_TIMEOUT)?);
    let open = !matches!(then, Then::Send(_));
    let receiver = Rc::new(Receiver::new(&args.take, output, open));
    *begun = Some((Rc::clone(&link), Rc::clone(&receiver)));
    let receive = || receive(&link, &receiver, args, then);
    // From here on: the connection is made.
    match args.wait {
        None => receive(),
        Some(limit) => match fiber::timeout(limit, receive) {
            Ok(outcome) | Err(fiber::Elapsed(outcome @ Ok(()))) => outcome,
            Err(fiber::Elapsed(Err(_))) => Err(Failure::Expired),
        },
    }
}

/// Connects, subscribes and prints until there is a reason to end.
fn receive(
    link: &Rc<Link>,
    receiver: &Rc<Receiver>,
    args: &SubArgs,
    then: Then<'_>,
) -> Result<(), Failure> {
    let client = link.client();
    if !args.connection.clean_start {
        let receiver = Rc::clone(receiver);
        client.on_unwanted(move |client, message| {
            receiver.receive(client, message);
            Ok(())
        });
    }
    let mut connecting = {
        let link = Rc::clone(link);
        let connect = move || link.connect();
        FiberBuilder::new()
            .name("connect")
            .spawn(connect)
            .map_err(Failure::Spawn)?
    };
    let subscribed = subscribe(client, receiver, args);
    connecting.join().map_err(Failure::Join)??;
    let granted = subscribed?;
    for filter in &args.unsubscribe {
        client
            .unsubscribe(filter.as_str())
            .map_err(Failure::Subscribe)?;
        log::debug!("unsubscribed from {filter}");
    }
    let mut again = match then {
        Then::Receive => Some(Again::new()),
        Then::Leave => return Ok(()),
        Then::Send(send) => {
            receiver.open.set(true);
            send(client)?;
            None
        }
    };
    receiver.watch_filters(client, granted);
    loop {
        receiver.watch(client)?;
        receiver.finished.wait()?;
        let Some(cause) = receiver.lost(client)? else {
            return Ok(());
        };
        let Some(again) = &mut again else {
            return Err(Failure::Lost(cause));
        };
        receiver.finished.clear();
        again.connect(link, &cause)?;
    }
}

/// Subscribes to everything at once, and returns what was granted. One of several that is refused is
/// a warning.
fn subscribe(
    client: &Client,
    receiver: &Rc<Receiver>,
    args: &SubArgs,
) -> Result<Vec<String>, Failure> {
    let filters: Vec<(&str, QoS)> = args
        .subscriptions
        .iter()
        .map(|(filter, qos)| (filter.as_str(), *qos))
        .collect();
    if filters.is_empty() {
        return Ok(Vec::new());
    }
    let all = filters.iter().map(|(filter, _)| (*filter).to_owned());
    let receiver = Rc::clone(receiver);
    let subscribed = client.subscribe_all(&filters, move |client, message| {
        receiver.receive(client, message);
        Ok(())
    });
    match subscribed {
        Ok(_) => {
            log::debug!("subscribed to {} filters", filters.len());
            Ok(all.collect())
        }
        Err(mqtt::Error::SubscribeRefused { filters: refused }) => {
            let granted: Vec<String> = all.filter(|filter| !refused.contains(filter)).collect();
            if granted.is_empty() {
                return Err(Failure::SubscriptionRefused { filters: refused });
            }
            refused_in_part(&refused);
            Ok(granted)
        }
        Err(error) => Err(Failure::Subscribe(error)),
    }
}

fn refused_in_part(filters: &[String]) {
    out::warning(format_args!(
        "the broker refused to subscribe to {}",
        filters.join(", ")
    ));
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    /// It is printed.
    Print,
    /// It counts, and is not printed.
    Count,
    /// It is as if it had not come.
    Pass,
    /// It is the end.
    End,
}

/// Takes the messages, prints and counts them.
#[derive(Debug)]
struct Receiver {
    printer: Printer,
    output: Output,
    take: TakeArgs,
    /// Messages count.
    open: Cell<bool>,
    /// How many more messages are wanted, if that is limited.
    wanted: Cell<Option<u64>>,
    /// Nothing more is printed.
    stopped: Cell<bool>,
    /// Everything that was wanted has come.
    satisfied: Cell<bool>,
    /// Messages that the handler was given.
    begun: Cell<u64>,
    failed: RefCell<Option<PrintError>>,
    /// What was subscribed to, where the broker refuses all of it on a later connection.
    refused: OnceCell<Vec<String>>,
    /// There is a reason to end.
    finished: fiber::Event,
}

impl Receiver {
    fn new(take: &TakeArgs, output: Output, open: bool) -> Self {
        Self {
            printer: Printer::to_stdout(),
            output,
            take: take.clone(),
            open: Cell::new(open),
            wanted: Cell::new(take.count.map(NonZeroU64::get)),
            stopped: Cell::new(false),
            satisfied: Cell::new(false),
            begun: Cell::new(0),
            failed: RefCell::default(),
            refused: OnceCell::new(),
            finished: fiber::Event::new(),
        }
    }

    /// The body of the handler: returns once the message may be acknowledged, or cannot be any
    /// more.
    fn receive(&self, client: &Client, message: &Message) {
        if !self.stopped.get() {
            self.begun.set(self.begun.get() + 1);
            match self.handle(client, message) {
                Ok(true) => return,
                Ok(false) => {
                    self.satisfied.set(true);
                    self.finish();
                }
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

    /// Does what is to be done with a message; false if it is the end and no message any more.
    fn handle(&self, client: &Client, message: &Message) -> Result<bool, PrintError> {
        let take = self.decide(&message.topic, message.retain)?;
        if self.take.remove_retained && message.retain && take != Take::Pass {
            forget(client, message);
        }
        match take {
            Take::End => return Ok(false),
            Take::Pass => return Ok(true),
            Take::Print => {
                let end = self.output.print(&self.printer, message)?;
                if message.qos != QoS::AtMostOnce || self.wanted.get() == Some(1) {
                    // Somebody relies on it.
                    self.printer.printed(end)?;
                }
            }
            Take::Count => {}
        }
        if let Some(wanted) = self.wanted.get() {
            self.wanted.set(Some(wanted - 1));
            if wanted == 1 {
                self.satisfied.set(true);
                self.finish();
            }
        }
        Ok(true)
    }

    fn decide(&self, topic: &str, retain: bool) -> Result<Take, PrintError> {
        let hidden = || self.take.hidden.iter().any(|filter| filter.matches(topic));
        Ok(match self.take.retained {
            _ if !self.open.get() => Take::Pass,
            Retained::Only if !retain => Take::End,
            Retained::Hidden if retain => Take::Pass,
            _ if hidden() => Take::Pass,
            _ if self.is_drawn()? => Take::Print,
            _ => Take::Count,
        })
    }

    /// Whether a message is among those that are printed at random.
    fn is_drawn(&self) -> Result<bool, PrintError> {
        let Some(share) = self.take.share else {
            return Ok(true);
        };
        let mut random = [0; 4];
        fiber::random::fill(&mut random)?;
        Ok(u32::from_le_bytes(random) % 1_000 < share.into())
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

    /// Finishes when the broker refuses, on a later connection, everything that it had granted.
    fn watch_filters(self: &Rc<Self>, client: &Client, granted: Vec<String>) {
        let receiver = Rc::clone(self);
        client.on_event(move |_client, event| {
            let Event::SubscribeRefused { filters } = event else {
                return;
            };
            if granted.iter().all(|filter| filters.contains(filter)) {
                let _ = receiver.refused.set(filters.clone());
                receiver.finished.set();
            } else {
                refused_in_part(filters);
            }
        });
    }

    /// Why it finished: nothing if there is no more to do, else why the connection ended.
    fn lost(&self, client: &Client) -> Result<Option<Arc<EndCause>>, Failure> {
        if let Some(filters) = self.refused.get() {
            let filters = filters.clone();
            return Err(Failure::SubscriptionRefused { filters });
        }
        if !self.stopped.get() {
            // What is wanted may be among that.
            self.drain();
        }
        if let Some(error) = &*self.failed.borrow() {
            return Failure::of_print(error).map(|()| None);
        }
        if self.satisfied.get() {
            return Ok(None);
        }
        Ok(Some(client.ended()?))
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

/// Has the broker forget a message that it keeps. Yields until it has.
fn forget(client: &Client, message: &Message) {
    let publish = Publish::to(&message.topic, b"")
        .qos(QoS::AtLeastOnce)
        .retain(true)
        .wait(Wait::Ack);
    if let Err(error) = client.publish(publish) {
        out::warning(format_args!(
            "the broker may keep {} further on: {error}",
            &*message.topic
        ));
    }
}
