//! Subscribing from other threads, in real time: a paused clock does not wait for them.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fiber::net::{PipeStream, pipe};
use mqtt::session::ArgumentError;
use mqtt::{
    Broker, BrokerOptions, Client, ClientId, ClientOptions, Publish, QoS, Remote, RemoteError,
    RemoteMessages,
};

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than it takes to answer, where nothing is to come.
const WHILE: Duration = Duration::from_millis(50);

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const GRANTED: u8 = 1;
const REFUSED: u8 = 0x80;

/// A broker that says what the test says.
struct Line(Rc<PipeStream>);

impl Line {
    fn send(&self, bytes: &[u8]) {
        (&*self.0).write_all(bytes).unwrap();
    }

    /// Expects a packet of this kind; returns what follows its length.
    #[track_caller]
    fn expect(&self, kind: u8) -> Vec<u8> {
        let mut head = [0; 2];
        (&*self.0).read_exact(&mut head).unwrap();
        let mut body = vec![0; head[1].into()];
        (&*self.0).read_exact(&mut body).unwrap();
        assert_eq!(head[0], kind, "{head:?} {body:?}");
        body
    }

    /// Expects nothing for a while.
    #[track_caller]
    fn expect_silence(&self) {
        let read = fiber::timeout(WHILE, || (&*self.0).read(&mut [0]));
        assert!(read.is_err(), "{read:?}");
    }

    /// Answers SUBSCRIBE.
    #[track_caller]
    fn answer(&self, reason: u8) {
        let subscribe = self.expect(0x82);
        self.send(&[0x90, 3, subscribe[0], subscribe[1], reason]);
    }

    /// Sends a message of QoS 1 with one byte.
    fn publish(&self, number: u8) {
        self.send(&[0x32, 6, 0, 1, b'm', 0, number, number]);
    }
}

/// Runs `body` with a client whose broker is played, and a handle for other threads.
#[track_caller]
fn play(body: impl FnOnce(&Line, &Client, Remote) + 'static) {
    let main = move || {
        let (ours, theirs) = pipe(64 * 1024);
        let line = Line(Rc::new(theirs));
        line.send(&CONNACK);
        let client = Client::over(ours, ClientOptions::new(ClientId::new("meter").unwrap()));
        client.connect().unwrap();
        line.expect(0x10);
        body(&line, &client, client.remote().unwrap());
    };
    fiber::run(main).unwrap();
}

/// Waits, on a fiber, for what runs on a thread.
fn join<T: Send + 'static>(thread: thread::JoinHandle<T>) -> T {
    fiber::offload(|| thread.join().unwrap()).unwrap()
}

fn subscribe(remote: &Remote) -> Result<RemoteMessages, RemoteError> {
    remote.subscribe("m", QoS::AtLeastOnce, LIMIT)
}

#[test]
fn a_thread_gets_every_message_in_order() {
    const COUNT: usize = 500;
    let main = || {
        let broker = Broker::new(BrokerOptions::new());
        let connect = |name| {
            let (ours, theirs) = pipe(64 * 1024);
            broker.attach(theirs).unwrap();
            let client = Client::over(ours, ClientOptions::new(ClientId::new(name).unwrap()));
            client.connect().unwrap();
            client
        };
        let (client, publisher) = (connect("meter"), connect("panel"));
        let remote = client.remote().unwrap();
        let (to, from) = mpsc::channel();
        let reader = thread::spawn(move || {
            let messages = remote.subscribe("m/+", QoS::ExactlyOnce, LIMIT).unwrap();
            to.send(()).unwrap();
            messages
                .take(COUNT)
                .map(|message| {
                    assert_eq!(message.topic, "m/x");
                    (message.qos, String::from_utf8(message.data).unwrap())
                })
                .collect::<Vec<_>>()
        });
        fiber::offload(move || from.recv().unwrap()).unwrap();
        for number in 0..COUNT {
            let data = number.to_string();
            publisher
                .publish(Publish::to("m/x", &data).qos(QoS::ExactlyOnce))
                .unwrap();
        }
        let seen = join(reader);
        let expected = (0..COUNT).map(|number| (QoS::ExactlyOnce, number.to_string()));
        assert_eq!(seen, Vec::from_iter(expected));
    };
    fiber::run(main).unwrap();
}

#[test]
fn a_message_is_acknowledged_when_the_next_one_is_asked_for() {
    play(|line, client, remote| {
        let (go, wait) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut messages = subscribe(&remote).unwrap();
            assert_eq!(messages.try_recv(), Err(RemoteError::TimedOut));
            tell.send(()).unwrap();
            let first = messages.recv(LIMIT).unwrap();
            assert_eq!(
                (&*first.topic, &*first.data, first.dup),
                ("m", &[1][..], false)
            );
            wait.recv().unwrap();
            assert_eq!(messages.recv(LIMIT).unwrap().data, [2]);
            // What was asked for in vain comes to who asks next.
            assert_eq!(messages.recv(WHILE), Err(RemoteError::TimedOut));
            tell.send(()).unwrap();
            assert_eq!(messages.recv(LIMIT).unwrap().data, [3]);
            messages
        });
        line.answer(GRANTED);
        let told = fiber::offload(move || told.recv().map(|()| told).unwrap()).unwrap();
        line.publish(1);
        line.publish(2);
        line.expect_silence();
        go.send(()).unwrap();
        assert_eq!(line.expect(0x40), [0, 1]);
        assert_eq!(line.expect(0x40), [0, 2]);
        fiber::offload(move || told.recv().unwrap()).unwrap();
        line.publish(3);
        let messages = join(reader);
        line.expect_silence();
        drop(messages);
        assert_eq!(line.expect(0x40), [0, 3]);
        assert_eq!(line.expect(0xA2)[2..], [0, 1, b'm']);
        assert!(client.is_connected());
    });
}

#[test]
fn what_cannot_be_subscribed_is_an_error_and_the_connection_goes_on() {
    play(|line, client, remote| {
        let there = remote.clone();
        let refused = thread::spawn(move || subscribe(&there).map(drop));
        line.answer(REFUSED);
        assert_eq!(join(refused), Err(RemoteError::SubscribeRefused));
        let there = remote.clone();
        let wrong =
            thread::spawn(move || there.subscribe("m/#/x", QoS::AtMostOnce, LIMIT).map(drop));
        let wrong = join(wrong).unwrap_err();
        assert!(
            matches!(
                wrong,
                RemoteError::Argument(ArgumentError::Filter { index: 0, .. })
            ),
            "{wrong}"
        );
        let there = remote.clone();
        let late = thread::spawn(move || there.subscribe("late", QoS::AtMostOnce, WHILE).map(drop));
        let subscribed = line.expect(0x82);
        assert_eq!(join(late), Err(RemoteError::TimedOut));
        // Its answer is for nobody.
        line.send(&[0x90, 3, subscribed[0], subscribed[1], 0]);
        assert_eq!(line.expect(0xA2)[4..], *b"late");
        let here = remote.subscribe("m", QoS::AtMostOnce, LIMIT).map(drop);
        assert_eq!(here, Err(RemoteError::InRuntime));
        assert!(client.is_connected());
    });
}

#[test]
fn the_end_of_the_client_ends_the_messages() {
    play(|line, client, remote| {
        let there = remote.clone();
        let reader = thread::spawn(move || {
            let messages = subscribe(&there).unwrap();
            messages.map(|message| message.data).collect::<Vec<_>>()
        });
        line.answer(GRANTED);
        line.publish(1);
        line.publish(2);
        for number in 1..=2 {
            assert_eq!(line.expect(0x40), [0, number]);
        }
        client.close(Duration::ZERO).unwrap();
        assert_eq!(join(reader), [[1], [2]]);
        let after = thread::spawn(move || subscribe(&remote).map(drop));
        assert_eq!(join(after), Err(RemoteError::Closed));
    });
}

#[test]
fn a_message_that_no_thread_saw_is_not_acknowledged_when_the_client_leaves_or_the_runtime_ends() {
    for closes in [true, false] {
        let (keep, kept) = mpsc::channel();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let packets = Rc::clone(&seen);
        play(move |line, client, remote| {
            let reader = thread::spawn(move || {
                let mut messages = subscribe(&remote).unwrap();
                // Asked for, and given up.
                assert_eq!(messages.recv(WHILE), Err(RemoteError::TimedOut));
                messages
            });
            line.answer(GRANTED);
            let messages = join(reader);
            line.publish(1);
            line.expect_silence();
            let end = Rc::clone(&line.0);
            let read = move || {
                let mut bytes = Vec::new();
                let _ = fiber::shield(LIMIT, || (&*end).read_to_end(&mut bytes));
                packets.borrow_mut().extend(bytes);
            };
            if closes {
                // The close waits for its acknowledgement.
                client
                    .publish(Publish::to("m", "x").qos(QoS::AtLeastOnce))
                    .unwrap();
                line.expect(0x32);
                let mut reader = fiber::spawn(read).unwrap();
                let client = client.clone();
                let mut close = fiber::spawn(move || client.close(2 * WHILE)).unwrap();
                fiber::sleep(WHILE).unwrap();
                drop(messages);
                close.join().unwrap().unwrap();
                reader.join().unwrap();
            } else {
                // The runtime ends while a thread has it.
                fiber::spawn(read).unwrap();
                keep.send(messages).unwrap();
            }
        });
        drop(kept);
        let packets = seen.take();
        assert_eq!(packets.last_chunk(), Some(&[0xE0, 0]), "{packets:x?}");
        assert!(!packets.contains(&0x40), "PUBACK left: {packets:x?}");
        assert!(!packets.contains(&0xA2), "UNSUBSCRIBE left: {packets:x?}");
    }
}
