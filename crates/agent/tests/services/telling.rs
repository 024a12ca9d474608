//! What a device tells: readings in batches, and when it keeps silent.

use std::time::Duration;

use agent::config::Config;
use agent::profile::Setting;
use agent::service::batch::BatchOptions;
use agent::service::schedule::ScheduleOptions;
use agent::{Agent, HealthCode, QueueOptions, RecordError};
use mqtt::{ClientId, LocalSubscription, Publish, QoS, QueuePolicy};
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

/// The values of a message.
fn values(message: &Value) -> Vec<u64> {
    let readings = message["readings"].as_array().unwrap().iter();
    readings
        .map(|reading| reading["v"].as_u64().unwrap())
        .collect()
}

fn next(heard: &LocalSubscription) -> Value {
    serde_json::from_slice(heard.recv().unwrap().payload()).unwrap()
}

#[test]
fn readings_that_no_message_has_yet_are_kept_by_a_stop() {
    with_broker(|broker, endpoint| {
        let folder = TempDir::new("agent-open-batch");
        let heard = broker.subscribe("readings").unwrap();
        let described = |endpoint: &str| {
            builder(endpoint)
                .state_dir(folder.path().join("state"))
                .readings(
                    "readings",
                    QoS::AtLeastOnce,
                    batch(100, Duration::from_secs(3_600)),
                )
        };
        run(described(endpoint), |agent| {
            agent.mqtt().pause_for(Duration::from_secs(3_600));
            for number in 0..7 {
                agent.record("n", number).unwrap();
            }
        });
        run(described(endpoint), move |agent| {
            let first = next(&heard);
            assert_eq!(values(&first), (0..7).collect::<Vec<_>>());
            // And nobody takes the one start for the other.
            agent.record("n", 7).unwrap();
            agent.flush_readings().unwrap();
            let second = next(&heard);
            assert_eq!(
                (&first["sequence"], &second["sequence"]),
                (&1.into(), &1.into())
            );
            assert_ne!(first["boot"], second["boot"]);
        });
    });
}

#[test]
fn readings_that_find_no_room_are_kept_or_refused_and_never_dropped() {
    with_broker(|broker, endpoint| {
        let folder = TempDir::new("agent-no-room");
        for policy in [QueuePolicy::Reject, QueuePolicy::Wait] {
            let queue = QueueOptions {
                messages_max: 3,
                when_full: policy,
                ..QueueOptions::default()
            };
            let heard = broker.subscribe("readings").unwrap();
            let builder = builder(endpoint)
                .state_dir(folder.path().join("state"))
                .queue(queue)
                .readings(
                    "readings",
                    QoS::AtLeastOnce,
                    batch(10, Duration::from_secs(1)),
                );
            run(builder, move |agent| {
                agent.mqtt().pause_for(Duration::from_secs(3_600));
                let mut taken = Vec::new();
                for number in 0..100 {
                    // The time of a caller is no reason to lose what others measured.
                    let limit = Duration::from_millis(20);
                    let recorded = fiber::timeout(limit, || agent.record("n", number));
                    match recorded.unwrap_or_else(|elapsed| elapsed.0) {
                        Ok(()) => taken.push(number),
                        Err(error) => assert_eq!(error, RecordError::NoRoom),
                    }
                }
                // What the queue has, one that waits and one that is full.
                assert_eq!(taken.len(), 50, "{policy:?}");
                agent.mqtt().pause_until(fiber::Instant::now());
                agent.mqtt().retry_now();
                let mut came = Vec::new();
                while came.len() < taken.len() {
                    came.extend(values(&next(&heard)));
                }
                assert_eq!(came, taken, "{policy:?}");
            });
        }
    });
}

#[test]
fn a_message_of_readings_is_no_longer_than_the_broker_takes() {
    with_broker(|broker, endpoint| {
        let heard = broker.subscribe("readings").unwrap();
        let mut config = Config::new(endpoint.parse().unwrap());
        config.limits.packet_bytes = Setting::To(1_024);
        config
            .set_device_id(&ClientId::new("meter-17").unwrap())
            .unwrap();
        let batch = batch(1_000, Duration::from_millis(100));
        let builder = Agent::builder().config(config);
        run(
            builder.readings("readings", QoS::AtLeastOnce, batch),
            move |agent| {
                for number in 0..100 {
                    agent.record("n", number).unwrap();
                }
                let mut came = Vec::new();
                while came.len() < 100 {
                    let message = heard.recv().unwrap();
                    assert!(message.payload().len() < 1_024);
                    came.extend(values(&serde_json::from_slice(message.payload()).unwrap()));
                }
                assert_eq!(came, (0..100).collect::<Vec<_>>());
            },
        );
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

#[test]
fn dropped_messages_are_told() {
    with_broker(|_, endpoint| {
        let folder = TempDir::new("agent-dropped");
        let queue = QueueOptions {
            messages_max: 3,
            ..QueueOptions::default()
        };
        let state = folder.path().join("state");
        run(builder(endpoint).state_dir(state).queue(queue), |agent| {
            agent.mqtt().pause_for(Duration::from_secs(3_600));
            let dropped = || {
                let health = agent.supervisor().health().clone();
                health.contains_key(&HealthCode::QueueDropped)
            };
            for number in 0..3 {
                agent.publish("n", &number.to_string()).unwrap();
            }
            assert!(!dropped());
            agent.publish("n", "3").unwrap();
            assert!(dropped());
        });
    });
}

#[test]
fn a_hook_that_waits_for_a_connection_keeps_no_stop_away() {
    with_broker(|_, _| {
        let began = fiber::Instant::now();
        let ran = builder("mqtt://127.0.0.1:1")
            .on_start(|agent| {
                agent.mqtt().wait_connected()?;
                Ok(())
            })
            .limit(Some(Duration::from_millis(500)))
            .run();
        ran.unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
    });
}
