//! Publishing from other threads, in real time: a paused clock does not wait for them.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use mqtt::session::ArgumentError;
use mqtt::{
    Broker, BrokerOptions, Client, ClientId, ClientOptions, Outcome, Publish, QoS,
    REMOTE_BYTES_MAX, REMOTE_MESSAGES_MAX, Remote, RemoteError, Wait,
};

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(60);
const ACKED: Outcome = Outcome::Acked { maybe_twice: false };

/// Runs `body` with a client that is connected to a broker, and a handle for other threads.
#[track_caller]
fn run(body: impl FnOnce(&Broker, &Client, Remote) + 'static) {
    run_with(None, body);
}

/// As [`run`], where messages may get so old.
#[track_caller]
fn run_with(age_max: Option<Duration>, body: impl FnOnce(&Broker, &Client, Remote) + 'static) {
    let main = move || {
        let broker = Broker::new(BrokerOptions::new());
        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        broker.attach(theirs).unwrap();
        let id = ClientId::new("meter").unwrap();
        let options = ClientOptions::new(id).queue_age_max(age_max);
        let client = Client::over(ours, options);
        client.connect().unwrap();
        body(&broker, &client, client.remote().unwrap());
    };
    fiber::run(main).unwrap();
}

/// Waits, on a fiber, for what runs on a thread.
fn join<T: Send + 'static>(thread: thread::JoinHandle<T>) -> T {
    fiber::offload(|| thread.join().unwrap()).unwrap()
}

fn message(data: &str) -> Publish<'_> {
    Publish::to("m", data).qos(QoS::AtLeastOnce)
}

#[test]
fn what_other_threads_publish_arrives_in_their_order_and_is_settled() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    run(|broker, client, remote| {
        let seen = broker.subscribe("m").unwrap();
        let publish = |name: usize| {
            let remote = remote.clone();
            thread::spawn(move || {
                let publish = |number| {
                    let data = format!("{name}:{number}");
                    remote.publish(message(&data), LIMIT).unwrap()
                };
                let tickets: Vec<_> = (0..EACH).map(publish).collect();
                for ticket in tickets {
                    assert_eq!(ticket.wait(LIMIT), Ok(ACKED));
                    assert_eq!(ticket.outcome(), Some(Ok(ACKED)));
                }
            })
        };
        let threads: Vec<_> = (0..THREADS).map(publish).collect();
        let mut next = [0; THREADS];
        for _ in 0..THREADS * EACH {
            let message = seen.recv().unwrap();
            let text = std::str::from_utf8(message.payload()).unwrap();
            let (name, number) = text.split_once(':').unwrap();
            let next = &mut next[name.parse::<usize>().unwrap()];
            assert_eq!(number.parse(), Ok(*next));
            *next += 1;
        }
        threads.into_iter().for_each(join);
        assert_eq!(client.unacknowledged(), 0);
    });
}

#[test]
fn a_publish_waits_for_its_level_and_one_of_qos_0_is_settled_when_it_is_sent() {
    run(|_, _, remote| {
        join(thread::spawn(move || {
            let publish = message("x").wait(Wait::Ack);
            let ticket = remote.publish(publish, LIMIT).unwrap();
            assert_eq!(ticket.outcome(), Some(Ok(ACKED)));
            let ticket = remote.try_publish(Publish::to("m", "y")).unwrap();
            assert_eq!(ticket.wait(LIMIT), Ok(Outcome::Sent));
            let wrong = remote.publish(Publish::to("m/+", "").wait(Wait::Ack), LIMIT);
            let wrong = wrong.unwrap_err();
            assert!(
                matches!(wrong, RemoteError::Argument(ArgumentError::Packet(_))),
                "{wrong}"
            );
        }));
    });
}

#[test]
fn the_queue_is_bounded_by_count_and_bytes_and_a_single_message_always_fits() {
    // Nothing runs on this thread but this fiber, which never waits.
    run(|_, _, remote| {
        for _ in 0..REMOTE_MESSAGES_MAX {
            remote.try_publish(message("x")).unwrap();
        }
        let full = remote.try_publish(message("x")).unwrap_err();
        assert_eq!(full, RemoteError::Full);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let late = remote.publish(message("x"), Duration::from_millis(1));
            sender.send(late.unwrap_err()).unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), RemoteError::TimedOut);
    });
    run(|_, _, remote| {
        let large = vec![b'x'; REMOTE_BYTES_MAX];
        remote.try_publish(Publish::to("m", &large)).unwrap();
        let full = remote.try_publish(message("")).unwrap_err();
        assert_eq!(full, RemoteError::Full);
    });
}

#[test]
fn after_the_end_of_the_client_every_call_and_every_ticket_says_so() {
    run(|_, client, remote| {
        let queued = remote.try_publish(message("x")).unwrap();
        client.close(LIMIT).unwrap();
        while queued.outcome().is_none() {
            fiber::yield_now().unwrap();
        }
        let after = remote.try_publish(message("x"));
        assert_eq!(after.unwrap_err(), RemoteError::Closed);
        assert!(client.remote().is_err());
        let error = join(thread::spawn(move || {
            remote.publish(message("x"), LIMIT).unwrap_err()
        }));
        assert_eq!(error, RemoteError::Closed);
    });
}

#[test]
fn a_call_that_would_block_the_fibers_is_refused() {
    run(|_, _, remote| {
        let refused = remote.publish(message("x"), LIMIT);
        assert_eq!(refused.unwrap_err(), RemoteError::InRuntime);
        let ticket = remote.try_publish(message("x")).unwrap();
        assert_eq!(ticket.wait(LIMIT), Err(RemoteError::InRuntime));
    });
}

#[test]
fn the_fiber_for_other_threads_ends_with_their_last_handle_and_comes_back() {
    run(|broker, client, remote| {
        let names = || {
            let fibers = fiber::fibers();
            fibers
                .iter()
                .filter(|fiber| fiber.name == "mqtt-remote")
                .count()
        };
        let other = client.remote().unwrap();
        drop(remote);
        fiber::yield_now().unwrap();
        assert_eq!(names(), 1, "one for all handles");
        drop(other);
        while names() > 0 {
            fiber::sleep(Duration::from_millis(1)).unwrap();
        }
        let seen = broker.subscribe("m").unwrap();
        let remote = client.remote().unwrap();
        let ticket = remote.try_publish(message("x")).unwrap();
        drop(remote);
        assert_eq!(seen.recv().unwrap().payload(), b"x");
        drop(ticket);
    });
}

/// Wakes a thread.
struct Thread(thread::Thread);

impl Wake for Thread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_ticket_is_a_future() {
    run(|_, _, remote| {
        let outcome = join(thread::spawn(move || {
            let mut ticket = pin!(remote.try_publish(message("x")).unwrap());
            let waker = Waker::from(Arc::new(Thread(thread::current())));
            let mut context = Context::from_waker(&waker);
            loop {
                match ticket.as_mut().poll(&mut context) {
                    Poll::Ready(outcome) => return outcome,
                    Poll::Pending => thread::park(),
                }
            }
        }));
        assert_eq!(outcome, Ok(ACKED));
    });
}

#[test]
fn the_handle_and_the_ticket_may_cross_threads() {
    const fn check<T: Send + Sync>() {}
    check::<Remote>();
    check::<mqtt::RemoteTicket>();
}

#[test]
fn what_got_too_old_on_its_way_to_the_client_is_not_sent() {
    const AGE: Duration = Duration::from_millis(1);
    for (own, of_client) in [(Some(AGE), None), (None, Some(AGE))] {
        run_with(of_client, move |_, client, remote| {
            let mut old = message("x");
            if let Some(age) = own {
                old = old.expires_after(age);
            }
            let ticket = remote.try_publish(old).unwrap();
            // No fiber runs meanwhile.
            thread::sleep(2 * AGE);
            while ticket.outcome().is_none() {
                fiber::yield_now().unwrap();
            }
            assert_eq!(ticket.outcome(), Some(Ok(Outcome::Expired)));
            assert_eq!(client.stats().expired, 1);
        });
    }
}
