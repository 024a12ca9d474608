//! A handler may wait for its own packets, at every level: reading goes on while it does.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use mqtt::{
    Broker, BrokerOptions, Client, ClientId, ClientOptions, HandlerError, Message, Outcome,
    Publish, QoS, Wait,
};

const LIMIT: Duration = Duration::from_secs(30);

/// Messages that the broker sends behind the one whose handler waits: of QoS 0 more than any queue
/// holds, of QoS 1 more than the broker's window.
const FLOOD: usize = 3_000;
const BACKLOG: usize = 300;

/// What the handler does.
#[derive(Clone, Copy)]
enum Step {
    Publish(QoS, Wait),
    Subscribe,
    Unsubscribe,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(qos, wait) => write!(f, "publish at {qos:?} with {wait:?}"),
            Self::Subscribe => f.write_str("subscribe"),
            Self::Unsubscribe => f.write_str("unsubscribe"),
        }
    }
}

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const WAITS: [Wait; 4] = [Wait::None, Wait::Stored, Wait::Sent, Wait::Ack];

fn steps() -> Vec<Step> {
    let publish = |qos| WAITS.map(|wait| Step::Publish(qos, wait));
    let publishes = LEVELS.into_iter().flat_map(publish);
    publishes
        .chain([Step::Subscribe, Step::Unsubscribe])
        .collect()
}

/// Does it; returns what became of a publish, as far as that is known then.
fn take(step: Step, client: &Client, message: &Message) -> Result<Option<Outcome>, HandlerError> {
    match step {
        Step::Publish(qos, wait) => {
            let publish = Publish::to("state", &*message.data).qos(qos).wait(wait);
            Ok(client.publish(publish)?.poll())
        }
        Step::Subscribe => {
            client.subscribe("more", QoS::ExactlyOnce, |_, _| Ok(()))?;
            Ok(None)
        }
        Step::Unsubscribe => {
            client.unsubscribe("more")?;
            Ok(None)
        }
    }
}

/// What must be known of a publish when the call returns, by the level that it waited for.
fn expected(step: Step) -> Option<Outcome> {
    match step {
        Step::Publish(QoS::AtMostOnce, Wait::Sent | Wait::Ack) => Some(Outcome::Sent),
        Step::Publish(_, Wait::Ack) => Some(Outcome::Acked { maybe_twice: false }),
        Step::Publish(..) | Step::Subscribe | Step::Unsubscribe => None,
    }
}

/// The program's message reaches the handler at `qos`, which takes every step in one call; with a
/// `backlog`, behind it there is far more than anything holds, so that its packets are answered behind that.
fn every_step_within_a_message_of(qos: QoS, backlog: bool) {
    let main = move || {
        let broker = Broker::new(BrokerOptions::new());
        let state = broker.subscribe("state").unwrap();
        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        broker.attach(theirs).unwrap();
        let client = Client::over(ours, ClientOptions::new(ClientId::new("meter").unwrap()));
        client.connect().unwrap();
        let done = Rc::new(RefCell::new(Vec::new()));
        let (log, all) = (Rc::clone(&done), fiber::Event::new());
        let say_all = all.clone();
        let handled = Rc::new(Cell::new(0));
        let count = Rc::clone(&handled);
        let handler = move |client: &Client, message: &Message| {
            count.set(count.get() + 1);
            if message.data == b"more" {
                return Ok(());
            }
            assert_eq!(message.qos, qos);
            if backlog {
                // All of that is on its way, and as much of it read as can be.
                fiber::sleep(Duration::from_secs(1))?;
            }
            for step in steps() {
                let outcome = take(step, client, message)?;
                log.borrow_mut().push((step, outcome));
            }
            say_all.set();
            Ok(())
        };
        client.subscribe("set", qos, handler).unwrap();
        broker.publish("set", "4", qos, false).unwrap();
        if backlog {
            // They pass the window of those below.
            for _ in 0..FLOOD {
                broker
                    .publish("set", "more", QoS::AtMostOnce, false)
                    .unwrap();
            }
            for _ in 0..BACKLOG {
                broker
                    .publish("set", "more", QoS::AtLeastOnce, false)
                    .unwrap();
            }
        }
        fiber::timeout(LIMIT, || all.wait()).unwrap().unwrap();
        for (step, outcome) in done.take() {
            if let Some(expected) = expected(step) {
                assert_eq!(outcome, Some(expected), "{step:?}");
            }
        }
        for _ in 0..LEVELS.len() * WAITS.len() {
            assert_eq!(state.recv().unwrap().payload(), b"4");
        }
        if backlog {
            fiber::sleep(Duration::from_secs(1)).unwrap();
        }
        // The message itself is acknowledged now, so that leaving in order leaves nothing.
        assert_eq!(client.close(LIMIT).unwrap(), mqtt::Remaining::default());
        let stats = client.stats();
        assert_eq!((stats.handler_errors, stats.handler_panics), (0, 0));
        if backlog {
            assert!(stats.dropped > 0 && handled.get() > BACKLOG, "{stats:?}");
        } else {
            assert_eq!((stats.received, handled.get()), (1, 1));
        }
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn within_a_qos_1_message_every_packet_may_be_waited_for_at_every_level() {
    every_step_within_a_message_of(QoS::AtLeastOnce, false);
}

#[test]
fn within_a_qos_2_message_every_packet_may_be_waited_for_at_every_level() {
    every_step_within_a_message_of(QoS::ExactlyOnce, false);
}

#[test]
fn so_it_may_behind_a_flood_of_qos_0_and_a_full_window() {
    for qos in LEVELS {
        every_step_within_a_message_of(qos, true);
    }
}
