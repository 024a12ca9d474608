//! Peers that take the rules of TLS at their word: a hello of any length in fragments of any
//! length, and one byte at a time both ways.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use fiber::Instant;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use safe_rt::{ServerTlsOptions, Socket, TlsErrorKind, TlsVersion};

use crate::bystanders::among_bystanders;
use crate::handshake::kind;
use crate::pki::{SERVER_NAME, authority_and_server};
use crate::support::{ROOMY, configurations, connected};

/// A bare client, its hello without the heads of records, and a server of ours.
fn hello() -> (ClientConnection, Vec<u8>, ServerTlsOptions) {
    let (authority, leaf) = authority_and_server();
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    let root = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
    roots.add(root.expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that exist")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(SERVER_NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut record = Vec::new();
    client.write_tls(&mut record).expect("memory");
    let hello = record.split_off(5);
    assert_eq!(record[0], 0x16);
    (client, hello, ServerTlsOptions::new(leaf.identity()))
}

/// Puts a message of a handshake into records of `size` bytes of content.
fn fragments(message: &[u8], size: usize) -> Vec<u8> {
    let records = message.chunks(size).flat_map(|content| {
        let len = u16::try_from(content.len()).expect("a record's length");
        let head = [&[0x16, 3, 1][..], &len.to_be_bytes()].concat();
        [head, content.to_vec()].concat()
    });
    records.collect()
}

#[test]
fn a_hello_in_fragments_of_any_size_is_understood() {
    for size in [1, 2, 3, 5, 100] {
        among_bystanders(move || {
            let (mut client, hello, server) = hello();
            let server = server.build().expect("options");
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let mut serving =
                fiber::spawn(move || Socket::tls_server(theirs, &server)).expect("a fiber");
            (&ours).write_all(&fragments(&hello, size)).expect("room");
            while client.is_handshaking() {
                client.complete_io(&mut &ours).expect("an answer");
            }
            let socket = serving.join().expect("no panic").expect("a server");
            client.writer().write_all(b"hello").expect("memory");
            client.write_tls(&mut &ours).expect("room");
            let mut text = [0; 5];
            (&socket).read_exact(&mut text).expect("the text");
            assert_eq!(&text, b"hello");
        });
    }
}

/// Adds `bytes` of an extension that nobody knows.
fn padded(hello: &[u8], bytes: u16) -> Vec<u8> {
    // Type, length of 3 bytes; version, random; then three lists in front of the extensions.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    at += 1 + usize::from(hello[at]);
    let old = u16::from_be_bytes([hello[at], hello[at + 1]]);
    assert_eq!(
        at + 2 + usize::from(old),
        hello.len(),
        "the extensions end it"
    );
    let mut out = hello.to_vec();
    out[at..at + 2].copy_from_slice(&(old + bytes + 4).to_be_bytes());
    let extension = [
        &[0xfa, 0xfa][..],
        &bytes.to_be_bytes(),
        &vec![0; bytes.into()],
    ]
    .concat();
    // The pre-shared key would have to be the last one; a first hello has none.
    out.splice(at + 2..at + 2, extension);
    let len = u32::try_from(out.len() - 4)
        .expect("a length")
        .to_be_bytes();
    out[1..4].copy_from_slice(&len[1..]);
    out
}

#[test]
fn a_huge_hello_in_small_fragments_is_answered_or_refused_in_bounded_time() {
    for (bytes, size) in [(10_000, 1), (30_000, 7), (60_000, 100), (60_000, 16_384)] {
        among_bystanders(move || {
            let (_, hello, server) = hello();
            let server = server.build().expect("options");
            let (ours, theirs) = fiber::net::pipe(1 << 20);
            let began = Instant::now();
            (&ours)
                .write_all(&fragments(&padded(&hello, bytes), size))
                .expect("room");
            ours.shutdown(fiber::net::Shutdown::Write);
            let error = Socket::tls_server(theirs, &server).expect_err("it does not go on");
            // It was understood when all that is missing is the rest of the handshake.
            assert_eq!(
                kind(&error),
                Some(TlsErrorKind::ClosedInHandshake),
                "{error}"
            );
            assert_eq!(began.elapsed(), Duration::ZERO);
            let mut answer = [0; 3];
            (&ours).read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, [0x16, 3, 3], "a server's hello");
        });
    }
}

#[test]
fn a_hello_that_never_ends_is_refused_before_it_takes_memory() {
    for side in [0, 1] {
        among_bystanders(move || {
            let (client, server) = configurations(TlsVersion::Tls13);
            let (ours, theirs) = fiber::net::pipe(1 << 17);
            // It says that it is 16 MiB long.
            let message = [&[1 + side, 0xff, 0xff, 0xff][..], &[0; 100_000]].concat();
            (&ours)
                .write_all(&fragments(&message, 16_000))
                .expect("room");
            let read = fiber::stats().bytes_read;
            let outcome = match side {
                0 => Socket::tls_server(theirs, &server),
                _ => Socket::tls_client(theirs, &client, SERVER_NAME),
            };
            let error = outcome.expect_err("refused");
            assert_eq!(kind(&error), Some(TlsErrorKind::Protocol), "{error}");
            let read = fiber::stats().bytes_read - read;
            assert!(read <= 32 * 1024, "{read} bytes were read first");
        });
    }
}

#[test]
fn one_byte_at_a_time_both_ways_carries_much() {
    const LEN: usize = 64 * 1024;
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        among_bystanders(move || {
            let (one, other) = connected(version, 1);
            let mut running = Vec::new();
            for (socket, byte) in [(one, 1), (other, 2)] {
                let socket = std::rc::Rc::new(socket);
                let writer = std::rc::Rc::clone(&socket);
                running.push(fiber::spawn(move || {
                    (&*writer).write_all(&[byte; LEN]).expect("room in the end");
                    writer.shutdown_write().expect("room in the end");
                }));
                running.push(fiber::spawn(move || {
                    let mut received = Vec::new();
                    (&*socket).read_to_end(&mut received).expect("all of it");
                    assert!(received == [3 - byte; LEN], "other bytes");
                }));
            }
            for fiber in running {
                fiber.expect("a fiber").join().expect("no panic");
            }
        });
    }
}
