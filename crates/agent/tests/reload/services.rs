//! What counts at once.

use std::time::Duration;

use mqtt::{BrokerOptions, QoS};

use crate::Device;
use crate::support::{configured, with_broker};
use crate::temp_dir::TempDir;

#[test]
fn telemetry_metrics_and_the_log_go_by_the_new_configuration_at_once() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let [up, other, metrics] =
            ["up", "other", "metrics"].map(|topic| broker.subscribe(topic).unwrap());
        let before = "[telemetry]\ntopic = \"up\"\ninterval = \"1h\"\n[log]\nfilter = \"off\"\n";
        let device = Device::start(TempDir::new("agent-live"), endpoint, before);
        up.recv().unwrap();
        let told = device.reload(
            "[telemetry]\ntopic = \"other\"\ninterval = \"200ms\"\n[log]\nfilter = \"info\"\n\
             [metrics]\ntopic = \"metrics\"\ninterval = \"1s\"\n",
        );
        for path in [
            "telemetry.topic",
            "telemetry.interval",
            "metrics.topic",
            "log.filter",
        ] {
            assert!(told.contains(&format!("{path}: counts now\n")), "{told}");
        }
        assert!(!told.contains("restart"), "{told}");
        // The count goes on.
        for sequence in 2..5 {
            let message = other.recv().unwrap();
            let text = String::from_utf8(message.payload().to_vec()).unwrap();
            assert!(
                text.contains(&format!("\"sequence\":{sequence},")),
                "{text}"
            );
        }
        metrics.recv().unwrap();
        metrics.recv().unwrap();
        assert!(up.try_recv().is_none());

        // Without the tables there is neither.
        device.reload("[log]\nfilter = \"info\"\n");
        fiber::sleep(Duration::from_millis(300)).unwrap();
        while other.try_recv().is_some() {}
        while metrics.try_recv().is_some() {}
        fiber::sleep(Duration::from_millis(1_500)).unwrap();
        assert!(other.try_recv().is_none() && metrics.try_recv().is_none());

        let logged = device.logged();
        assert!(!logged.contains("connected to"), "{logged}");
        let change = "log.filter: \"info\" instead of \"off\", at once";
        assert!(logged.contains(change), "{logged}");
    });
}

#[test]
fn subscriptions_come_and_go_and_those_that_stay_have_no_gap() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        for topic in ["stays/1", "goes/1", "comes/1", "more/1"] {
            let published = broker.publish(topic, b"retained", QoS::AtLeastOnce, true);
            published.unwrap();
        }
        let table = |filter: &str, qos: u8| {
            format!("[[subscription]]\ntopic = \"{filter}\"\nqos = {qos}\n")
        };
        let before = table("stays/#", 1) + &table("goes/#", 1) + &table("more/#", 0);
        let device = Device::start(TempDir::new("agent-filters"), endpoint, &before);
        for topic in ["stays/1", "goes/1", "more/1"] {
            device.wait_printed(topic);
        }
        let sender = broker.clone();
        let mut publishing = fiber::spawn(move || {
            for number in 0..100_u32 {
                for topic in ["stays/2", "more/2"] {
                    let text = number.to_string();
                    let sent = sender.publish(topic, text.as_bytes(), QoS::AtLeastOnce, false);
                    sent.unwrap();
                }
                fiber::sleep(Duration::from_millis(10)).unwrap();
            }
        })
        .unwrap();
        // One of the new ones matches what an old one does.
        let after = table("stays/#", 1) + &table("stays/+", 1) + &table("comes/#", 1);
        let told = device.reload(&(after + &table("more/#", 2)));
        for path in ["subscription.comes/#.topic", "subscription.more/#.qos"] {
            assert!(told.contains(&format!("{path}: counts now\n")), "{told}");
        }
        assert!(!told.contains("restart"), "{told}");
        publishing.join().unwrap();
        device.wait_printed("comes/1");
        for topic in ["goes/2", "comes/2", "stays/3"] {
            let sent = broker.publish(topic, b"last", QoS::AtLeastOnce, false);
            sent.unwrap();
        }
        device.wait_printed("stays/3 last");
        let printed = device.printed();
        let count = |line: &str| printed.lines().filter(|it| *it == line).count();
        assert_eq!(count("goes/2 last"), 0, "{printed}");
        assert_eq!(count("comes/2 last"), 1, "{printed}");
        for number in 0..100 {
            assert_eq!(count(&format!("stays/2 {number}")), 1, "{printed}");
        }
        // With another QoS it is another subscription, which has what comes from then on.
        let sent = broker.publish("more/3", b"last", QoS::AtLeastOnce, false);
        sent.unwrap();
        device.wait_printed("more/3 last");
        // The broker was not asked again for what stays, only for what overlaps it.
        assert_eq!(count("goes/1 retained"), 1, "{printed}");
    });
}

#[test]
fn a_schedule_comes_and_goes_while_the_device_runs() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let device = Device::start(TempDir::new("agent-windows"), endpoint, "");
        // A window that is open neither now nor soon.
        let month = fiber::wall_time()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let month = (month.as_secs() / (30 * 86_400) + 6) % 12 + 1;
        let closed = format!("[schedule]\nwindows = [\"0 0 1 {month} *\"]\non_demand = false\n");
        let told = device.reload(&closed);
        assert!(told.contains("schedule.windows: counts now\n"), "{told}");
        device.wait_logged("left the broker for now", 1);
        assert!(device.ask(&["status"]).contains("resting"), "{told}");

        device.reload("");
        device.wait_logged("connected to", 2);
        broker.stop();
    });
}

#[test]
fn a_schedule_that_is_none_changes_nothing_at_all() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let up = broker.subscribe("up").unwrap();
        let device = Device::start(TempDir::new("agent-cron"), endpoint, "");
        let rest = "[telemetry]\ntopic = \"up\"\n[schedule]\nwindows = [\"0 6 * *\"]\n";
        configured(device.folder.path(), "meter-17", endpoint, rest);
        let (is_good, told) = device.try_ask(&["reload"]);
        assert!(!is_good && told.contains("C045"), "{told}");
        fiber::sleep(Duration::from_millis(300)).unwrap();
        assert!(up.try_recv().is_none());
        let status = device.ask(&["status"]);
        assert!(status.contains("config-rejected"), "{status}");
    });
}
