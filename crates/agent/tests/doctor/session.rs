//! MQTT: whether the device is taken and kept, and that the doctor does no harm.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use agent::doctor::{self, Outcome};
use fiber::net::UnixListener;
use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions, ConnectReason, QoS};

use crate::support::{
    Folder, each, examine, expect_first, expect_told, found, options, run, serve,
};

fn client(broker: &Broker, clean: bool) -> Client {
    let (ours, theirs) = fiber::net::pipe(64 * 1024);
    broker.attach(theirs).expect("it is to be had");
    let id = ClientId::new("meter-17").expect("it is to be had");
    let client = Client::over(ours, ClientOptions::new(id).clean_start(clean));
    client.connect().expect("it is to be had");
    client
}

#[test]
fn a_connection_that_is_refused_is_told_with_its_code() {
    for (reason, code) in [
        (ConnectReason::IdentifierRejected, "T081"),
        (ConnectReason::ServerUnavailable, "T082"),
        (ConnectReason::BadUserNameOrPassword, "T083"),
        (ConnectReason::NotAuthorized, "T084"),
    ] {
        run(move || {
            let (_broker, endpoint) =
                serve(BrokerOptions::new().authenticate(move |_| Err(reason)));
            let folder = Folder::new();
            let report = examine(&folder.configure(&endpoint, "", ""));
            expect_first(&report, "mqtt-connect", code);
        });
    }
}

#[test]
fn a_connection_that_is_closed_before_it_is_answered_is_told_as_that() {
    run(|| {
        use std::io::Read as _;
        let port = each(|stream| drop((&stream).read(&mut [0; 4096])));
        let folder = Folder::new();
        let report = examine(&folder.configure(&format!("mqtt://127.0.0.1:{port}"), "", ""));
        expect_first(&report, "mqtt-connect", "T086");
    });
}

#[test]
fn a_second_client_with_the_id_of_the_device_is_found_by_the_fight() {
    run(|| {
        let (broker, endpoint) = serve(BrokerOptions::new());
        let over = Rc::new(Cell::new(false));
        let (twin, until) = (broker.clone(), Rc::clone(&over));
        let mut fight = fiber::spawn(move || {
            while !until.get() {
                let other = client(&twin, true);
                drop(other.ended());
                fiber::sleep(Duration::from_millis(400)).unwrap();
            }
        })
        .unwrap();
        let folder = Folder::new();
        let report = examine(&folder.configure(&endpoint, "session = \"clean\"", ""));
        over.set(true);
        broker.stop();
        fight.join().unwrap();
        expect_first(&report, "stays-up", "T103");
        expect_told(&report, "stays-up", "ms after CONNACK");
    });
}

#[test]
fn while_the_agent_runs_nothing_is_sent_that_would_end_its_connection() {
    run(|| {
        let (broker, endpoint) = serve(BrokerOptions::new());
        let running = client(&broker, true);
        let folder = Folder::new();
        let config = folder.configure(&endpoint, "", "");
        let socket = folder.path().join("state/control.sock");
        // One that does not answer.
        let listener = UnixListener::bind(&socket).unwrap();
        let accepting = fiber::spawn(move || while listener.accept().is_ok() {}).unwrap();
        let report = examine(&config);
        assert_eq!(found(&report, "daemon").0, Outcome::Warn);
        assert_eq!(
            report.finding("mqtt-connect").unwrap().because_of,
            Some("daemon")
        );
        assert_eq!(report.finding("ping").unwrap().because_of, Some("stays-up"));
        running.ping().expect("it is connected as before");

        let mut options = options(&config);
        options.takeover = true;
        let report = doctor::examine(options);
        assert_eq!(found(&report, "mqtt-connect").0, Outcome::Ok);
        assert!(!running.is_connected(), "that is what was asked for");
        accepting.cancel();
    });
}

#[test]
fn whichever_checks_are_made_the_connection_of_the_agent_stays() {
    run(|| {
        let (broker, endpoint) = serve(BrokerOptions::new());
        let running = client(&broker, true);
        let folder = Folder::new();
        let rest = "[telemetry]\ntopic = \"site/t\"\n[[subscription]]\ntopic = \"site/set\"\n";
        let config = folder.configure(&endpoint, "", rest);
        let socket = folder.path().join("state/control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let accepting = fiber::spawn(move || while listener.accept().is_ok() {}).unwrap();
        let online = [
            "mqtt-connect",
            "stays-up",
            "rights-subscribe",
            "rights-publish",
            "ping",
        ];
        for id in online {
            let mut options = options(&config);
            options.only = vec![id];
            let report = doctor::examine(options);
            assert!(
                report.finding(id).unwrap().because_of.is_some(),
                "{}",
                report.text()
            );
        }
        // Nor where what would show that it runs is left out.
        for skip in [&["daemon"][..], &["daemon", "mqtt-connect", "stays-up"]] {
            let mut options = options(&config);
            options.skip = skip.to_vec();
            drop(doctor::examine(options));
        }
        running.ping().expect("it is connected as before");
        assert!(running.is_connected());
        accepting.cancel();
    });
}

#[test]
fn an_agent_that_cannot_be_asked_counts_as_one_that_runs() {
    run(|| {
        let (broker, endpoint) = serve(BrokerOptions::new());
        let running = client(&broker, true);
        let folder = Folder::new();
        let config = folder.configure(&endpoint, "", "[control]\nsocket = \"none\"\n");
        for lock in ["queue", "identity"] {
            let home = folder.path().join("state").join(lock);
            std::fs::create_dir(&home).unwrap();
            // As a process has it that keeps something there; its socket is nowhere to be found.
            let held = fiber::fs::File::create(home.join("lock")).unwrap();
            assert!(held.try_lock().unwrap());
            let report = examine(&config);
            assert_eq!(
                found(&report, "daemon").0,
                Outcome::Warn,
                "\n{}",
                report.text()
            );
            expect_told(&report, "daemon", "locked by another process");
            let connect = report.finding("mqtt-connect").unwrap();
            assert_eq!(connect.because_of, Some("daemon"));
            drop(held);
            assert!(running.is_connected(), "{lock}");
        }
        // Nobody has the locks any more, and looking took none of them for good.
        let report = examine(&config);
        assert_eq!(found(&report, "daemon").0, Outcome::Note);
        assert!(
            !running.is_connected(),
            "there was nothing to be careful of"
        );
    });
}

#[test]
fn a_kept_session_has_no_more_subscriptions_after_an_examination_than_before() {
    run(|| {
        let (broker, endpoint) = serve(BrokerOptions::new());
        let folder = Folder::new();
        let rest =
            "[telemetry]\ntopic = \"site/t\"\n[[subscription]]\ntopic = \"site/set\"\nqos = 1\n";
        let config = folder.configure(&endpoint, "session = \"kept\"", rest);
        for touch in [false, true] {
            let mut options = options(&config);
            options.touch = touch;
            let report = doctor::examine(options);
            assert_eq!(
                report.first().map(|first| first.id),
                None,
                "\n{}",
                report.text()
            );
            let publish = found(&report, "rights-publish").0;
            assert_eq!(publish, if touch { Outcome::Ok } else { Outcome::Note });
        }
        for topic in ["site/t", "site/t/doctor", "site/set"] {
            broker
                .publish(topic, b"x", QoS::AtLeastOnce, false)
                .unwrap();
        }
        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        broker.attach(theirs).unwrap();
        let id = ClientId::new("meter-17").unwrap();
        let device = Client::over(ours, ClientOptions::new(id).clean_start(false));
        let topics = Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = Rc::clone(&topics);
        device.on_unwanted(move |_, message| {
            seen.borrow_mut().push(message.topic.to_string());
            Ok(())
        });
        assert!(device.connect().unwrap(), "the session is there");
        for topic in ["site/t", "site/t/doctor", "site/set"] {
            broker.publish(topic, b"y", QoS::AtMostOnce, false).unwrap();
        }
        fiber::sleep(mqtt::EARLY_WINDOW + Duration::from_millis(500)).unwrap();
        assert_eq!(*topics.borrow(), ["site/set", "site/set"]);
    });
}

#[test]
fn what_waits_for_the_device_still_waits_after_an_examination() {
    run(|| {
        let (broker, endpoint) = serve(BrokerOptions::new());
        let device = client(&broker, false);
        device
            .subscribe("site/#", QoS::AtLeastOnce, |_, _| Ok(()))
            .unwrap();
        device
            .subscribe("old/#", QoS::AtLeastOnce, |_, _| Ok(()))
            .unwrap();
        device.close(Duration::from_secs(1)).unwrap();
        for topic in ["site/1", "old/1", "site/2"] {
            broker
                .publish(topic, b"x", QoS::AtLeastOnce, false)
                .unwrap();
        }
        let folder = Folder::new();
        let rest = "[[subscription]]\ntopic = \"site/#\"\nqos = 1\n";
        let report = examine(&folder.configure(&endpoint, "session = \"kept\"", rest));
        assert_eq!(
            found(&report, "rights-subscribe").0,
            Outcome::Ok,
            "\n{}",
            report.text()
        );
        assert!(
            report
                .finding("mqtt-connect")
                .unwrap()
                .text
                .contains("kept")
        );

        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        broker.attach(theirs).unwrap();
        let id = ClientId::new("meter-17").unwrap();
        let device = Client::over(ours, ClientOptions::new(id).clean_start(false));
        let count = Rc::new(Cell::new(0));
        let seen = Rc::clone(&count);
        let declared = mqtt::Subscribe::to("#", QoS::AtLeastOnce).wait(mqtt::Wait::None);
        device.on_unwanted(|_, _| Ok(()));
        assert!(device.connect().unwrap(), "the session is there");
        device
            .subscribe_as(declared, move |_, _| {
                seen.set(seen.get() + 1);
                Ok(())
            })
            .unwrap();
        fiber::sleep(Duration::from_millis(500)).unwrap();
        assert_eq!(count.get(), 3);
    });
}
