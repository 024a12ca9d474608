//! Why a connection ends, as the program is told: one row for every cause, with what the broker
//! does and the exact text.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use fiber::net::{PipeStream, Shutdown};

use super::{expect_all, variants};
use crate::session::ArgumentError;
use crate::{Client, ClientId, ClientOptions, EndCause, INBOUND_BYTES_DEFAULT, QoS};

variants!(EndCause {
    Closed,
    Idle,
    Paused,
    Dial,
    Credentials,
    Argument,
    Refused,
    ClosedByPeer,
    Transport,
    Malformed,
    Peer,
    Dead,
    Panicked,
    Overrun,
});

/// What no broker can cause.
const OWN: [&str; 7] = [
    "Closed",
    "Idle",
    "Paused",
    "Dial",
    "Credentials",
    "Argument",
    "Panicked",
];

const CONNECT_LEN: usize = 16;
const SUBSCRIBE_LEN: usize = 8;

/// Reads CONNECT and answers with this return code.
fn answer(mut stream: &PipeStream, code: u8) {
    stream.read_exact(&mut [0; CONNECT_LEN]).unwrap();
    stream.write_all(&[0x20, 2, 0, code]).unwrap();
}

/// Accepts the connection and grants the subscription.
fn accept(mut stream: &PipeStream) {
    answer(stream, 0);
    stream.read_exact(&mut [0; SUBSCRIBE_LEN]).unwrap();
    stream.write_all(b"\x90\x03\x00\x01\x01").unwrap();
}

/// Reads what comes until the client closes.
fn drain(mut stream: &PipeStream) {
    stream.read_to_end(&mut Vec::new()).unwrap();
}

type Row = (&'static str, fn(&PipeStream), &'static str);

const ROWS: &[Row] = &[
    (
        "Refused",
        |stream| answer(stream, 5),
        "the broker refused the connection: not authorized",
    ),
    ("ClosedByPeer", accept, "the broker closed the connection"),
    (
        "Transport",
        |stream| {
            accept(stream);
            // The next PINGREQ cannot be written.
            stream.shutdown(Shutdown::Read);
            fiber::sleep(Duration::from_secs(100)).unwrap();
        },
        "the connection failed: broken pipe",
    ),
    (
        "Malformed",
        |mut stream| {
            accept(stream);
            stream.write_all(b"\xf0\x00").unwrap();
            drain(stream);
        },
        "the broker sent a malformed packet: expected a packet type from 1 to 14, found 15",
    ),
    (
        "Peer",
        |mut stream| {
            accept(stream);
            stream.write_all(b"\x20\x02\x00\x00").unwrap();
            drain(stream);
        },
        "the broker broke the protocol: expected one CONNACK, found a second",
    ),
    (
        "Dead",
        |stream| {
            accept(stream);
            drain(stream);
        },
        "the connection is dead: expected an answer to PINGREQ in time, found no byte received",
    ),
    (
        "Dead",
        |stream| drain(stream),
        "the connection is dead: expected CONNACK in time, found none",
    ),
    (
        "Overrun",
        |mut stream| {
            accept(stream);
            // 1 MiB and a byte each: one is being handled, and of four that wait the last is too much.
            let head = b"\x32\x86\x80\x40\x00\x01a\x00";
            let payload = vec![b'x'; INBOUND_BYTES_DEFAULT / 4 + 1];
            for id in 1..=5 {
                stream.write_all(head).unwrap();
                stream.write_all(&[id]).unwrap();
                stream.write_all(&payload).unwrap();
            }
            drain(stream);
        },
        "there is no room for further messages: 4 of 4195336 bytes are not handled",
    ),
];

/// Plays one broker against a client with a handler that never returns.
fn end_of(server: fn(&PipeStream)) -> (&'static str, String) {
    let main = move || {
        let (ours, theirs) = fiber::net::pipe(16 * 1024 * 1024);
        let mut server = fiber::spawn(move || server(&theirs)).unwrap();
        let options = ClientOptions::new(ClientId::new("id").unwrap())
            .keep_alive(Duration::from_secs(10))
            .connect_timeout(Duration::from_secs(10));
        let client = Client::over(ours, options);
        let subscriber = client.clone();
        fiber::spawn(move || {
            let never = fiber::Event::new();
            // It fails where the connection ends before it is answered.
            drop(subscriber.subscribe("a", QoS::AtLeastOnce, move |_, _| Ok(never.wait()?)));
        })
        .unwrap();
        drop(client.connect());
        let cause = client.ended().unwrap();
        server.join().unwrap();
        (variant(&cause), cause.to_string())
    };
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(main)
        .unwrap()
}

#[test]
fn every_end_that_a_broker_can_cause_has_its_cause_and_its_text() {
    let mut shown = BTreeSet::from(OWN);
    for &(name, server, text) in ROWS {
        assert_eq!(end_of(server), (name, text.to_owned()));
        shown.insert(name);
    }
    expect_all(VARIANTS, &shown);
}

#[test]
fn the_texts_of_other_ends_name_them_too() {
    let transport = EndCause::Transport(ErrorKind::ConnectionReset.into());
    let refused = ErrorKind::ConnectionRefused.into();
    let unreachable = safe_rt::Error::new(safe_rt::Phase::Connect, "broker:1883", refused);
    for (cause, text) in [
        (EndCause::Closed, "the connection was closed from this side"),
        (
            EndCause::Idle,
            "the connection was left because nothing happened on it",
        ),
        (
            EndCause::Paused,
            "the client was told to make no connection for now",
        ),
        (
            EndCause::Panicked,
            "the fiber that serves the connection panicked",
        ),
        (transport, "the connection failed: connection reset"),
        (
            EndCause::Dial(unreachable),
            "no connection: connecting to broker:1883: connection refused",
        ),
        (
            EndCause::Credentials(crate::CredentialsError::denied("no account")),
            "no credentials: no account",
        ),
        (
            EndCause::Argument(ArgumentError::TooManyFilters { found: 2_000 }),
            "the settings make no CONNECT: expected at most 1024 topic filters, found 2000",
        ),
    ] {
        assert_eq!(cause.to_string(), text);
    }
}
