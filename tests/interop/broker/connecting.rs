//! Who may connect, and how one leaves: wills, identifiers, refusals, keep alive, TLS.

use mqtt::{BrokerOptions, ConnectReason, QoS};
use safe_rt::{Identity, Listener, ServerTlsOptions, Trust};
use tests::paho;
use tests::pki::Pki;
use tests::temp_dir::TempDir;

use super::{Served, Sub, expect_local, serve, serve_with};
use crate::peers;

#[test]
fn the_will_of_a_killed_mosquitto_is_published_and_that_of_one_that_leaves_is_not() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let wills = served.broker.subscribe("will/#").unwrap();
        let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        for (number, qos) in ["0", "1", "2"].into_iter().zip(levels) {
            let topic = format!("will/{number}");
            let will = ["--will-topic", &topic, "--will-payload", "gone"];
            let more = ["--will-qos", number, "--will-retain", "-t", "a"];
            let mut killed = served.sub("killed", &[&will[..], &more].concat());
            assert!(wills.try_recv().is_none());
            killed.0.kill();
            expect_local(&wills, &topic, "gone", qos);
        }
        let will = ["--will-topic", "will/left", "--will-payload", "gone"];
        let leaving = served.sub("leaving", &[&will[..], &["-t", "a", "-E"]].concat());
        assert!(leaving.finish().status.success());
        served.wait_for_connections(0);
        assert!(wills.try_recv().is_none());
        let mut late = served.sub("late", &["-t", "will/#", "-q", "2"]);
        late.expect(&[
            "will/0=gone q0 r1",
            "will/1=gone q1 r1",
            "will/2=gone q2 r1",
        ]);
    });
}

#[test]
fn the_will_of_a_paho_that_is_lost_is_published_and_that_of_one_that_leaves_is_not() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("connecting.py", "wills"));
}

#[test]
fn the_will_of_a_killed_paho_is_published() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let wills = served.broker.subscribe("will/#").unwrap();
        let (script, scenario) = ("connecting.py", "hold_a_will");
        let mut killed = Sub(paho::scenario(&served.peers, script, scenario, served.port).unwrap());
        killed.expect(&["connected"]);
        killed.0.kill();
        expect_local(&wills, "will/killed", "gone", QoS::ExactlyOnce);
        assert_eq!(served.broker.stats().retained, 1);
    });
}

#[test]
fn paho_without_an_identifier_is_accepted_with_a_clean_session_alone() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        served.paho("connecting.py", "no_identifier")
    });
}

fn guarded() -> BrokerOptions {
    BrokerOptions::new().authenticate(|connect| {
        let fields = connect.fields();
        match (fields.user_name, fields.password) {
            (Some("meter"), Some(b"secret")) => Ok(()),
            (Some("stranger"), _) => Err(ConnectReason::NotAuthorized),
            _ => Err(ConnectReason::BadUserNameOrPassword),
        }
    })
}

#[test]
fn mosquitto_is_told_why_it_is_refused() {
    let Some(peers) = peers() else { return };
    serve_with(peers, guarded(), |served| {
        let attempt = |credentials: &[&str]| {
            let args = [credentials, &["-t", "a", "-m", "x", "-q", "1"]].concat();
            served.pub_ends(&args).code()
        };
        assert_eq!(attempt(&["-u", "meter", "-P", "secret"]), Some(0));
        assert_eq!(attempt(&["-u", "meter", "-P", "wrong"]), Some(4));
        assert_eq!(attempt(&[]), Some(4));
        assert_eq!(attempt(&["-u", "stranger", "-P", "secret"]), Some(5));
    });
}

#[test]
fn paho_is_told_why_it_is_refused() {
    let Some(peers) = peers() else { return };
    serve_with(peers, guarded(), |served| {
        served.paho("connecting.py", "credentials");
    });
}

#[test]
fn mosquitto_is_told_which_of_its_subscriptions_is_refused() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let filters = ["-t", "a", "-t", "secret/#", "-t", "b"];
        let more = ["-q", "1", "-d", "-C", "2"];
        let sub = served.sub("reader", &[&filters[..], &more].concat());
        for topic in ["a", "secret/x", "b"] {
            served.publish(topic, "1", "1", &[]);
        }
        let printed = sub.finish().stdout;
        assert!(
            printed.contains("Subscribed (mid: 1): 1, 128, 1"),
            "{printed}"
        );
        assert!(printed.contains("a=1 q1 r0") && printed.contains("b=1 q1 r0"));
    });
}

#[test]
fn paho_is_told_which_of_its_subscriptions_is_refused() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        served.paho("connecting.py", "refused_subscription");
    });
}

#[test]
fn a_paho_that_pings_stays_and_one_that_does_not_is_lost() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("connecting.py", "keep_alive"));
}

/// Serves the same broker over TLS; only clients with a certificate are let in.
fn serve_tls(served: &Served, pki: &Pki) -> u16 {
    let of = |identity: &tests::pki::Identity| {
        Identity::from_pem(identity.certificate.as_bytes(), identity.key.as_bytes()).unwrap()
    };
    let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
    let tls = ServerTlsOptions::new(of(&pki.server)).require_client_certificate(trust);
    let listener = Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls.build().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    served.broker.serve(listener).unwrap();
    port
}

#[test]
fn mosquitto_is_let_in_over_mutual_tls_with_the_right_certificate_alone() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let pki = Pki::new();
        let folder = TempDir::new("broker-tls");
        let authority = folder.write("authority.crt", pki.authority.certificate());
        let local = served.broker.subscribe("a").unwrap();
        let port = serve_tls(served, &pki).to_string();
        let attempt = |identity: &tests::pki::Identity, name| {
            let (certificate, key) = identity.write(&folder, name);
            let args = [
                "--cafile",
                authority.to_str().unwrap(),
                "--cert",
                certificate.to_str().unwrap(),
                "--key",
                key.to_str().unwrap(),
                // The last port counts.
                "-p",
                &port,
                "-t",
                "a",
                "-m",
                name,
                "-q",
                "2",
            ];
            let finished = served.pub_ends(&args);
            finished.status.success()
        };
        assert!(attempt(&pki.client, "good"));
        expect_local(&local, "a", "good", QoS::ExactlyOnce);
        assert!(!attempt(&pki.wrong_authority_client, "wrong"));
        assert!(local.try_recv().is_none());
    });
}
