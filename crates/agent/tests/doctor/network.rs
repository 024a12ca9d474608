//! Below TLS: names, ports, firewalls, proxies, portals, the clock, the folder for what is kept.

use std::time::{Duration, UNIX_EPOCH};

use agent::doctor::{self, Outcome};
use mqtt::BrokerOptions;

use crate::support::{
    Authority, Folder, LOOPBACK, answer, examine, expect_first, expect_told, found, full_port,
    options, run, serve, serve_tls,
};

#[test]
fn nothing_is_to_be_fixed_where_all_is_well() {
    run(|| {
        let (_broker, endpoint) = serve(BrokerOptions::new());
        let folder = Folder::new();
        let rest = "[telemetry]\ntopic = \"site/4/t\"\n[[subscription]]\ntopic = \"site/4/#\"\n";
        let report = examine(&folder.configure(&endpoint, "session = \"clean\"", rest));
        assert!(report.first().is_none(), "\n{}", report.text());
        assert_eq!(report.exit(true).code(), 0);
        for id in [
            "config",
            "tcp",
            "mqtt-connect",
            "stays-up",
            "ping",
            "limits",
        ] {
            assert_eq!(found(&report, id).0, Outcome::Ok, "{id}\n{}", report.text());
        }
        // The topic itself is not published to, so that nothing is known of it.
        assert_eq!(found(&report, "rights-publish").0, Outcome::Note);
        assert!(report.text().ends_with("\nNothing is to be fixed\n"));
    });
}

#[test]
fn a_port_that_nobody_listens_on_refuses() {
    run(|| {
        let free = fiber::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = Folder::new();
        let report = examine(&folder.configure(&format!("mqtt://{address}"), "", ""));
        expect_first(&report, "tcp", "T030");
        for (id, because) in [
            ("tls", "tcp"),
            ("mqtt-connect", "tls-client"),
            ("ping", "stays-up"),
        ] {
            let finding = report.finding(id).unwrap();
            assert_eq!(
                (finding.outcome, finding.because_of),
                (Outcome::Skip, Some(because))
            );
        }
        assert_eq!(report.exit(false).code(), 69);
    });
}

#[test]
fn a_port_that_is_dropped_on_the_way_is_told_from_one_that_answers() {
    let (_listener, _fill, dropped) = full_port();
    run(move || {
        let (_broker, open) = serve(BrokerOptions::new());
        let open: u16 = open.rsplit(':').next().unwrap().parse().unwrap();
        let folder = Folder::new();
        let mut options = options(&folder.configure(&format!("mqtt://{dropped}"), "", ""));
        options.ports = Some(vec![open]);
        options.only = vec!["tcp"];
        let report = doctor::examine(options);
        expect_first(&report, "tcp", "T031");
        expect_told(&report, "tcp", &format!("port {open} answers"));
        expect_told(&report, "tcp", &format!("mqtt://127.0.0.1:{open}"));
        assert!(
            report.finding("mqtt-connect").is_none(),
            "it was not asked for"
        );
    });
}

#[test]
fn a_public_name_that_leads_inside_is_a_portal() {
    run(|| {
        let (_broker, endpoint) = serve(BrokerOptions::new());
        let port = endpoint.rsplit(':').next().unwrap();
        let folder = Folder::new();
        // The profile says that the broker is a public one, and its name leads to this machine.
        let cloud = "profile = \"aws\"\nkeep_alive = \"60s\"";
        let config = folder.configure(&format!("mqtt://localhost:{port}"), cloud, "");
        let mut options = options(&config);
        options.only = vec!["dns"];
        let report = doctor::examine(options);
        assert_eq!(found(&report, "dns"), (Outcome::Warn, Some("T107")));
        assert_eq!(report.exit(false).code(), 0);
        assert_eq!(report.exit(true).code(), 75);
    });
}

#[test]
fn a_portal_that_answers_in_http_is_told_as_no_tls() {
    run(|| {
        let port = answer(b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n");
        let folder = Folder::new();
        let report = examine(&folder.configure(&format!("mqtts://localhost:{port}"), "", ""));
        expect_first(&report, "tls", "T058");
        expect_told(&report, "tls", "HTTP");
    });
}

#[test]
fn a_portal_that_answers_a_plain_connect_is_told_as_no_mqtt() {
    run(|| {
        let port = answer(b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n");
        let folder = Folder::new();
        let report = examine(&folder.configure(&format!("mqtt://127.0.0.1:{port}"), "", ""));
        let (outcome, code) = found(&report, "mqtt-connect");
        assert_eq!(outcome, Outcome::Fail);
        assert!(matches!(code, Some("T094" | "T095")), "{code:?}");
    });
}

#[test]
fn a_proxy_that_wants_a_password_is_named_with_what_helps() {
    run(|| {
        let port = answer(
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\
              Proxy-Authenticate: Basic realm=\"site\"\r\nContent-Length: 0\r\n\r\n",
        );
        let folder = Folder::new();
        let cloud = format!("proxy = \"http://127.0.0.1:{port}\"");
        let report = examine(&folder.configure("mqtts://broker.example:8883", &cloud, ""));
        expect_first(&report, "proxy", "T040");
        expect_told(&report, "proxy", "http://USER:PASSWORD@HOST:PORT");
        assert_eq!(found(&report, "tcp").0, Outcome::Skip);
        assert_eq!(report.finding("tls").unwrap().because_of, Some("proxy"));
    });
}

#[test]
fn a_proxy_that_forbids_the_port_is_told_as_that() {
    run(|| {
        let port = answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        let folder = Folder::new();
        let cloud = format!("proxy = \"http://127.0.0.1:{port}\"");
        let report = examine(&folder.configure("mqtts://broker.example:8883", &cloud, ""));
        expect_first(&report, "proxy", "T041");
    });
}

#[test]
fn a_clock_of_1970_is_a_warning_and_stops_nothing() {
    run(|| {
        let (_broker, endpoint) = serve(BrokerOptions::new());
        let folder = Folder::new();
        let mut options = options(&folder.configure(&endpoint, "", ""));
        options.wall = Some(UNIX_EPOCH + Duration::from_secs(90));
        let report = doctor::examine(options);
        assert_eq!(found(&report, "clock"), (Outcome::Warn, Some("T106")));
        expect_told(&report, "clock", "it says 1970-01-01 00:01:30 UTC");
        assert_eq!(found(&report, "mqtt-connect").0, Outcome::Ok);
        assert!(
            report.verdict().contains("look at is clock"),
            "{}",
            report.verdict()
        );
    });
}

#[test]
fn a_clock_that_is_ahead_is_found_before_the_certificates_that_it_ends() {
    run(|| {
        let authority = Authority::new();
        let (_broker, port) = serve_tls(authority.server("localhost").build().unwrap());
        let folder = Folder::new();
        let (chain, key) = authority.sign("meter-17");
        folder.write("authority.pem", &authority.pem);
        folder.write("device.pem", &chain);
        folder.write("device.key", &key);
        let cloud = "authority = \"authority.pem\"\ncertificate = \"device.pem\"\n\
                     key = \"device.key\"";
        let config = folder.configure(&format!("mqtts://localhost:{port}"), cloud, "");
        let mut options = options(&config);
        options.only = vec!["clock", "identity"];
        // 2099.
        options.wall = Some(UNIX_EPOCH + Duration::from_secs(4_080_000_000));
        let report = doctor::examine(options);
        expect_first(&report, "clock", "T106");
        expect_told(&report, "clock", "it says 2099-");
    });
}

#[test]
fn an_identity_that_cannot_be_read_is_told_and_the_broker_is_not_blamed() {
    run(|| {
        let authority = Authority::new();
        let server = authority
            .server("localhost")
            .require_client_certificate(authority.trust());
        let (_broker, port) = serve_tls(server.build().unwrap());
        let folder = Folder::new();
        folder.write("authority.pem", &authority.pem);
        let cloud = "authority = \"authority.pem\"";
        let config = folder.configure(&format!("mqtts://localhost:{port}"), cloud, "");
        let home = folder.path().join("state/identity");
        let examined = |text: &str| {
            let report = examine(&config);
            assert_eq!(
                found(&report, "identity").0,
                Outcome::Fail,
                "\n{}",
                report.text()
            );
            assert_eq!(
                report.first().unwrap().id,
                "identity",
                "\n{}",
                report.text()
            );
            assert!(report.finding("identity").unwrap().text.contains(text));
            let client = report.finding("tls-client").unwrap();
            assert_eq!(client.because_of, Some("identity"));
        };
        folder.write("state/identity", "no folder");
        examined("cannot be read");
        std::fs::remove_file(&home).unwrap();
        // A certificate, and the key of another.
        let ((chain, _), (_, key)) = (authority.sign("one"), authority.sign("other"));
        std::fs::create_dir_all(home.join("a")).unwrap();
        folder.write("state/identity/a/chain.pem", &chain);
        folder.write("state/identity/a/key.pem", &key);
        examined("damaged");
    });
}

#[test]
fn a_folder_that_is_none_is_told_and_one_that_is_there_is_left_as_it_was() {
    run(|| {
        let (_broker, endpoint) = serve(BrokerOptions::new());
        let folder = Folder::new();
        let mut options = options(&folder.configure(&endpoint, "", ""));
        options.only = vec!["state-dir"];
        let report = doctor::examine(options.clone());
        assert_ne!(
            found(&report, "state-dir").0,
            Outcome::Fail,
            "\n{}",
            report.text()
        );
        let left = std::fs::read_dir(folder.path().join("state"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "what was written is removed");
        options.state_dir = Some(folder.path().join("nowhere"));
        let report = doctor::examine(options.clone());
        assert_eq!(found(&report, "state-dir").0, Outcome::Note);
        options.state_dir = Some(folder.path().join("agent.toml"));
        let report = doctor::examine(options);
        assert_eq!(found(&report, "state-dir").0, Outcome::Fail);
    });
}
