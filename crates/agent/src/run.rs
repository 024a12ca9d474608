//! `agent run`: connects as the configuration says and stays connected.
//!
//! One line is logged for each connection that is made, lost or not to be had, with the cause and
//! with when the next one is tried. No failure of the network ends it; SIGTERM, SIGINT and `--for`
//! do, and it then leaves in order. What is under way lives in memory: what the broker has not
//! acknowledged by then is told, and lost.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::signal::{Signal, Signals};
use fiber::{Event, FiberBuilder, Instant, JoinHandle, Selected, Stopped};
use mqtt::{Client, ClientOptions, EndCause, Message, QoS, Remaining, Subscribe, Wait};
use safe_rt::DialOptions;

use crate::args::RunArgs;
use crate::config::{Config, Telemetry};
use crate::connect::{LEAVE_TIMEOUT, RECEIVED_PACKET_BYTES_MAX};
use crate::failure::Failure;
use crate::out::{PrintError, Printer};
use crate::{subscribe, telemetry};

/// Does what `agent run` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`Failure`], which knows the exit code. Nothing that is wrong with the network is one.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    // First of all, so that a stop that comes early is not lost.
    let signals =
        Signals::listen(&[Signal::Terminate, Signal::Interrupt]).map_err(Failure::Signals)?;
    let deadline = args.limit.map(|limit| Instant::now() + limit);
    let config = Config::load(&args.config).map_err(|errors| Failure::Config(Box::new(errors)))?;
    let client = open(&config)?;
    let received = Rc::new(Received::new());
    subscribe(&client, &config, &received)?;
    let telemetry = config
        .telemetry
        .clone()
        .map(|telemetry| start_telemetry(&client, &config, telemetry))
        .transpose()?;
    let why = wait_for_end(&signals, &received, deadline)?;
    log::info!("stopping: {why}");
    leave(&client, telemetry, &received)?;
    received.result()
}

/// Makes the client, which connects by itself from now on.
fn open(config: &Config) -> Result<Client, Failure> {
    let cloud = &config.cloud;
    let mut dial = DialOptions::new();
    if let Some(tls) = &cloud.tls {
        dial = dial.tls(tls.clone());
    }
    let mut options = ClientOptions::new(config.device_id.clone())
        .dial(dial)
        .keep_alive(cloud.keep_alive)
        .clean_start(cloud.clean_start)
        .maximum_packet_size(RECEIVED_PACKET_BYTES_MAX);
    if let Some(credentials) = &cloud.credentials {
        let password = credentials.password.clone().map(|password| password.0);
        options = options.credentials(credentials.user_name.clone(), password);
    }
    let client = Client::open(&cloud.endpoint, options).map_err(Failure::Connect)?;
    let endpoint = cloud.endpoint.to_string();
    client.on_event(move |_client, event| log_event(&endpoint, event));
    Ok(client)
}

/// Logs one line of what happened to the connection.
fn log_event(endpoint: &str, event: &mqtt::Event) {
    match event {
        mqtt::Event::Connected { session_present } => {
            let session = if *session_present { "kept" } else { "new" };
            log::info!("connected to {endpoint}; the session is a {session} one");
        }
        // By leaving, which is told where it is done.
        mqtt::Event::Disconnected { cause, .. } if matches!(**cause, EndCause::Closed) => {}
        mqtt::Event::Disconnected { cause, retry_in } => {
            log::warn!("disconnected: {cause}{}", Next(*retry_in));
        }
        mqtt::Event::ConnectFailed { cause, retry_in } => {
            log::warn!("{cause}{}", Next(*retry_in));
        }
        mqtt::Event::SubscribeRefused { filters } => {
            log::error!("the broker refused to subscribe to {}", filters.join(", "));
        }
        other => log::info!("{other:?}"),
    }
}

/// When the next connection is tried.
struct Next(Option<Duration>);

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(delay) => write!(f, "; next attempt in {:.1} s", delay.as_secs_f64()),
            None => Ok(()),
        }
    }
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
    let received = Rc::clone(received);
    let subscribe = Subscribe::to_all(&filters).wait(Wait::None);
    let subscribed = client.subscribe_as(subscribe, move |client, message| {
        received.receive(client, message);
        Ok(())
    });
    subscribed.map(drop).map_err(Failure::Subscribe)
}

type TelemetryFiber = JoinHandle<Result<(), Stopped>>;

fn start_telemetry(
    client: &Client,
    config: &Config,
    telemetry: Telemetry,
) -> Result<TelemetryFiber, Failure> {
    let (client, device) = (client.clone(), config.device_id.clone());
    FiberBuilder::new()
        .name("telemetry")
        .spawn(move || telemetry::publish(&client, device.as_str(), &telemetry))
        .map_err(Failure::Spawn)
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
            Selected::Ready(0) => {
                if let Some(signal) = signals.try_recv() {
                    return Ok(Why::Signal(signal));
                }
            }
            Selected::Ready(_) => return Ok(Why::Output),
            Selected::Deadline => return Ok(Why::Limit),
        }
    }
}

/// Stops telemetry, leaves the broker, prints what had arrived; twice [`LEAVE_TIMEOUT`] at most,
/// and what closing the transport takes.
fn leave(
    client: &Client,
    telemetry: Option<TelemetryFiber>,
    received: &Received,
) -> Result<(), Failure> {
    if let Some(mut telemetry) = telemetry {
        telemetry.cancel();
        if let Err(error) = telemetry.join() {
            log::error!("telemetry had ended before: {error}");
        }
    }
    let remaining = client.close(LEAVE_TIMEOUT)?;
    match left(&remaining) {
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
        received.fail(error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_attempt_is_told_in_tenths_of_a_second() {
        let next = |millis| Next(Some(Duration::from_millis(millis))).to_string();
        assert_eq!(next(0), "; next attempt in 0.0 s");
        assert_eq!(next(1_249), "; next attempt in 1.2 s");
        assert_eq!(next(600_000), "; next attempt in 600.0 s");
        assert_eq!(Next(None).to_string(), "");
    }
}
