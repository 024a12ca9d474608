//! Requests and their answers, and the values that the cloud keeps.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use agent::Agent;
use agent::service::store::{Found, StoreError};
use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, RequestError};
use serde_json::{Value, json};

use crate::temp_dir::TempDir;
use crate::{builder, run, with_broker};

/// A part of the cloud: answers requests at `prefix/ID`.
fn service(
    endpoint: &str,
    prefix: &'static str,
    answer: impl Fn(&str, &[u8]) -> Option<String> + 'static,
) -> Client {
    let options = ClientOptions::new(ClientId::new(format!("cloud-{prefix}")).unwrap());
    let client = Client::open(&endpoint.parse().unwrap(), options).unwrap();
    let filter = format!("{prefix}/#");
    let subscribed = client.subscribe(&filter, QoS::AtLeastOnce, move |client, message| {
        let (topic, id) = message.topic.rsplit_once('/').unwrap_or_default();
        if let Some(answer) = answer(topic, &message.data) {
            let to = format!("devices/meter-17/answers/{id}");
            client.publish(Publish::to(&to, &answer))?;
        }
        Ok(())
    });
    subscribed.unwrap();
    client
}

#[test]
fn a_request_is_answered_in_a_straight_line() {
    with_broker(|_, endpoint| {
        let cloud = service(endpoint, "time", |_, data| {
            Some(format!("it is {}", String::from_utf8_lossy(data)))
        });
        run(builder(endpoint), move |agent| {
            for hour in 1..=3 {
                let answer = agent.request("time", &format!("{hour} o'clock")).unwrap();
                assert_eq!(&*answer.data, format!("it is {hour} o'clock").as_bytes());
            }
            cloud.close(Duration::ZERO).unwrap();
        });
    });
}

#[test]
fn an_answer_to_a_request_of_an_earlier_start_is_not_taken_for_one_of_this() {
    with_broker(|broker, endpoint| {
        let asked: Rc<RefCell<Vec<String>>> = Rc::default();
        let ids = broker.subscribe("slow/#").unwrap();
        let noted = Rc::clone(&asked);
        let asking = broker.clone();
        run(builder(endpoint), move |agent| {
            let limited = fiber::timeout(Duration::from_millis(300), || agent.request("slow", "1"));
            assert!(limited.is_err());
            noted
                .borrow_mut()
                .push(ids.recv().unwrap().topic().to_owned());
            // Another start of the same device, with the same session.
        });
        let ids = asking.subscribe("slow/#").unwrap();
        run(builder(endpoint), move |agent| {
            let first = asked.borrow()[0].clone();
            let (_, first) = first.rsplit_once('/').unwrap();
            let ours = agent.clone();
            let mut request = fiber::spawn(move || {
                let limit = Duration::from_secs(20);
                fiber::timeout(limit, || {
                    ours.request("slow", "2").map(|answer| answer.data.to_vec())
                })
            })
            .unwrap();
            let second = ids.recv().unwrap().topic().to_owned();
            let (_, second) = second.rsplit_once('/').unwrap();
            assert_ne!(first, second);
            for (id, text) in [(first, "to the earlier one"), (second, "to this one")] {
                let topic = format!("devices/meter-17/answers/{id}");
                asking
                    .publish(&topic, text.as_bytes(), QoS::AtLeastOnce, false)
                    .unwrap();
            }
            let answer = request.join().unwrap().unwrap().unwrap();
            assert_eq!(answer, b"to this one");
        });
    });
}

/// A cloud that keeps values.
fn keeper(endpoint: &str) -> Client {
    let values: RefCell<BTreeMap<String, Value>> = RefCell::default();
    service(endpoint, "values", move |topic, data| {
        let request: Value = serde_json::from_slice(data).unwrap();
        let key = request["key"].as_str().unwrap().to_owned();
        let answer = match topic {
            "values/get" => json!({"value": values.borrow().get(&key)}),
            "values/set" if key == "serial" => json!({"error": "it is ours to set"}),
            "values/set" => {
                values.borrow_mut().insert(key, request["value"].clone());
                json!({"ok": true})
            }
            _ => return None,
        };
        Some(answer.to_string())
    })
}

fn get(agent: &Agent, key: &str) -> Result<Found, StoreError> {
    agent.store().unwrap().get(key)
}

#[test]
fn values_of_the_cloud_are_set_asked_for_and_remembered_without_it() {
    with_broker(|_, endpoint| {
        let folder = TempDir::new("agent-store");
        let state = folder.path().join("state");
        let described = |endpoint: &str| {
            let state = folder.path().join("state");
            builder(endpoint).state_dir(state).store("values")
        };
        let cloud = keeper(endpoint);
        run(described(endpoint), move |agent| {
            agent.mqtt().wait_connected().unwrap();
            let store = agent.store().unwrap();
            assert_eq!(get(agent, "limit").unwrap(), Found::Fresh(None));
            store.set("limit", json!({"high": 80})).unwrap();
            assert_eq!(
                get(agent, "limit").unwrap(),
                Found::Fresh(Some(json!({"high": 80})))
            );
            let refused = store.set("serial", 1).unwrap_err();
            assert_eq!(refused.to_string(), "the cloud refused: it is ours to set");
            let long = "x".repeat(3_000);
            assert!(matches!(
                store.set("a", long),
                Err(StoreError::Value(3_002))
            ));
            assert!(matches!(store.set("", 1), Err(StoreError::Key(0))));
            cloud.close(Duration::ZERO).unwrap();
        });
        // Another start, and no way to the cloud.
        run(described(endpoint), |agent| {
            agent.mqtt().pause_for(Duration::from_secs(3_600));
            let remembered = Found::Remembered(json!({"high": 80}));
            assert_eq!(get(agent, "limit").unwrap(), remembered);
            let unknown = fiber::timeout(Duration::from_millis(100), || get(agent, "other"));
            assert!(matches!(
                unknown,
                Err(fiber::Elapsed(Err(StoreError::Request(
                    RequestError::Wait(_)
                ))))
            ));
        });
        // What is damaged is put beside, and nothing is known then.
        std::fs::write(state.join("store.json"), "{\"schema\":1,\"val").unwrap();
        run(described(endpoint), |agent| {
            agent.mqtt().pause_for(Duration::from_secs(3_600));
            let unknown = fiber::timeout(Duration::from_millis(100), || get(agent, "limit"));
            assert!(unknown.is_err());
        });
        assert!(state.join("store.bad").is_file());
    });
}
