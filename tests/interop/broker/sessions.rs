//! What outlives a connection: messages for a client that is away, and what was under way.

use mqtt::{DropAcks, Faults, QoS};

use super::serve;
use crate::peers;

#[test]
fn mosquitto_gets_what_was_published_while_it_was_away() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let kept = ["-c", "-t", "a/#", "-q", "2", "-E"];
        assert!(served.sub("reader", &kept).finish().status.success());
        served.wait_for_connections(0);
        for qos in ["0", "1", "2"] {
            served.publish(&format!("a/{qos}"), "away", qos, &[]);
        }
        let local = served
            .broker
            .publish("a/own", "away", QoS::AtLeastOnce, false);
        local.unwrap();
        let mut sub = served.sub("reader", &["-c", "-t", "b", "-q", "1"]);
        // One of QoS 2 is printed at its PUBREL.
        let mut lines = sub.lines(3);
        lines.sort();
        let expected = ["a/1=away q1 r0", "a/2=away q2 r0", "a/own=away q1 r0"];
        assert_eq!(lines, expected);
        sub.expect_nothing_but(served, "a/x", "here");
        sub.0.kill();
        served.wait_for_connections(0);
        // A clean session ends all that.
        let mut clean = served.sub("reader", &["-t", "c", "-q", "1"]);
        served.publish("a/x", "lost", "1", &[]);
        clean.expect_nothing_but(served, "c", "kept");
    });
}

#[test]
fn paho_gets_what_was_published_while_it_was_away() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("sessions.py", "offline"));
}

#[test]
fn mosquitto_gets_again_what_a_cut_took_and_it_is_marked() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        for qos in ["1", "2"] {
            let args = ["-d", "-c", "-t", "a", "-q", "2"];
            let mut sub = served.sub("reader", &args);
            // Behind CONNACK and SUBACK and a few bytes of a PUBLISH.
            let cut_after_sent = Some(4 + 5 + 6);
            let faults = Faults {
                cut_after_sent,
                ..Faults::default()
            };
            served.broker.set_faults("reader", faults).unwrap();
            served.publish("a", "cut", qos, &[]);
            let printed = loop {
                let line = sub.line();
                if line.contains("received PUBLISH") {
                    break line;
                }
            };
            assert!(printed.contains(&format!("(d1, q{qos}, r0")), "{printed}");
            while !sub.line().starts_with(&format!("a=cut q{qos} r0")) {}
            assert_eq!(
                served.broker.faults("reader"),
                Faults::default(),
                "it was cut"
            );
            sub.0.kill();
            served.wait_for_connections(0);
        }
    });
}

#[test]
fn paho_gets_again_what_it_did_not_acknowledge_and_it_is_marked() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("sessions.py", "cut_reader"));
}

#[test]
fn paho_gets_a_message_of_qos_2_once_when_it_is_cut_between_pubrec_and_pubcomp() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        served.paho("sessions.py", "cut_reader_before_pubcomp");
    });
}

#[test]
fn what_paho_sends_again_is_passed_on_as_its_qos_says() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let faults = Faults {
            drop_acks: DropAcks::Next(2),
            ..Faults::default()
        };
        served.broker.set_faults("writer", faults).unwrap();
        served.paho("sessions.py", "cut_writer");
    });
}

#[test]
fn mosquitto_is_taken_over_by_a_second_one_of_its_name() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let wills = served.broker.subscribe("will").unwrap();
        let will = ["--will-topic", "will", "--will-payload", "gone", "-t", "a"];
        let first = served.sub("meter", &will);
        // It connects again by itself, so it is stopped first; what it has is taken from it all the same.
        first.0.signal("STOP");
        let mut second = served.sub("meter", &["-t", "b", "-q", "1"]);
        assert_eq!(wills.recv().unwrap().payload(), b"gone");
        assert_eq!(served.broker.stats().connections, 1);
        served.publish("a", "lost", "1", &[]);
        second.expect_nothing_but(served, "b", "kept");
    });
}

#[test]
fn paho_is_taken_over_by_a_second_one_of_its_name_and_that_has_its_session() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("sessions.py", "takeover"));
}
