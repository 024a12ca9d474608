//! TLS: who the broker is, what it wants to hear, and what it thinks of the device.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use agent::doctor::{Outcome, Report};
use fiber::net::TcpStream;
use mqtt::BrokerOptions;
use safe_rt::{ServerTlsOptions, Socket, TlsVersion};

use crate::support::{
    Authority, Folder, each, examine, expect_first, expect_told, found, run, serve, serve_tls,
};

/// The configuration for a broker at this port that is trusted by this authority.
fn trusting(
    folder: &Folder,
    authority: &Authority,
    host: &str,
    port: u16,
    cloud: &str,
) -> std::path::PathBuf {
    folder.write("ca.pem", &authority.pem);
    let cloud = format!("authority = \"ca.pem\"\n{cloud}");
    folder.configure(&format!("mqtts://{host}:{port}"), &cloud, "")
}

/// Examines a broker at `localhost` with this TLS.
fn examine_tls(tls: ServerTlsOptions, trusted: &Authority, cloud: &str) -> Report {
    let (_broker, port) = serve_tls(tls.build().expect("TLS"));
    let folder = Folder::new();
    examine(&trusting(&folder, trusted, "localhost", port, cloud))
}

#[test]
fn the_right_broker_is_told_with_version_and_protocol() {
    run(|| {
        let authority = Authority::new();
        let tls = authority.server("localhost").alpn(["mqtt"]);
        let report = examine_tls(tls, &authority, "alpn = [\"mqtt\"]");
        assert!(report.first().is_none(), "\n{}", report.text());
        let text = &report.finding("tls").unwrap().text;
        assert!(text.contains("ALPN mqtt"), "{text}");
        // The chain that was received, also where all is well.
        expect_told(&report, "tls", "certificate 1: ");
        expect_told(&report, "tls", "A test's authority");
        let text = report.text_with_evidence();
        assert!(text.contains("found: certificate 1: "), "{text}");
        assert_eq!(found(&report, "tls-client").0, Outcome::Note);
    });
}

#[test]
fn a_certificate_of_an_authority_that_is_not_trusted_names_its_issuer() {
    run(|| {
        let tls = Authority::new().server("localhost");
        let report = examine_tls(tls, &Authority::new(), "");
        expect_first(&report, "tls", "T050");
        expect_told(&report, "tls", "A test's authority");
        assert_eq!(
            report.finding("mqtt-connect").unwrap().because_of,
            Some("tls-client")
        );
    });
}

#[test]
fn a_certificate_for_another_name_is_told_with_the_name() {
    run(|| {
        let authority = Authority::new();
        let report = examine_tls(authority.server("other.example"), &authority, "");
        expect_first(&report, "tls", "T051");
        expect_told(&report, "tls", "other.example");
    });
}

/// A server that reads a greeting and hangs up.
fn hangs_up_in_handshake() -> u16 {
    each(|stream: TcpStream| {
        drop((&stream).read(&mut [0; 4096]));
    })
}

#[test]
fn a_handshake_that_is_closed_without_a_server_name_says_so() {
    run(|| {
        let port = hangs_up_in_handshake();
        let (folder, authority) = (Folder::new(), Authority::new());
        let report = examine(&trusting(&folder, &authority, "127.0.0.1", port, ""));
        expect_first(&report, "tls", "T060");
        expect_told(&report, "tls", "SNI");
        let report = examine(&trusting(&folder, &authority, "localhost", port, ""));
        expect_first(&report, "tls", "T060");
        let finding = report.finding("tls").unwrap();
        assert!(
            !finding.evidence.iter().any(|line| line.contains("SNI")),
            "one was sent"
        );
    });
}

#[test]
fn a_protocol_that_is_not_agreed_on_is_told_as_that() {
    run(|| {
        let authority = Authority::new();
        let tls = authority.server("localhost").alpn(["x-amzn-mqtt-ca"]);
        let report = examine_tls(tls, &authority, "alpn = [\"mqtt\"]");
        expect_first(&report, "tls", "T057");
    });
}

#[test]
fn a_server_that_wants_a_protocol_and_got_none_hangs_up_after_the_handshake() {
    run(|| {
        let authority = Authority::new();
        let tls = authority
            .server("localhost")
            .alpn(["x-amzn-mqtt-ca"])
            .build()
            .unwrap();
        let port = each(move |stream| {
            let Ok(socket) = Socket::tls_server(stream, &tls) else {
                return;
            };
            if socket.alpn().is_some() {
                drop((&socket).read(&mut [0; 1]));
            }
            drop(socket.close());
        });
        let folder = Folder::new();
        let report = examine(&trusting(&folder, &authority, "localhost", port, ""));
        expect_first(&report, "tls-client", "T060");
        expect_told(&report, "tls-client", "ALPN");
    });
}

#[test]
fn a_device_whose_certificate_is_refused_after_the_handshake_is_told() {
    run(|| {
        let (authority, others) = (Authority::new(), Authority::new());
        let server = || {
            authority
                .server("localhost")
                .require_client_certificate(authority.trust())
        };
        let folder = Folder::new();
        let (chain, key) = others.sign("meter-17");
        folder.write("device.pem", &chain);
        folder.write("device.key", &key);
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            let (_broker, port) = serve_tls(server().version(version).build().unwrap());
            // One that shows none, and one whose authority is not known there.
            let shown = "certificate = \"device.pem\"\nkey = \"device.key\"";
            for cloud in ["", shown] {
                let report = examine(&trusting(&folder, &authority, "localhost", port, cloud));
                let first = report.first().expect("it is refused");
                assert_eq!(first.code, Some("T061"), "\n{}", report.text());
                assert!(matches!(first.id, "tls" | "tls-client"), "{}", first.id);
            }
        }
    });
}

#[test]
fn an_alert_that_is_slow_on_its_way_is_waited_for() {
    run(|| {
        let (authority, others) = (Authority::new(), Authority::new());
        let server = authority
            .server("localhost")
            .require_client_certificate(authority.trust());
        let server = server.version(TlsVersion::Tls13).build().unwrap();
        let (_broker, behind) = serve_tls(server);
        // What the server says takes its time.
        let port = each(move |near| {
            let far = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], behind))).unwrap();
            let (near, far) = (Rc::new(near), Rc::new(far));
            let (from, to) = (Rc::clone(&near), Rc::clone(&far));
            let sending = fiber::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = (&*from).read(&mut bytes) {
                    if (&*to).write_all(&bytes[..read]).is_err() {
                        break;
                    }
                }
            });
            let mut bytes = [0; 16 * 1024];
            while let Ok(read @ 1..) = (&*far).read(&mut bytes) {
                fiber::sleep(Duration::from_millis(700)).unwrap();
                if (&*near).write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            drop(sending);
        });
        let folder = Folder::new();
        let (chain, key) = others.sign("meter-17");
        folder.write("device.pem", &chain);
        folder.write("device.key", &key);
        let shown = "certificate = \"device.pem\"\nkey = \"device.key\"";
        let report = examine(&trusting(&folder, &authority, "localhost", port, shown));
        expect_first(&report, "tls-client", "T061");
    });
}

#[test]
fn plain_text_to_a_port_of_tls_is_told_with_the_scheme_to_write() {
    run(|| {
        let authority = Authority::new();
        let (_broker, port) = serve_tls(authority.server("localhost").build().unwrap());
        let folder = Folder::new();
        let report = examine(&folder.configure(&format!("mqtt://localhost:{port}"), "", ""));
        expect_first(&report, "mqtt-connect", "T105");
        expect_told(
            &report,
            "mqtt-connect",
            &format!("mqtts://localhost:{port}"),
        );
    });
}

#[test]
fn tls_to_a_port_of_plain_text_is_told_as_that() {
    run(|| {
        let (_broker, endpoint) = serve(BrokerOptions::new());
        let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
        let folder = Folder::new();
        let report = examine(&trusting(&folder, &Authority::new(), "localhost", port, ""));
        let (outcome, code) = found(&report, "tls");
        assert_eq!(outcome, Outcome::Fail);
        // The broker reads a greeting of TLS as a malformed packet, and hangs up.
        assert!(
            matches!(code, Some("T058" | "T060")),
            "{code:?}\n{}",
            report.text()
        );
    });
}
