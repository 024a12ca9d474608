//! What only shows inside: the count of records that the keys of TLS 1.2 may protect.

use std::io::{IoSlice, Write as _};

use super::state::{JOINED_BYTES_MAX, Outlet, RECORDS_RESERVED, RecordBudget};
use super::*;
use crate::tls::error::TlsError;
use crate::{ClientTlsOptions, ServerTlsOptions};

#[path = "../../../tests/hermetic/pki.rs"]
#[allow(dead_code, reason = "the PKI of all tests; these need one server")]
mod pki;

/// Both ends of a connection over a pipe.
fn connected(version: TlsVersion) -> (Socket, Socket) {
    let (authority, server) = pki::authority_and_server();
    let client = ClientTlsOptions::new(authority.trust())
        .version(version)
        .build();
    let server = ServerTlsOptions::new(server.identity())
        .build()
        .expect("options");
    let (ours, theirs) = fiber::net::pipe(64 * 1024);
    let mut serving = fiber::spawn(move || Socket::tls_server(theirs, &server)).expect("a fiber");
    let client = Socket::tls_client(ours, &client.expect("options"), pki::SERVER_NAME);
    let server = serving.join().expect("no panic");
    (client.expect("a client"), server.expect("a server"))
}

fn state(socket: &Socket) -> core::cell::RefMut<'_, Box<State>> {
    let stream = socket.as_tls().expect("a TLS socket");
    stream.state.borrow_mut()
}

#[test]
fn a_budget_ends_and_an_unlimited_one_does_not() {
    let mut budget = RecordBudget(2);
    assert_eq!([0; 4].map(|_| budget.take()), [true, true, false, false]);
    assert!(RecordBudget::unlimited().take());
}

#[test]
fn keys_of_tls_12_are_counted_and_those_of_tls_13_renew_themselves() {
    fiber::run(|| {
        // AES-GCM is preferred, and safe for 2^24 records.
        let (client, server) = connected(TlsVersion::Tls12);
        assert_eq!(state(&client).budget.0, (1 << 24) - RECORDS_RESERVED);
        assert_eq!(state(&server).budget.0, (1 << 24) - RECORDS_RESERVED);
        let (client, _server) = connected(TlsVersion::Tls13);
        assert_eq!(state(&client).budget.0, u64::MAX);
    })
    .expect("the runtime ran");
}

#[test]
fn used_up_keys_are_an_error_before_anything_is_lost() {
    fiber::run(|| {
        let (client, server) = connected(TlsVersion::Tls12);
        state(&client).budget = RecordBudget(2);
        let text = [7; 3 * RECORD_PLAINTEXT_MAX];
        // Two records go; the bytes of the third are not reported as accepted.
        let taken = (&client).write(&text).expect("two records");
        assert_eq!(taken, 2 * RECORD_PLAINTEXT_MAX);
        let error = (&client)
            .write(&text[taken..])
            .expect_err("no third record");
        let found = TlsError::of(&error).map(TlsError::kind);
        assert_eq!(found, Some(TlsErrorKind::KeysUsedUp));

        let mut received = vec![0; taken];
        (&server).read_exact(&mut received).expect("both records");
        assert!(received == text[..taken]);
        // There is still room for an orderly end.
        client.close().expect("room");
        assert_eq!((&server).read(&mut received).expect("an end"), 0);
    })
    .expect("the runtime ran");
}

#[test]
fn short_records_leave_together_and_long_ones_alone() {
    const ROOM: usize = 2 * JOINED_BYTES_MAX;
    fiber::run(|| {
        let (ours, theirs) = fiber::net::pipe(ROOM);
        let transport = Socket::from(ours);
        let mut outlet = Outlet {
            transport: &transport,
            full: false,
        };
        let mut took = |lens: &[usize]| {
            let records: Vec<_> = (1..).zip(lens).map(|(n, len)| vec![n; *len]).collect();
            let slices: Vec<_> = records.iter().map(|record| IoSlice::new(record)).collect();
            let taken = outlet.write_vectored(&slices).expect("room");
            let mut arrived = vec![0; taken];
            (&theirs).read_exact(&mut arrived).expect("what was taken");
            assert!(arrived == records.concat()[..taken], "{lens:?}");
            taken
        };
        assert_eq!(took(&[6, 74]), 80);
        assert_eq!(took(&[6, 74, JOINED_BYTES_MAX - 80, 1]), JOINED_BYTES_MAX);
        assert_eq!(took(&[6, JOINED_BYTES_MAX, 6]), 6);
        assert_eq!(took(&[JOINED_BYTES_MAX + 1, 6]), JOINED_BYTES_MAX + 1);
        // As much as there is room for.
        assert_eq!(took(&[3 * JOINED_BYTES_MAX, 6]), ROOM);
        assert_eq!(took(&[0, 5]), 5);
        assert_eq!(took(&[0, JOINED_BYTES_MAX + 1]), JOINED_BYTES_MAX + 1);
        assert_eq!(took(&[7]), 7);

        let filled = transport.try_write(&[0; ROOM - 10]).expect("room");
        assert_eq!(filled, Some(ROOM - 10));
        let pair = [[1; 6], [2; 6]];
        let slices = pair.each_ref().map(|record| IoSlice::new(record));
        assert_eq!(outlet.write_vectored(&slices).expect("some room"), 10);
        let error = outlet.write_vectored(&slices).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(outlet.full);
    })
    .expect("the runtime ran");
}
