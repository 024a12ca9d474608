//! Commands: asked for by a message, done once, answered.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use agent::service::command::{COMMAND_TIMEOUT_DEFAULT, Command, Program};
use agent::{Agent, AgentBuilder, HealthCode};
use mqtt::{Broker, Client, ClientId, ClientOptions, LocalSubscription, QoS};
use serde_json::Value;

use crate::temp_dir::TempDir;
use crate::{builder, run, with_broker};

const TOPIC: &str = "devices/meter-17/commands";

fn ask(broker: &Broker, payload: &str) {
    broker
        .publish(TOPIC, payload.as_bytes(), QoS::AtLeastOnce, false)
        .unwrap();
}

fn answer(answers: &LocalSubscription) -> Value {
    serde_json::from_slice(answers.recv().unwrap().payload()).unwrap()
}

/// Waits until the agent hears commands: subscriptions are made after the connection.
fn hears(agent: &Agent, broker: &Broker, answers: &LocalSubscription) {
    agent.mqtt().wait_connected().unwrap();
    for attempt in 0.. {
        ask(
            broker,
            &format!(r#"{{"id":"hears {attempt}","command":"?"}}"#),
        );
        let told = fiber::timeout(Duration::from_millis(200), || answers.recv());
        let Ok(Ok(mut told)) = told else { continue };
        // Each that was heard is answered.
        while !String::from_utf8_lossy(told.payload()).contains(&format!("hears {attempt}\"")) {
            told = answers.recv().unwrap();
        }
        return;
    }
}

/// Runs an agent that takes commands, with its broker and the answers.
#[track_caller]
fn commanded(
    describe: impl FnOnce(AgentBuilder) -> AgentBuilder + 'static,
    body: impl FnOnce(&Agent, &Broker, &LocalSubscription) + 'static,
) {
    with_broker(move |broker, endpoint| {
        let answers = broker.subscribe(&format!("{TOPIC}/answer")).unwrap();
        let broker = broker.clone();
        run(describe(builder(endpoint).commands(TOPIC)), move |agent| {
            hears(agent, &broker, &answers);
            body(agent, &broker, &answers);
        });
    });
}

#[test]
fn commands_are_done_in_order_by_functions_and_programs_and_nothing_else_is() {
    commanded(
        |builder| {
            let double = |command: &Command| match command.args.get("n").and_then(Value::as_i64) {
                Some(n) => Ok((2 * n).to_string()),
                None => Err("expected `n`".to_owned()),
            };
            builder
                .command("double", COMMAND_TIMEOUT_DEFAULT, double)
                .command_program("say", Program::new("echo").args(["{text}"]))
        },
        |_, broker, answers| {
            ask(broker, r#"{"id":"1","command":"double","args":{"n":21}}"#);
            ask(
                broker,
                r#"{"id":"2","command":"say","args":{"text":"$(id); `id`"}}"#,
            );
            ask(broker, r#"{"id":"3","command":"say","args":{"text":"-n"}}"#);
            ask(broker, r#"{"id":"4","command":"double"}"#);
            for (id, status, output) in [
                ("1", "done", "42"),
                ("2", "done", "$(id); `id`\n"),
                (
                    "3",
                    "refused",
                    "the argument \"text\" must not begin with '-'",
                ),
                ("4", "failed", "expected `n`"),
            ] {
                let answer = answer(answers);
                assert_eq!(answer["schema"], 1);
                assert_eq!(answer["id"], id, "{answer}");
                assert_eq!(answer["status"], status, "{answer}");
                assert_eq!(answer["output"], output, "{answer}");
            }
            ask(broker, r#"{"id":"5","command":"reboot"}"#);
            assert_eq!(answer(answers)["status"], "unknown");
            ask(broker, "reboot");
            assert_eq!(answer(answers)["status"], "malformed");
        },
    );
}

#[test]
fn a_command_runs_once_however_often_the_device_has_connected() {
    let runs = Rc::new(Cell::new(0));
    let counted = Rc::clone(&runs);
    commanded(
        move |builder| {
            builder.command("count", COMMAND_TIMEOUT_DEFAULT, move |_| {
                counted.set(counted.get() + 1);
                Ok(counted.get().to_string())
            })
        },
        move |agent, broker, answers| {
            for lost in 0..3 {
                // Another client with its identifier: the broker ends its connection.
                let (near, far) = fiber::net::pipe(4_096);
                broker.attach(far).unwrap();
                let id = ClientId::new("meter-17").unwrap();
                let intruder = Client::over(near, ClientOptions::new(id).clean_start(false));
                intruder.connect().unwrap();
                intruder.close(Duration::ZERO).unwrap();
                while agent.supervisor().stats(fiber::Instant::now()).disconnects == lost {
                    fiber::sleep(Duration::from_millis(10)).unwrap();
                }
                agent.mqtt().retry_now();
                agent.mqtt().wait_connected().unwrap();
            }
            while agent.supervisor().stats(fiber::Instant::now()).connects < 4 {
                fiber::sleep(Duration::from_millis(10)).unwrap();
            }
            ask(broker, r#"{"id":"a","command":"count"}"#);
            assert_eq!(answer(answers)["output"], "1");
            // The same one again is answered again, and not done again.
            ask(broker, r#"{"id":"a","command":"count"}"#);
            assert_eq!(answer(answers)["output"], "1");
            ask(broker, r#"{"id":"b","command":"count"}"#);
            assert_eq!(answer(answers)["output"], "2");
            assert_eq!(runs.get(), 2);
        },
    );
}

#[test]
fn a_retained_command_is_not_done() {
    with_broker(|broker, endpoint| {
        let old = br#"{"id":"1","command":"count"}"#;
        broker.publish(TOPIC, old, QoS::AtLeastOnce, true).unwrap();
        let runs = Rc::new(Cell::new(0));
        let counted = Rc::clone(&runs);
        let builder = builder(endpoint).commands(TOPIC).command(
            "count",
            COMMAND_TIMEOUT_DEFAULT,
            move |_| {
                counted.set(counted.get() + 1);
                Ok(String::new())
            },
        );
        let answers = broker.subscribe(&format!("{TOPIC}/answer")).unwrap();
        let broker = broker.clone();
        run(builder, move |agent| {
            hears(agent, &broker, &answers);
            // What is not retained is done, and what is comes with the subscription, before it.
            ask(&broker, r#"{"id":"2","command":"count"}"#);
            let told = answer(&answers);
            assert_eq!(
                (&told["id"], &told["status"]),
                (&"2".into(), &"done".into())
            );
        });
        assert_eq!(runs.get(), 1);
    });
}

#[test]
fn two_commands_of_one_name_are_a_fault_of_the_program() {
    with_broker(|_, endpoint| {
        let nothing = |_: &Command| Ok(String::new());
        let ran = builder(endpoint)
            .command("a", COMMAND_TIMEOUT_DEFAULT, nothing)
            .command("a", COMMAND_TIMEOUT_DEFAULT, nothing)
            .run();
        let failure = ran.unwrap_err();
        assert_eq!(failure.exit().code(), 78);
        assert!(failure.to_string().contains("\"a\" already"), "{failure}");
    });
}

#[test]
fn the_cloud_asks_to_be_left_alone_and_a_restart_does_not_change_that() {
    with_broker(|broker, endpoint| {
        let folder = TempDir::new("agent-blocked");
        let described = |endpoint: &str| {
            let state = folder.path().join("state");
            builder(endpoint).state_dir(state).commands(TOPIC)
        };
        let asking = broker.clone();
        let answers = broker.subscribe(&format!("{TOPIC}/answer")).unwrap();
        let noted = folder.path().join("state/throttle.json");
        run(described(endpoint), move |agent| {
            hears(agent, &asking, &answers);
            ask(
                &asking,
                r#"{"id":"1","command":"agent.block","args":{"seconds":3600}}"#,
            );
            // It is obeyed at once, and written down meanwhile.
            while agent.is_online() || !noted.exists() {
                fiber::sleep(Duration::from_millis(10)).unwrap();
            }
            assert!(agent.throttle().spared().blocked_until.is_some());
            let blocked = HealthCode::Blocked;
            assert!(agent.supervisor().health().contains_key(&blocked));
        });
        let counting = broker.clone();
        run(described(endpoint), move |agent| {
            assert!(agent.throttle().spared().blocked_until.is_some());
            agent.mqtt().retry_now();
            fiber::sleep(Duration::from_secs(2)).unwrap();
            assert_eq!(counting.stats().connections, 0);
            agent.throttle().resume();
            agent.mqtt().wait_connected().unwrap();
            let blocked = HealthCode::Blocked;
            assert!(!agent.supervisor().health().contains_key(&blocked));
        });
        run(described(endpoint), |agent| {
            assert_eq!(agent.throttle().spared(), Default::default());
            agent.mqtt().wait_connected().unwrap();
        });
    });
}

#[test]
fn the_cloud_asks_to_be_sent_less_for_a_while() {
    commanded(
        |builder| builder,
        |agent, broker, answers| {
            let heard = broker.subscribe("reading").unwrap();
            ask(
                broker,
                r#"{"id":"1","command":"agent.throttle","args":{"rate":1,"seconds":3}}"#,
            );
            assert_eq!(answer(answers)["status"], "done");
            let began = fiber::Instant::now();
            for number in 0..50 {
                agent.publish("reading", &number.to_string()).unwrap();
            }
            fiber::sleep(Duration::from_millis(1_500)).unwrap();
            let mut early = 0;
            while heard.try_recv().is_some() {
                early += 1;
            }
            assert!(early <= 3, "{early} messages in 1.5 s");
            for _ in early..50 {
                heard.recv().unwrap();
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{:?}",
                began.elapsed()
            );
        },
    );
}

#[test]
fn what_is_not_allowed_of_the_agents_own_commands_is_unknown() {
    commanded(
        |builder| builder.own_commands(&["throttle"]),
        |_, broker, answers| {
            for (id, name, expected) in [
                ("1", "block", "unknown"),
                ("2", "resume", "unknown"),
                ("3", "throttle", "done"),
            ] {
                let args = r#"{"seconds":1,"rate":100}"#;
                ask(
                    broker,
                    &format!(r#"{{"id":"{id}","command":"agent.{name}","args":{args}}}"#),
                );
                assert_eq!(answer(answers)["status"], expected, "{name}");
            }
        },
    );
}

#[test]
fn a_command_that_waits_at_a_stop_is_done_after_it_and_the_one_that_is_done_is_not_repeated() {
    with_broker(|broker, endpoint| {
        let folder = TempDir::new("agent-command-stop");
        let answers = broker.subscribe(&format!("{TOPIC}/answer")).unwrap();
        let runs = Rc::new(Cell::new(0));
        let described = |endpoint: &str| {
            let counted = Rc::clone(&runs);
            let count = move |_: &Command| {
                counted.set(counted.get() + 1);
                if counted.get() == 1 {
                    let slept = fiber::sleep(Duration::from_secs(3_600));
                    slept.map_err(|stopped| stopped.to_string())?;
                }
                Ok(String::new())
            };
            builder(endpoint)
                .state_dir(folder.path().join("state"))
                .commands(TOPIC)
                .command("count", COMMAND_TIMEOUT_DEFAULT, count)
        };
        let (asking, heard, seen) = (broker.clone(), Rc::new(answers), Rc::clone(&runs));
        let first = Rc::clone(&heard);
        run(described(endpoint), move |agent| {
            hears(agent, &asking, &first);
            for id in ["first", "second"] {
                ask(&asking, &format!(r#"{{"id":"{id}","command":"count"}}"#));
            }
            while seen.get() == 0 {
                fiber::sleep(Duration::from_millis(10)).unwrap();
            }
            // The second one is there as well.
            ask(&asking, r#"{"id":"last","command":"?"}"#);
            assert_eq!(answer(&first)["id"], "last");
        });
        let told = answer(&heard);
        assert_eq!(
            (&told["id"], &told["status"]),
            (&"first".into(), &"interrupted".into())
        );
        let asking = broker.clone();
        run(described(endpoint), move |agent| {
            agent.mqtt().wait_connected().unwrap();
            let told = answer(&heard);
            assert_eq!(
                (&told["id"], &told["status"]),
                (&"second".into(), &"done".into())
            );
            hears(agent, &asking, &heard);
            ask(&asking, r#"{"id":"first","command":"count"}"#);
            assert_eq!(answer(&heard)["status"], "interrupted");
        });
        assert_eq!(runs.get(), 2);
    });
}
