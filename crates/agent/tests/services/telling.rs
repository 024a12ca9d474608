//! What a device tells: readings in batches, and when it keeps silent.

use std::time::Duration;

use agent::RecordError;
use agent::service::batch::BatchOptions;
use agent::service::schedule::ScheduleOptions;
use mqtt::{Publish, QoS};
use serde_json::Value;

use crate::temp_dir::TempDir;
use crate::{builder, run, with_broker};

fn batch(count_max: usize, delay_max: Duration) -> BatchOptions {
    BatchOptions {
        count_max,
        delay_max,
        ..BatchOptions::default()
    }
}

#[test]
fn readings_arrive_in_batches_in_the_order_in_which_they_were_taken() {
    with_broker(|broker, endpoint| {
        let heard = broker.subscribe("readings").unwrap();
        let options = batch(10, Duration::from_millis(200));
        let builder = builder(endpoint).readings("readings", QoS::AtLeastOnce, options);
        run(builder, move |agent| {
            for number in 0..25 {
                agent.record("n", number).unwrap();
            }
            let mut numbers = Vec::new();
            let mut sizes = Vec::new();
            // The last one is not full: it leaves for having waited.
            for _ in 0..3 {
                let message: Value =
                    serde_json::from_slice(heard.recv().unwrap().payload()).unwrap();
                assert_eq!(message["device"], "meter-17");
                let readings = message["readings"].as_array().unwrap().clone();
                sizes.push(readings.len());
                numbers.extend(
                    readings
                        .iter()
                        .map(|reading| reading["v"].as_u64().unwrap()),
                );
            }
            assert_eq!(sizes, [10, 10, 5]);
            assert_eq!(numbers, (0..25).collect::<Vec<_>>());
        });
    });
}

#[test]
fn what_was_measured_without_a_connection_has_its_own_time_and_order_after_a_restart() {
    with_broker(|broker, endpoint| {
        let folder = TempDir::new("agent-readings");
        let state = folder.path().join("state");
        let heard = broker.subscribe("readings").unwrap();
        let described = |endpoint: &str| {
            builder(endpoint)
                .state_dir(folder.path().join("state"))
                .readings(
                    "readings",
                    QoS::AtLeastOnce,
                    batch(1, Duration::from_secs(1)),
                )
        };
        let before = fiber::wall_time();
        run(described(endpoint), |agent| {
            agent.mqtt().pause_for(Duration::from_secs(3_600));
            for number in 0..5 {
                agent.record("n", number).unwrap();
            }
        });
        let after = fiber::wall_time();
        assert!(state.is_dir() && heard.try_recv().is_none());
        run(described(endpoint), move |agent| {
            agent.record("n", 5).unwrap();
            for number in 0..6 {
                let message: Value =
                    serde_json::from_slice(heard.recv().unwrap().payload()).unwrap();
                let reading = &message["readings"][0];
                assert_eq!(reading["v"], number, "first in, first out");
                let taken = Duration::from_millis(reading["t"].as_u64().unwrap());
                let since = |time: std::time::SystemTime| {
                    time.duration_since(std::time::UNIX_EPOCH).unwrap()
                };
                if number < 5 {
                    let slack = Duration::from_millis(1);
                    assert!(taken + slack >= since(before) && taken <= since(after) + slack);
                }
            }
        });
    });
}

#[test]
fn without_a_topic_a_reading_is_refused() {
    with_broker(|_, endpoint| {
        run(builder(endpoint), |agent| {
            assert_eq!(agent.record("n", 1), Err(RecordError::NoTopic));
        });
    });
}

#[test]
fn outside_its_windows_a_device_is_silent_unless_it_wants_a_connection() {
    with_broker(|broker, endpoint| {
        let heard = broker.subscribe("alarm").unwrap();
        let broker = broker.clone();
        // A window of ten seconds at a time of day that is not now.
        let wall = fiber::wall_time();
        let since = wall.duration_since(std::time::UNIX_EPOCH).unwrap();
        let hour = (since.as_secs() / 3_600 + 12) % 24;
        let options = ScheduleOptions {
            windows: vec![format!("0 {hour} * * *")],
            duration: Duration::from_secs(10),
            ..ScheduleOptions::default()
        };
        run(builder(endpoint).schedule(options), move |agent| {
            let publish = Publish::to("alarm", "hot").qos(QoS::AtLeastOnce);
            agent.mqtt().publish(publish).unwrap();
            fiber::sleep(Duration::from_secs(2)).unwrap();
            assert_eq!(broker.stats().connections, 0);
            assert!(heard.try_recv().is_none());
            agent.connect_for(Duration::from_secs(3_600));
            assert_eq!(heard.recv().unwrap().payload(), b"hot");
        });
    });
}
