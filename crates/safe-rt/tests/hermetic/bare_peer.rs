//! A peer that is rustls itself, to do what a peer of ours never would: change its keys in the
//! middle of a connection (RFC 8446 section 4.6.3), or send what cannot be decrypted.

use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use fiber::net::PipeStream;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use safe_rt::{ClientTlsOptions, Socket, TRANSPORT_READS_MAX, TlsError, TlsErrorKind};

use crate::pki::{SERVER_NAME, authority_and_server};
use crate::support::{paused, read_text};

/// Connects a client of ours to a bare TLS 1.3 server over a pipe.
fn meet(capacity: usize) -> (Socket, ServerConnection, PipeStream) {
    meet_with_tickets(capacity, 0)
}

/// As [`meet`], with a server that sends so many session tickets after the handshake.
fn meet_with_tickets(capacity: usize, tickets: usize) -> (Socket, ServerConnection, PipeStream) {
    let (authority, leaf) = authority_and_server();
    let chain = CertificateDer::from_pem_slice(leaf.chain.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version that exists")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("a matching pair");
    config.send_tls13_tickets = tickets;
    let mut peer = ServerConnection::new(Arc::new(config)).expect("a server");
    let client = ClientTlsOptions::new(authority.trust())
        .build()
        .expect("options");

    let (ours, theirs) = fiber::net::pipe(capacity);
    let mut dialling =
        fiber::spawn(move || Socket::tls_client(ours, &client, SERVER_NAME)).expect("a fiber");
    while peer.is_handshaking() {
        peer.complete_io(&mut &theirs).expect("a handshake");
    }
    let socket = dialling.join().expect("no panic").expect("a client");
    (socket, peer, theirs)
}

#[test]
fn a_peer_may_change_its_keys_before_every_message() {
    paused(|| {
        let (socket, mut peer, mut pipe) = meet(64 * 1024);
        let mut echoing = fiber::spawn(move || {
            for _ in 0..10 {
                let text = read_text(&socket).expect("the text");
                (&socket).write_all(text.as_bytes()).expect("room");
                (&socket).flush().expect("room");
            }
        })
        .expect("a fiber");
        for round in 0..10 {
            let text = format!("round {round}");
            peer.refresh_traffic_keys().expect("TLS 1.3");
            let mut stream = rustls::Stream::new(&mut peer, &mut pipe);
            stream.write_all(text.as_bytes()).expect("room");
            let mut answer = vec![0; text.len()];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, text.as_bytes());
        }
        echoing.join().expect("no panic");
    });
}

#[test]
fn a_flood_of_key_updates_is_refused() {
    crate::bystanders::among_bystanders(|| {
        let (socket, mut peer, pipe) = meet(64 * 1024);
        for _ in 0..200 {
            peer.refresh_traffic_keys().expect("TLS 1.3");
            while peer.wants_write() {
                peer.write_tls(&mut &pipe).expect("room");
            }
        }
        let error = read_text(&socket).expect_err("too many");
        let found = TlsError::of(&error).map(TlsError::kind);
        assert_eq!(found, Some(TlsErrorKind::Protocol), "{error}");
    });
}

#[test]
fn a_key_update_is_read_while_a_writer_waits_for_room() {
    const LEN: usize = 100_000;
    paused(|| {
        let (socket, mut peer, mut pipe) = meet(200);
        let socket = Rc::new(socket);
        let writer = Rc::clone(&socket);
        let mut writing = fiber::spawn(move || {
            for byte in 0..10 {
                (&*writer)
                    .write_all(&[byte; LEN / 10])
                    .expect("room in the end");
            }
            (&*writer).flush().expect("room in the end");
        })
        .expect("a fiber");
        fiber::sleep(std::time::Duration::from_secs(1)).expect("no scope is over");
        assert!(!writing.is_finished(), "there was room for all of it");

        let reader = Rc::clone(&socket);
        let mut reading = fiber::spawn(move || read_text(&reader)).expect("a fiber");
        peer.refresh_traffic_keys().expect("TLS 1.3");
        let mut stream = rustls::Stream::new(&mut peer, &mut pipe);
        stream.write_all(b"news").expect("room");
        assert_eq!(reading.join().expect("no panic").expect("the text"), "news");

        let mut received = vec![0; LEN];
        stream.read_exact(&mut received).expect("all of it");
        writing.join().expect("no panic");
        let expected: Vec<u8> = (0..10).flat_map(|byte| [byte; LEN / 10]).collect();
        assert!(received == expected, "other bytes");
    });
}

#[test]
fn plaintext_that_came_before_a_failure_is_read_before_it() {
    paused(|| {
        let (socket, mut peer, pipe) = meet(64 * 1024);
        let mut bytes = Vec::new();
        peer.writer().write_all(b"still good").expect("room");
        while peer.wants_write() {
            peer.write_tls(&mut bytes).expect("memory");
        }
        // A record of application data that no key fits; it arrives with the good one.
        bytes.extend([23, 3, 3, 0, 20]);
        bytes.extend([0; 20]);
        (&pipe).write_all(&bytes).expect("room");
        assert_eq!(read_text(&socket).expect("the text"), "still good");
        let error = read_text(&socket).expect_err("no key fits");
        let found = TlsError::of(&error).map(TlsError::kind);
        assert_eq!(found, Some(TlsErrorKind::Protocol));
        // It ends the other direction too.
        assert!((&socket).write(b"x").is_err());
    });
}

#[test]
fn bytes_that_can_never_leave_do_not_keep_a_reader_busy() {
    paused(|| {
        let (socket, _peer, pipe) = meet(5_000);
        while socket
            .try_write(&[7; 10_000])
            .expect("no failure")
            .is_some()
        {}
        assert!(!socket.try_flush().expect("no failure"));
        // The peer reads no more, but may still write: a reader goes on waiting for that.
        pipe.shutdown(fiber::net::Shutdown::Read);
        let second = std::time::Duration::from_secs(1);
        let outcome = fiber::timeout(second, || read_text(&socket));
        let error = outcome
            .expect_err("nothing comes")
            .0
            .expect_err("nothing comes");
        assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
        let error = socket.try_write(b"x").expect_err("nobody reads");
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn records_without_content_hold_a_reader_for_a_bounded_time() {
    paused(|| {
        let (socket, mut peer, pipe) = meet_with_tickets(64 * 1024, 400);
        while peer.wants_write() {
            peer.write_tls(&mut &pipe).expect("room");
        }
        peer.writer().write_all(b"content").expect("room");
        while peer.wants_write() {
            peer.write_tls(&mut &pipe).expect("room");
        }
        let reads = || fiber::stats().reads;
        let before = reads();
        assert_eq!(socket.try_read(&mut [0; 64]).expect("no failure"), None);
        assert_eq!(reads() - before, TRANSPORT_READS_MAX as u64);
        // There was more, so the wait ends at once, again and again, until the content comes.
        assert_eq!(read_text(&socket).expect("the text"), "content");
        assert!(reads() - before > TRANSPORT_READS_MAX as u64);
    });
}
