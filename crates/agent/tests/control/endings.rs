//! What an agent says of connections that a broker ends without a word.

use std::time::Duration;

use mqtt::{BrokerOptions, PublishVerdict, SubscribeRefusal};
use serde_json::Value;

use crate::support::with_broker;
use crate::temp_dir::TempDir;
use crate::{answer, start};

/// The text of the health condition, once it is there.
fn refused(folder: &TempDir) -> (String, Value) {
    loop {
        let status: Value =
            serde_json::from_str(&answer(folder.path(), &["status", "--json"])).unwrap();
        let health = status["health"].as_array().unwrap();
        let found = health.iter().find(|one| one["code"] == "refused-topic");
        if let Some(found) = found {
            assert!(
                health.iter().all(|one| one["code"] != "duplicate-identity"),
                "{status}"
            );
            return (found["text"].as_str().unwrap().to_owned(), status);
        }
        fiber::sleep(Duration::from_millis(100)).unwrap();
    }
}

#[test]
fn a_broker_that_hangs_up_on_a_topic_has_it_named() {
    let options = BrokerOptions::new().authorize_publish(|_, topic, _| match topic {
        "secret" => PublishVerdict::HangUp,
        _ => PublishVerdict::Allow,
    });
    with_broker(options, |_, endpoint| {
        let folder = TempDir::new("agent-hang-up");
        let telemetry = "[telemetry]\ntopic = \"secret\"\ninterval = \"1h\"\nqos = 1\n";
        let mut running = start(&folder, endpoint, telemetry);
        running.wait_for("PUBLISH \"secret\" never acknowledged [T090]; to 127.0.0.1:");
        let (text, status) = refused(&folder);
        assert!(text.contains("PUBLISH \"secret\""), "{text}");
        let last = status["link"]["last_end"].as_str().unwrap();
        assert!(last.contains("never acknowledged [T090]"), "{last}");
        assert_eq!(status["link"]["last_code"], "T090");
        drop(running);
    });
}

#[test]
fn a_broker_that_hangs_up_on_a_filter_has_it_named() {
    let options = BrokerOptions::new()
        .authorize_subscribe(|_, filter, _| filter != "secret/#")
        .subscribe_refusal(SubscribeRefusal::HangUp);
    with_broker(options, |_, endpoint| {
        let folder = TempDir::new("agent-hang-up-filter");
        let subscription = "[[subscription]]\ntopic = \"secret/#\"\nqos = 1\n";
        let running = start(&folder, endpoint, subscription);
        let (text, _) = refused(&folder);
        assert!(text.contains("SUBSCRIBE \"secret/#\""), "{text}");
        drop(running);
    });
}
