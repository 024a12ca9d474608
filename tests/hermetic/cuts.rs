//! The link is cut at every byte, in either direction: nothing is lost, and nothing comes twice
//! that may not.
//!
//! A device publishes at QoS 1 and 2, and handles commands of both that it answers from within the
//! handler, against the embedded broker. The broker keeps the session, or loses it with the link.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use mqtt::session::OnSessionLoss;
use mqtt::{
    Broker, BrokerOptions, Client, Faults, LocalSubscription, Message, Outcome, Publish, QoS, Wait,
};

use crate::harness::options;

const READINGS: u8 = 8;
const COMMANDS: u8 = 6;
const CLIENT: &str = "meter-17";
const UP: &str = "up/#";

/// A cut after so many bytes.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Sent(u64),
    Received(u64),
}

impl Cut {
    fn faults(self) -> Faults {
        match self {
            Self::Sent(at) => Faults {
                cut_after_sent: Some(at),
                ..Faults::default()
            },
            Self::Received(at) => Faults {
                cut_after_received: Some(at),
                ..Faults::default()
            },
        }
    }
}

/// How often each number came, in the order in which they came first.
#[derive(Debug, Default)]
struct Seen {
    order: Vec<u8>,
    times: BTreeMap<u8, usize>,
}

impl Seen {
    fn note(&mut self, number: u8) {
        let times = self.times.entry(number).or_default();
        *times += 1;
        if *times == 1 {
            self.order.push(number);
        }
    }

    /// Expects the first `count` numbers in order, each once unless it `may_repeat`.
    #[track_caller]
    fn check(&self, what: &str, count: u8, may_repeat: impl Fn(u8) -> bool) {
        assert_eq!(self.order, Vec::from_iter(0..count), "{what}");
        for (number, times) in &self.times {
            assert!(
                *times == 1 || may_repeat(*number),
                "{what} {number} came {times} times"
            );
        }
    }
}

/// What one life of the device showed.
#[derive(Debug, Default)]
struct Life {
    received: BTreeMap<String, Seen>,
    handled: BTreeMap<QoS, Seen>,
    maybe_twice: BTreeMap<QoS, Vec<u8>>,
    /// Every cut has happened.
    bitten: bool,
}

/// The brokers of one life: another one follows where the session is to be lost.
struct Cloud {
    brokers: Vec<(Broker, LocalSubscription)>,
    cuts: Vec<Cut>,
    loses_session: bool,
}

impl Cloud {
    fn new(mut cuts: Vec<Cut>, loses_session: bool) -> Self {
        cuts.reverse();
        let mut cloud = Self {
            brokers: Vec::new(),
            cuts,
            loses_session,
        };
        cloud.begin();
        cloud
    }

    fn broker(&self) -> &Broker {
        &self.brokers.last().unwrap().0
    }

    fn begin(&mut self) {
        let broker = Broker::new(BrokerOptions::new());
        let seen = broker.subscribe(UP).unwrap();
        self.brokers.push((broker, seen));
        self.set_cut();
    }

    fn set_cut(&mut self) {
        if let Some(cut) = self.cuts.pop() {
            self.broker().set_faults(CLIENT, cut.faults()).unwrap();
        }
    }

    fn has_bitten(&self) -> bool {
        self.broker().faults(CLIENT) == Faults::default()
    }

    /// A connection for the client; what was to be cut next is arranged.
    fn connect(&mut self) -> safe_rt::Socket {
        if self.has_bitten() && self.loses_session && self.brokers.len() == 1 {
            self.begin();
        } else if self.has_bitten() {
            self.set_cut();
        }
        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        self.broker().attach(theirs).unwrap();
        ours.into()
    }
}

fn live(cuts: Vec<Cut>, loses_session: bool, on_session_loss: OnSessionLoss) -> Life {
    let main = move || {
        let cloud = Rc::new(RefCell::new(Cloud::new(cuts, loses_session)));
        let dial = {
            let cloud = Rc::clone(&cloud);
            move || Ok(cloud.borrow_mut().connect())
        };
        let client = Client::open_by(dial, options().on_session_loss(on_session_loss)).unwrap();
        let handled = Rc::new(RefCell::new(BTreeMap::<QoS, Seen>::new()));
        let note = Rc::clone(&handled);
        let handler = move |client: &Client, message: &Message| {
            note.borrow_mut()
                .entry(message.qos)
                .or_default()
                .note(message.data[0]);
            let answer = Publish::to("up/answer", &message.data).qos(QoS::AtLeastOnce);
            client.publish(answer.wait(Wait::Ack))?;
            Ok(())
        };
        client
            .subscribe("down/#", QoS::ExactlyOnce, handler)
            .unwrap();
        let mut tickets = Vec::new();
        for number in 0..READINGS {
            for (topic, qos) in [("up/1", QoS::AtLeastOnce), ("up/2", QoS::ExactlyOnce)] {
                let payload = [number];
                let publish = Publish::to(topic, &payload).qos(qos);
                tickets.push((qos, number, client.publish(publish).unwrap()));
            }
        }
        if !loses_session {
            // Held for the session while the link is down.
            for number in 0..COMMANDS {
                for (topic, qos) in [("down/1", QoS::AtLeastOnce), ("down/2", QoS::ExactlyOnce)] {
                    cloud
                        .borrow()
                        .broker()
                        .publish(topic, [number], qos, false)
                        .unwrap();
                }
            }
        }
        let mut maybe_twice = BTreeMap::<QoS, Vec<u8>>::new();
        for (qos, number, mut ticket) in tickets {
            match ticket.outcome().unwrap() {
                Outcome::Acked { maybe_twice: false } => {}
                Outcome::Acked { maybe_twice: true } => {
                    maybe_twice.entry(qos).or_default().push(number);
                }
                Outcome::SessionLost if on_session_loss == OnSessionLoss::Finish => {
                    // Given up: it may be lost, and must not be doubled.
                    maybe_twice.entry(QoS::AtMostOnce).or_default().push(number);
                }
                outcome => panic!("{qos:?} {number}: {outcome:?}"),
            }
        }
        // The last commands, their answers, and what the broker still has to say.
        fiber::sleep(Duration::from_secs(200)).unwrap();
        assert_eq!(client.unacknowledged(), 0);
        let bitten = cloud.borrow().has_bitten() && cloud.borrow().cuts.is_empty();
        client.close(Duration::from_secs(5)).unwrap();
        let mut received = BTreeMap::<String, Seen>::new();
        for (_, seen) in &cloud.borrow().brokers {
            while let Some(message) = seen.try_recv() {
                let seen = received.entry(message.topic().to_owned()).or_default();
                seen.note(message.payload()[0]);
            }
        }
        Life {
            received,
            handled: handled.take(),
            maybe_twice,
            bitten,
        }
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap()
}

impl Life {
    /// Whether the outcome said so.
    fn said(&self, qos: QoS, number: u8) -> bool {
        self.maybe_twice
            .get(&qos)
            .is_some_and(|numbers| numbers.contains(&number))
    }

    #[track_caller]
    fn check_readings(&self) {
        for (topic, qos) in [("up/1", QoS::AtLeastOnce), ("up/2", QoS::ExactlyOnce)] {
            self.received[topic].check(topic, READINGS, |number| self.said(qos, number));
        }
    }

    #[track_caller]
    fn check_commands(&self) {
        self.handled[&QoS::AtLeastOnce].check("QoS 1 command", COMMANDS, |_| true);
        self.handled[&QoS::ExactlyOnce].check("QoS 2 command", COMMANDS, |_| false);
    }
}

/// The moments of a cut, one after the other, until there is none left.
fn each_cut(step: usize, mut live: impl FnMut(Cut) -> Life) -> usize {
    let mut cuts = 0;
    for kind in [Cut::Sent as fn(u64) -> Cut, Cut::Received] {
        for at in (0_u64..).step_by(step) {
            if !live(kind(at)).bitten {
                break;
            }
            cuts += 1;
        }
    }
    cuts
}

#[test]
fn a_cut_at_any_byte_loses_nothing_and_doubles_only_what_says_so() {
    let cuts = each_cut(1, |cut| {
        let life = live(vec![cut], false, OnSessionLoss::Resend);
        life.check_readings();
        life.check_commands();
        // The broker keeps the session: what is sent again is recognised.
        assert!(!life.maybe_twice.contains_key(&QoS::ExactlyOnce), "{cut:?}");
        life
    });
    assert!(cuts > 500, "{cuts} moments");
}

#[test]
fn a_second_cut_at_any_moment_changes_nothing() {
    for first in [Cut::Sent(40), Cut::Received(90), Cut::Received(210)] {
        let cuts = each_cut(7, |second| {
            let life = live(vec![first, second], false, OnSessionLoss::Resend);
            life.check_readings();
            life.check_commands();
            life
        });
        assert!(cuts > 50, "{cuts} moments");
    }
}

#[test]
fn a_session_that_is_lost_with_the_link_loses_nothing() {
    let cuts = each_cut(1, |cut| {
        let life = live(vec![cut], true, OnSessionLoss::Resend);
        life.check_readings();
        life
    });
    assert!(cuts > 300, "{cuts} moments");
}

#[test]
fn what_must_not_double_when_the_session_is_lost_is_given_up_instead() {
    let mut given_up = 0;
    each_cut(1, |cut| {
        let life = live(vec![cut], true, OnSessionLoss::Finish);
        let none = Seen::default();
        let twos = life.received.get("up/2").unwrap_or(&none);
        assert!(twos.times.values().all(|times| *times == 1), "{cut:?}");
        for number in 0..READINGS {
            let gone = life.said(QoS::AtMostOnce, number);
            given_up += usize::from(gone);
            assert!(
                gone || twos.times.contains_key(&number),
                "{cut:?}: {number} is lost"
            );
        }
        life
    });
    assert!(given_up > 0);
}
