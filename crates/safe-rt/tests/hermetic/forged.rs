//! A peer that holds the keys of its connection in its hands, and sends records that no library
//! would: without content, and with messages that have no place behind a handshake.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use fiber::net::PipeStream;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::ring::cipher_suite;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConfig, ServerConnection,
    SupportedCipherSuite,
};
use safe_rt::{ClientTlsOptions, Socket, TlsError, TlsErrorKind, TlsVersion};

use crate::bystanders::among_bystanders;
use crate::pki::{SERVER_NAME, authority_and_server};
use crate::support::read_text;

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
/// HelloRequest (RFC 5246 section 7.4.1.1): type and length, and nothing more.
const HELLO_REQUEST: [u8; 4] = [0; 4];
/// A warning that the user goes: user_canceled (RFC 8446 section 6.1).
const WARNING: [u8; 2] = [1, 90];

/// The server's end of a connection, its records made by hand.
struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    pipe: PipeStream,
}

impl Forger {
    /// Connects a client of ours to a server and takes over the server's side.
    fn meet(version: TlsVersion) -> (Socket, Self) {
        let (authority, leaf) = authority_and_server();
        let chain = CertificateDer::from_pem_slice(leaf.chain.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("a key");
        let suite = match version {
            TlsVersion::Tls12 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            _ => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        };
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites = vec![suite];
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions that exist")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a matching pair");
        config.send_tls13_tickets = 0;
        config.enable_secret_extraction = true;
        let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
        let client = ClientTlsOptions::new(authority.trust()).build();
        let client = client.expect("options");

        let (ours, pipe) = fiber::net::pipe(1 << 20);
        let mut dialling =
            fiber::spawn(move || Socket::tls_client(ours, &client, SERVER_NAME)).expect("a fiber");
        while server.is_handshaking() || server.wants_write() {
            server.complete_io(&mut &pipe).expect("a handshake");
        }
        let socket = dialling.join().expect("no panic").expect("a client");
        assert_eq!(socket.tls_version(), Some(version));

        let secrets = server.dangerous_extract_secrets().expect("the secrets");
        let (sequence, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets.tx else {
            panic!("another cipher");
        };
        let encrypter = match suite {
            SupportedCipherSuite::Tls12(suite) => suite.aead_alg.encrypter(key, iv.as_ref(), &[]),
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        };
        let forger = Self {
            encrypter,
            sequence,
            pipe,
        };
        (socket, forger)
    }

    /// Sends a record of any type with any content.
    fn send(&mut self, typ: ContentType, content: &[u8]) {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        let record = self.encrypter.encrypt(message, self.sequence);
        self.sequence += 1;
        let record = record.expect("a record").encode();
        (&self.pipe).write_all(&record).expect("room");
    }

    fn say(&mut self, text: &str) {
        self.send(ContentType::ApplicationData, text.as_bytes());
    }
}

#[track_caller]
fn is_broken(socket: &Socket) {
    let error = read_text(socket).expect_err("against the rules");
    let found = TlsError::of(&error).map(TlsError::kind);
    assert_eq!(found, Some(TlsErrorKind::Protocol), "{error}");
    assert!((&*socket).write(b"x").is_err(), "it ends both directions");
}

#[test]
fn records_that_are_forged_right_are_read() {
    for version in VERSIONS {
        among_bystanders(move || {
            let (socket, mut forger) = Forger::meet(version);
            for text in ["one", "two"] {
                forger.say(text);
                assert_eq!(read_text(&socket).expect("the text"), text);
            }
        });
    }
}

#[test]
fn records_without_content_are_passed_over_and_a_flood_of_them_is_refused() {
    for version in VERSIONS {
        among_bystanders(move || {
            let (socket, mut forger) = Forger::meet(version);
            for _ in 0..100 {
                for _ in 0..20 {
                    forger.send(ContentType::ApplicationData, b"");
                }
                forger.say("word");
                assert_eq!(read_text(&socket).expect("the text"), "word");
            }
            for _ in 0..1_000 {
                forger.send(ContentType::ApplicationData, b"");
            }
            is_broken(&socket);
        });
    }
}

#[test]
fn one_request_to_renegotiate_is_turned_down_and_the_next_ends_the_connection() {
    among_bystanders(|| {
        let (socket, mut forger) = Forger::meet(TlsVersion::Tls12);
        forger.send(ContentType::Handshake, &HELLO_REQUEST);
        forger.say("and now?");
        assert_eq!(read_text(&socket).expect("it goes on"), "and now?");
        // The answer is an alert, no hello.
        let mut head = [0; 1];
        (&forger.pipe).read_exact(&mut head).expect("an answer");
        assert_eq!(head, [21]);
        forger.send(ContentType::Handshake, &HELLO_REQUEST);
        is_broken(&socket);
    });
}

#[test]
fn a_request_to_renegotiate_has_no_place_in_tls_13() {
    among_bystanders(|| {
        let (socket, mut forger) = Forger::meet(TlsVersion::Tls13);
        forger.send(ContentType::Handshake, &HELLO_REQUEST);
        is_broken(&socket);
    });
}

#[test]
fn warnings_without_end_end_the_connection() {
    for version in VERSIONS {
        among_bystanders(move || {
            let (socket, mut forger) = Forger::meet(version);
            for _ in 0..100 {
                forger.send(ContentType::Alert, &WARNING);
            }
            is_broken(&socket);
        });
    }
}

#[test]
fn half_a_message_with_other_records_between_is_refused() {
    among_bystanders(|| {
        let (socket, mut forger) = Forger::meet(TlsVersion::Tls13);
        // A key update in two records, with content between them (RFC 8446 section 5.1).
        forger.send(ContentType::Handshake, &[24, 0]);
        forger.say("between");
        forger.send(ContentType::Handshake, &[0, 1, 0]);
        is_broken(&socket);
    });
}
