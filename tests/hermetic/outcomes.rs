//! Every outcome that a message may come to, and that each ticket has one after the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use mqtt::store::Memory;
use mqtt::{
    BrokerOptions, Client, Outcome, Publish, PublishError, QoS, QueuePolicy, RemoteError,
    RemoteTicket, Subscribe, Ticket, Wait,
};

use crate::harness::{
    Links, expect_disconnect, expect_qos_1, options, play_open, puback, unreachable_broker,
};
use crate::slow_disk::SlowDisk;

const SECOND: Duration = Duration::from_secs(1);

fn message() -> Publish<'static> {
    Publish::to("m", "x").qos(QoS::AtLeastOnce)
}

/// Runs `body` with a client that reaches nobody, and closes it.
fn offline(
    options: mqtt::ClientOptions,
    body: impl FnOnce(&Client) -> Ticket + 'static,
) -> Outcome {
    let main = move || {
        let client = Client::open_by(|| Err(unreachable_broker()), options).unwrap();
        let ticket = body(&client);
        client.close(SECOND).unwrap();
        ticket.poll().unwrap()
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap()
}

/// What comes of one message with this broker.
fn online(script: impl FnOnce(&Links) + 'static, publish: Publish<'static>) -> Outcome {
    let outcome = Rc::new(RefCell::new(None));
    let noted = Rc::clone(&outcome);
    play_open(options(), script, move |client| {
        let ticket = client.publish(publish).unwrap();
        client.close(60 * SECOND).unwrap();
        *noted.borrow_mut() = ticket.poll();
    });
    outcome.take().unwrap()
}

/// A way to the outcome; none for what no broker of 3.1.1 can bring about.
fn reach(outcome: Outcome) -> Option<Outcome> {
    let reached = match outcome {
        Outcome::Acked { maybe_twice: false } => online(
            |links| {
                let mut broker = links.accept(false);
                let number = expect_qos_1(&mut broker);
                broker.send(&puback(number));
                expect_disconnect(&mut broker);
            },
            message(),
        ),
        Outcome::Acked { maybe_twice: true } => online(
            |links| {
                expect_qos_1(&mut links.accept(false));
                let mut broker = links.accept(true);
                let number = expect_qos_1(&mut broker);
                broker.send(&puback(number));
                expect_disconnect(&mut broker);
            },
            message(),
        ),
        Outcome::Sent => online(
            |links| {
                let mut broker = links.accept(false);
                broker.receive(|_| ());
                expect_disconnect(&mut broker);
            },
            Publish::to("m", "x"),
        ),
        Outcome::SessionLost => online(
            |links| {
                let mut broker = links.accept(false);
                expect_qos_1(&mut broker);
                expect_disconnect(&mut broker);
            },
            message(),
        ),
        Outcome::Withdrawn => offline(options(), |client| {
            let ticket = client.publish(message()).unwrap();
            ticket.abandon().unwrap();
            ticket
        }),
        Outcome::Kept => {
            let store = SlowDisk::with(SECOND / 100, Memory::default());
            let publish = message().wait(Wait::Stored);
            offline(options().store(store), move |client| {
                client.publish(publish).unwrap()
            })
        }
        Outcome::Expired => offline(options(), |client| {
            let ticket = client.publish(message().expires_after(SECOND)).unwrap();
            fiber::sleep(2 * SECOND).unwrap();
            ticket
        }),
        Outcome::DroppedByPolicy => {
            let drops = options()
                .queue_max(1, 1 << 20)
                .queue_policy(QueuePolicy::DropNewest);
            offline(drops, |client| {
                client.publish(message()).unwrap();
                client.publish(message()).unwrap()
            })
        }
        Outcome::Refused(_) => return None,
        other => panic!("{other:?} is reached by nothing here"),
    };
    Some(reached)
}

#[test]
fn every_outcome_is_reached_but_the_one_that_no_broker_can_bring_about() {
    for outcome in Outcome::ALL {
        match reach(outcome) {
            Some(reached) => assert_eq!(reached, outcome),
            None => assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}"),
        }
    }
}

/// Publishes until the client is closed.
fn publish_to_the_end(client: &Client, tickets: &RefCell<Vec<Ticket>>, qos: QoS) {
    loop {
        match client.publish(Publish::to("out", "x").qos(qos)) {
            Ok(ticket) => tickets.borrow_mut().push(ticket),
            Err(PublishError::Full(_)) => return,
            Err(other) => panic!("{other}"),
        }
        if fiber::yield_now().is_err() {
            return;
        }
    }
}

#[test]
fn after_a_close_no_ticket_is_open_whoever_published() {
    const FIBERS: usize = 1_000;
    let main = || {
        let broker = mqtt::Broker::new(BrokerOptions::new());
        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        broker.attach(theirs).unwrap();
        let client = Client::over(ours, options().window(100).queue_max(500, 1 << 20));
        client.connect().unwrap();
        let tickets = Rc::new(RefCell::new(Vec::new()));

        let kept = Rc::clone(&tickets);
        let subscribe = Subscribe::to("in", QoS::AtLeastOnce);
        let answer = move |client: &Client, _: &mqtt::Message| {
            if let Ok(ticket) = client.publish(Publish::to("out", "y").qos(QoS::ExactlyOnce)) {
                kept.borrow_mut().push(ticket);
            }
            Ok(())
        };
        client.subscribe_as(subscribe, answer).unwrap();

        let remote = client.remote().unwrap();
        let publish_all = move || {
            let mut tickets: Vec<RemoteTicket> = Vec::new();
            loop {
                match remote.try_publish(Publish::to("in", "z").qos(QoS::AtLeastOnce)) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(RemoteError::Full) => thread::yield_now(),
                    Err(RemoteError::Closed) => return tickets,
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let others = thread::spawn(publish_all);

        let fibers: Vec<_> = (0..FIBERS)
            .map(|number| {
                let (client, tickets) = (client.clone(), Rc::clone(&tickets));
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number % 3];
                fiber::spawn(move || publish_to_the_end(&client, &tickets, qos)).unwrap()
            })
            .collect();
        fiber::sleep(SECOND / 5).unwrap();
        client.close(SECOND / 100).unwrap();
        for mut fiber in fibers {
            fiber.join().unwrap();
        }
        let tickets = tickets.borrow();
        assert!(tickets.len() > FIBERS, "{}", tickets.len());
        let open = tickets.iter().filter(|ticket| ticket.poll().is_none());
        assert_eq!(open.count(), 0);
        let others = fiber::offload(|| others.join().unwrap()).unwrap();
        assert!(!others.is_empty());
        for ticket in others {
            // What waited to be taken was not accepted.
            let outcome = ticket.outcome();
            assert!(
                matches!(outcome, Some(Ok(_) | Err(RemoteError::Closed))),
                "{outcome:?}"
            );
        }
    };
    fiber::run(main).unwrap();
}
