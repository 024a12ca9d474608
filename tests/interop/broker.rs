//! The embedded broker, against clients that are not ours: Mosquitto's and Paho's.
//!
//! The broker runs on the fibers of the test and listens on a port of its own; foreign programs are
//! waited for on other threads. Mosquitto's clients are told what to do by their arguments; what Paho's
//! is to do and to see stands in `paho/`.

mod connecting;
mod delivery;
mod sessions;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, RunError};
use mqtt::{Broker, BrokerOptions, LocalSubscription, QoS};
use safe_rt::Listener;
use tests::paho;
use tests::peers::Peers;
use tests::process::{Finished, PROCESS_TIMEOUT, Running, mosquitto_pub, mosquitto_sub};

/// Time for a test; a foreign program has less.
const LIMIT: Duration = Duration::from_secs(60);

/// A broker that listens.
struct Served {
    peers: Peers,
    broker: Broker,
    port: u16,
    /// Clients whose SUBSCRIBE came, each time.
    subscribed: Rc<RefCell<Vec<String>>>,
    news: Event,
}

/// Runs `body` with a broker of the defaults.
#[track_caller]
fn serve(peers: Peers, body: impl FnOnce(&Served) + 'static) {
    serve_with(peers, BrokerOptions::new(), body);
}

/// Runs `body` with a broker whose clients may subscribe to everything but `secret/#`.
#[track_caller]
fn serve_with(peers: Peers, options: BrokerOptions, body: impl FnOnce(&Served) + 'static) {
    let test = move || {
        let subscribed: Rc<RefCell<Vec<String>>> = Rc::default();
        let news = Event::new();
        let (clients, told) = (Rc::clone(&subscribed), news.clone());
        let options = options.authorize_subscribe(move |client, filter, _| {
            clients.borrow_mut().push(client.to_owned());
            told.set();
            filter != "secret/#"
        });
        let broker = Broker::new(options);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        broker.serve(listener).unwrap();
        body(&Served {
            peers,
            broker: broker.clone(),
            port,
            subscribed,
            news,
        });
        broker.stop();
    };
    match fiber::run(|| fiber::timeout(LIMIT, test)) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => panic!("the test took more than {LIMIT:?}"),
        Err(RunError::Panicked(payload)) => std::panic::resume_unwind(payload),
        Err(error) => panic!("{error}"),
    }
}

impl Served {
    /// Runs `mosquitto_pub` to its end, and returns that.
    fn pub_ends(&self, args: &[&str]) -> Finished {
        let (peers, port) = (self.peers.clone(), self.port);
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let run = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            mosquitto_pub(&peers, port, &args).unwrap()
        };
        fiber::offload(run).unwrap()
    }

    /// Publishes with `mosquitto_pub`.
    #[track_caller]
    fn publish(&self, topic: &str, payload: &str, qos: &str, more: &[&str]) {
        let args = [&["-t", topic, "-m", payload, "-q", qos][..], more].concat();
        let finished = self.pub_ends(&args);
        assert!(finished.status.success(), "{}", finished.stderr);
    }

    /// Starts `mosquitto_sub`, which says nothing of its subscription yet.
    fn start_sub(&self, client: &str, args: &[&str]) -> Sub {
        let args = [&["-i", client, "-F", "%t=%p q%q r%r"][..], args].concat();
        Sub(mosquitto_sub(&self.peers, self.port, &args).unwrap())
    }

    /// Starts `mosquitto_sub`, and waits for its subscription.
    #[track_caller]
    fn sub(&self, client: &str, args: &[&str]) -> Sub {
        // One that was cut has subscribed again, and nobody has waited for that.
        self.subscribed.borrow_mut().retain(|other| other != client);
        let sub = self.start_sub(client, args);
        self.wait_for_subscribe(client);
        sub
    }

    /// Waits until a SUBSCRIBE of a client was handled that nobody waited for.
    #[track_caller]
    fn wait_for_subscribe(&self, client: &str) {
        self.wait_for("a SUBSCRIBE", || {
            let mut subscribed = self.subscribed.borrow_mut();
            let at = subscribed.iter().position(|other| other == client);
            at.map(|at| subscribed.remove(at)).is_some()
        });
        // A SUBSCRIBE of several filters is handled in one turn.
        self.subscribed.borrow_mut().retain(|other| other != client);
    }

    /// Waits until no more than so many clients are connected.
    #[track_caller]
    fn wait_for_connections(&self, connections: usize) {
        self.wait_for("the end of a connection", || {
            self.broker.stats().connections <= connections
        });
    }

    #[track_caller]
    fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let waited = fiber::timeout(PROCESS_TIMEOUT, || {
            while !condition() {
                self.news.clear();
                let step = Some(fiber::Instant::now() + Duration::from_millis(10));
                fiber::select(&[&self.news], step).unwrap();
            }
        });
        assert!(waited.is_ok(), "{what} did not come");
    }

    /// Runs a scenario with Paho's client; it must go well.
    #[track_caller]
    fn paho(&self, script: &str, scenario: &str) {
        let running = paho::scenario(&self.peers, script, scenario, self.port).unwrap();
        let finished =
            fiber::offload(move || running.finish(PROCESS_TIMEOUT * 2).unwrap()).unwrap();
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        assert_eq!(finished.stderr, "", "{scenario}");
    }
}

/// A running `mosquitto_sub`, whose lines read `a/b=hi q1 r0`.
struct Sub(Running);

impl Sub {
    /// The next lines, in order of arrival.
    #[track_caller]
    fn lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    #[track_caller]
    fn line(&mut self) -> String {
        // A moment at a time: the broker is on this thread.
        for _ in 0..2_000 {
            if let Some(line) = self.0.try_line() {
                return line;
            }
            fiber::sleep(Duration::from_millis(5)).unwrap();
        }
        panic!("no further line: {:?}", self.0);
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.lines(expected.len()), expected);
    }

    /// What comes next is `marker`, published now: nothing else is under way.
    #[track_caller]
    fn expect_nothing_but(&mut self, served: &Served, topic: &str, marker: &str) {
        served.publish(topic, marker, "2", &[]);
        let line = self.line();
        assert!(line.starts_with(&format!("{topic}={marker} ")), "{line}");
    }

    /// Waits for its end.
    fn finish(self) -> Finished {
        let Self(running) = self;
        fiber::offload(move || running.finish(PROCESS_TIMEOUT).unwrap()).unwrap()
    }
}

/// Waits for a message of the program's own subscription.
#[track_caller]
fn expect_local(subscription: &LocalSubscription, topic: &str, payload: &str, qos: QoS) {
    let message = subscription.recv().unwrap();
    let found = (message.topic(), message.payload(), message.qos());
    assert_eq!(found, (topic, payload.as_bytes(), qos));
}
