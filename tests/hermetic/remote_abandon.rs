//! Withdrawing and naming messages from other threads, in real time: a paused clock does not wait for
//! them.

use std::thread;
use std::time::Duration;

use mqtt::store::{Key, Memory};
use mqtt::{
    BrokerOptions, Client, ClientOptions, Outcome, Publish, QoS, Remote, RemoteError, RemoteTicket,
};

use crate::harness::{options, unreachable_broker};

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(60);

fn message() -> Publish<'static> {
    Publish::to("m", "x").qos(QoS::AtLeastOnce)
}

/// Runs `body` with a client that reaches nobody.
#[track_caller]
fn offline(options: ClientOptions, body: impl FnOnce(&Client, Remote) + 'static) {
    let main = || {
        let client = Client::open_by(|| Err(unreachable_broker()), options).unwrap();
        let remote = client.remote().unwrap();
        body(&client, remote);
        client.close(Duration::ZERO).unwrap();
    };
    fiber::run(main).unwrap();
}

/// Withdraws, on a thread, what a ticket is for.
fn abandon(remote: &Remote, ticket: RemoteTicket) -> (Result<(), RemoteError>, RemoteTicket) {
    let remote = remote.clone();
    let abandon = move || (ticket.abandon(&remote, LIMIT), ticket);
    fiber::offload(abandon).unwrap()
}

/// Waits until the client has taken so many messages.
fn taken(client: &Client, messages: usize) {
    while client.unacknowledged() < messages {
        fiber::sleep(Duration::from_millis(1)).unwrap();
    }
}

const WITHDRAWN: Option<Result<Outcome, RemoteError>> = Some(Ok(Outcome::Withdrawn));

#[test]
fn another_thread_withdraws_what_the_client_has_and_has_not_sent() {
    for options in [options(), options().store(Memory::default())] {
        offline(options, |client, remote| {
            let (first, second) = (remote.try_publish(message()), remote.try_publish(message()));
            taken(client, 2);
            let (abandoned, second) = abandon(&remote, second.unwrap());
            assert_eq!((abandoned, second.outcome()), (Ok(()), WITHDRAWN));
            assert_eq!(client.unacknowledged(), 1);
            assert_eq!(client.stats().withdrawn, 1);
            // It may be asked again.
            assert_eq!(abandon(&remote, second).0, Ok(()));
            assert_eq!(first.unwrap().outcome(), None);
        });
    }
}

#[test]
fn another_thread_withdraws_what_the_client_has_not_taken() {
    offline(options(), |client, remote| {
        // This fiber does not wait, so nobody takes it.
        let ticket = remote.try_publish(message()).unwrap();
        let withdraw = move || {
            let abandoned = ticket.abandon(&remote, LIMIT);
            (abandoned, ticket.outcome())
        };
        let withdrawn = thread::spawn(withdraw).join().unwrap();
        assert_eq!(withdrawn, (Ok(()), WITHDRAWN));
        fiber::sleep(Duration::from_millis(5)).unwrap();
        assert_eq!(client.unacknowledged(), 0);
    });
}

#[test]
fn what_was_sent_or_is_done_cannot_be_withdrawn_nor_from_a_thread_with_fibers() {
    let main = || {
        let broker = mqtt::Broker::new(BrokerOptions::new());
        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        broker.attach(theirs).unwrap();
        let client = Client::over(ours, options());
        client.connect().unwrap();
        let remote = client.remote().unwrap();
        let ticket = remote.try_publish(message()).unwrap();
        let here = ticket.abandon(&remote, LIMIT);
        assert_eq!(here, Err(RemoteError::InRuntime));
        let (late, ticket) = abandon(&remote, ticket);
        assert_eq!(late, Err(RemoteError::AlreadySent));
        let done = fiber::offload(move || ticket.wait(LIMIT)).unwrap();
        assert_eq!(done, Ok(Outcome::Acked { maybe_twice: false }));
        let ticket = remote.try_publish(message()).unwrap();
        client.close(LIMIT).unwrap();
        let (late, _) = abandon(&remote, ticket);
        assert!(
            matches!(late, Err(RemoteError::AlreadySent | RemoteError::Closed)),
            "{late:?}"
        );
    };
    fiber::run(main).unwrap();
}

#[test]
fn a_message_of_another_thread_with_a_name_is_published_once() {
    offline(options().store(Memory::default()), |client, remote| {
        let publish = message().key(Key::new(b"one").unwrap());
        let tickets = [remote.try_publish(publish), remote.try_publish(publish)];
        taken(client, 1);
        fiber::sleep(Duration::from_millis(5)).unwrap();
        assert_eq!(client.unacknowledged(), 1);
        let stored = client.stored();
        assert_eq!(stored[0].0.unwrap().as_bytes(), b"one");
        client.close(Duration::ZERO).unwrap();
        // Both are of the one message.
        for ticket in tickets {
            assert_eq!(ticket.unwrap().outcome(), WITHDRAWN);
        }
    });
}
