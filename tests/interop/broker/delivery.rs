//! What is published arrives: quality of service, retained messages, overlapping filters, `$` topics,
//! the end of a subscription, sizes and order.

use mqtt::{BrokerOptions, QoS};

use super::{expect_local, serve, serve_with};
use crate::peers;

#[test]
fn mosquitto_gets_every_message_at_the_lower_qos_of_both_ends() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let local = served.broker.subscribe("a/+").unwrap();
        let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        for granted in ["0", "1", "2"] {
            let mut sub = served.sub("reader", &["-t", "a/+", "-q", granted]);
            for (qos, level) in ["0", "1", "2"].into_iter().zip(levels) {
                served.publish("a/b", qos, qos, &[]);
                expect_local(&local, "a/b", qos, level);
                sub.expect(&[&format!("a/b={qos} q{} r0", qos.min(granted))]);
            }
            for (qos, level) in ["0", "1", "2"].into_iter().zip(levels) {
                served.broker.publish("a/c", "own", level, false).unwrap();
                expect_local(&local, "a/c", "own", level);
                sub.expect(&[&format!("a/c=own q{} r0", qos.min(granted))]);
            }
        }
    });
}

#[test]
fn paho_gets_every_message_at_the_lower_qos_of_both_ends() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("delivery.py", "every_qos"));
}

#[test]
fn mosquitto_gets_retained_messages_marked_and_only_when_it_subscribes() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let mut early = served.sub("early", &["-t", "#", "-q", "2"]);
        for qos in ["0", "1", "2"] {
            let topic = format!("state/{qos}");
            served.publish(&topic, "old", qos, &["-r"]);
            served.publish(&topic, "new", qos, &["-r"]);
            early.expect(&[
                &format!("{topic}=old q{qos} r0"),
                &format!("{topic}=new q{qos} r0"),
            ]);
        }
        let finished = served.pub_ends(&["-t", "state/0", "-r", "-n", "-q", "1"]);
        assert!(finished.status.success(), "{}", finished.stderr);
        early.expect(&["state/0= q1 r0"]);
        let mut late = served.sub("late", &["-t", "state/+", "-q", "1"]);
        late.expect(&["state/1=new q1 r1", "state/2=new q1 r1"]);
        late.expect_nothing_but(served, "state/3", "end");
        early.expect(&["state/3=end q2 r0"]);
        assert_eq!(served.broker.stats().retained, 2);
    });
}

#[test]
fn paho_gets_retained_messages_marked_and_only_when_it_subscribes() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("delivery.py", "retained"));
}

#[test]
fn mosquitto_gets_one_copy_of_overlapping_filters_at_the_highest_qos() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        // All filters of this program have one QoS: the second run of it adds others to its session.
        let kept = ["-c", "-t", "a/#", "-t", "a/b/c", "-q", "0", "-E"];
        assert!(served.sub("reader", &kept).finish().status.success());
        let mut sub = served.sub("reader", &["-c", "-t", "a/+/c", "-q", "2"]);
        served.publish("a/b/c", "x", "2", &[]);
        served.publish("a/b", "y", "2", &[]);
        sub.expect(&["a/b/c=x q2 r0", "a/b=y q0 r0"]);
        sub.expect_nothing_but(served, "a/b", "end");
    });
}

#[test]
fn paho_gets_one_copy_of_overlapping_filters_at_the_highest_qos() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        served.paho("delivery.py", "overlapping_filters")
    });
}

#[test]
fn mosquitto_gets_dollar_topics_by_their_name_alone() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let wildcards = ["-t", "#", "-t", "+/x", "-t", "+/#", "-q", "1"];
        let mut all = served.sub("all", &wildcards);
        let mut named = served.sub("named", &["-t", "$own/#", "-q", "1"]);
        served.publish("$own/x", "hidden", "1", &["-r"]);
        named.expect(&["$own/x=hidden q1 r0"]);
        all.expect_nothing_but(served, "own/x", "seen");
        let mut late = served.sub("late", &wildcards);
        late.expect_nothing_but(served, "own/x", "again");
    });
}

#[test]
fn paho_gets_dollar_topics_by_their_name_alone() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("delivery.py", "dollar_topics"));
}

#[test]
fn mosquitto_ends_one_subscription_of_a_kept_session_and_keeps_the_other() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let both = ["-c", "-t", "a/#", "-t", "b", "-q", "1", "-E"];
        assert!(served.sub("reader", &both).finish().status.success());
        let mut sub = served.sub("reader", &["-c", "-U", "a/#", "-t", "c", "-q", "1"]);
        // SUBSCRIBE and UNSUBSCRIBE come in any order: the answer to a message of its own tells.
        sub.expect_nothing_but(served, "c", "begin");
        served.publish("a/x", "lost", "1", &[]);
        sub.expect_nothing_but(served, "b", "kept");
    });
}

#[test]
fn paho_ends_one_subscription_and_keeps_the_other() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("delivery.py", "unsubscribe"));
}

#[test]
fn mosquitto_sends_and_gets_a_mebibyte() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        let folder = tests::temp_dir::TempDir::new("broker-large");
        let file = folder.write("large", vec![b'x'; 1024 * 1024]);
        let file = file.to_str().unwrap();
        for qos in ["0", "1", "2"] {
            let count = ["-t", "large", "-q", "2", "-C", "1", "-F", "%t %l q%q"];
            let sub = served.sub("reader", &count);
            let finished = served.pub_ends(&["-t", "large", "-f", file, "-q", qos]);
            assert!(finished.status.success(), "{}", finished.stderr);
            assert_eq!(sub.finish().stdout, format!("large 1048576 q{qos}\n"));
            served.wait_for_connections(0);
        }
    });
}

#[test]
fn paho_sends_and_gets_a_mebibyte() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| served.paho("delivery.py", "large"));
}

#[test]
fn mosquitto_gets_thousands_of_messages_in_order() {
    let Some(peers) = peers() else { return };
    serve(peers, |served| {
        const COUNT: usize = 3_000;
        let folder = tests::temp_dir::TempDir::new("broker-order");
        let lines: String = (0..COUNT).map(|number| format!("{number}\n")).collect();
        let file = folder.write("lines", lines);
        for qos in ["0", "1", "2"] {
            let count = COUNT.to_string();
            let args = ["-t", "n", "-q", "2", "-C", &count, "-F", "%p"];
            let sub = served.sub("reader", &args);
            let mut shell = std::process::Command::new("/bin/sh");
            let script = r#"exec "$0" -h 127.0.0.1 -p "$1" -t n -q "$2" -l <"$3""#;
            shell.args(["-c", script, "mosquitto_pub", &served.port.to_string(), qos]);
            shell.arg(&file);
            let run = move || tests::process::run(&mut shell, tests::process::PROCESS_TIMEOUT);
            let published = fiber::offload(run).unwrap().unwrap();
            assert!(published.status.success(), "{}", published.stderr);
            let printed = sub.finish().stdout;
            let expected = (0..COUNT).map(|number| number.to_string());
            assert!(printed.lines().eq(expected), "QoS {qos}: {printed}");
            served.wait_for_connections(0);
        }
        assert_eq!(served.broker.stats().dropped, 0);
    });
}

#[test]
fn paho_gets_thousands_of_messages_in_order() {
    let Some(peers) = peers() else { return };
    serve_with(
        peers,
        BrokerOptions::new().queue_max(10_000, 1 << 22),
        |served| {
            served.paho("delivery.py", "in_order");
        },
    );
}
