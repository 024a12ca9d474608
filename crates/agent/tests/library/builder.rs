//! An agent as its builder describes it, in this process.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use agent::config::Config;
use agent::failure::Failure;
use agent::{Agent, AgentBuilder, HealthCode};
use mqtt::{BrokerOptions, ClientId, Wait};

use crate::support::{Running, configured, example, on_fibers, with_broker};
use crate::temp_dir::TempDir;

/// Nobody listens there.
const NOWHERE: &str = "mqtt://127.0.0.1:1";

fn config(endpoint: &str) -> Config {
    let mut config = Config::new(endpoint.parse().unwrap());
    config
        .set_device_id(&ClientId::new("meter-17").unwrap())
        .unwrap();
    config
}

fn builder(endpoint: &str) -> AgentBuilder {
    Agent::builder().config(config(endpoint))
}

#[test]
fn hooks_are_called_in_order_and_those_of_the_stop_in_the_opposite_one() {
    on_fibers(|| {
        let told: Rc<RefCell<Vec<String>>> = Rc::default();
        let tell = |text: &'static str| {
            let told = Rc::clone(&told);
            move || told.borrow_mut().push(text.to_owned())
        };
        let (changed, first, second) = (tell("config"), tell("start 1"), tell("start 2"));
        let (last, before) = (tell("stop 1"), tell("stop 2"));
        let ended = Rc::clone(&told);
        let ran = builder(NOWHERE)
            .on_config(move |config| {
                config.device.id = Some(ClientId::new("other").unwrap());
                changed();
            })
            .on_start(move |agent| {
                assert_eq!(agent.device_id(), "other");
                first();
                Ok(())
            })
            .on_start(move |agent| {
                second();
                let stopper = agent.clone();
                agent.spawn("service", move || {
                    fiber::sleep(Duration::from_millis(20))?;
                    stopper.stop("it is time");
                    // Ends when the agent leaves, and not before.
                    let stopped = fiber::sleep(Duration::from_secs(3_600));
                    ended.borrow_mut().push(format!("service: {stopped:?}"));
                    Ok(())
                })?;
                Ok(())
            })
            .on_stop(move |_| last())
            .on_stop(move |_| before())
            .run();
        assert!(ran.is_ok(), "{ran:?}");
        let expected = [
            "config",
            "start 1",
            "start 2",
            "stop 2",
            "stop 1",
            "service: Err(Cancelled)",
        ];
        assert_eq!(*told.borrow(), expected);
    });
}

#[test]
fn a_start_that_fails_ends_the_agent_with_the_error_and_its_stop_is_still_called() {
    on_fibers(|| {
        let stopped = Rc::new(RefCell::new(false));
        let told = Rc::clone(&stopped);
        let ran = builder(NOWHERE)
            .on_start(|_| Err("no sensor at bus 1".into()))
            .on_start(|_| panic!("it is not called after one that failed"))
            .on_stop(move |_| *told.borrow_mut() = true)
            .run();
        let failure = ran.unwrap_err();
        assert!(matches!(&failure, Failure::Hook(_)), "{failure:?}");
        assert_eq!(
            failure.to_string(),
            "the program could not start: no sensor at bus 1"
        );
        assert!(*stopped.borrow());
    });
}

#[test]
fn what_is_published_offline_is_kept_for_the_next_start_and_its_stop_is_at_once() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-kept");
        let state = folder.path().join("state");
        let readings = broker.subscribe("reading").unwrap();
        let began = fiber::Instant::now();
        // The same endpoint, and a way there that is closed for now.
        let offline = builder(endpoint)
            .state_dir(&state)
            .on_start(|agent| {
                agent.mqtt().pause_for(Duration::from_secs(3_600));
                assert!(agent.is_durable());
                for number in 1..=3 {
                    agent.publish("reading", &format!("{number}"))?;
                }
                agent.stop("enough");
                Ok(())
            })
            .run();
        assert!(offline.is_ok(), "{offline:?}");
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "it waited for nothing"
        );
        assert!(readings.try_recv().is_none());

        let online = builder(endpoint)
            .state_dir(&state)
            .on_start(|agent| {
                let ours = agent.clone();
                agent.spawn("last", move || {
                    let mut ticket = ours.publish("reading", "4").unwrap();
                    ticket.wait(Wait::Ack).unwrap();
                    ours.stop("all is sent");
                    Ok(())
                })?;
                Ok(())
            })
            .run();
        assert!(online.is_ok(), "{online:?}");
        for number in ["1", "2", "3", "4"] {
            assert_eq!(readings.recv().unwrap().payload(), number.as_bytes());
        }
    });
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told_and_keeps_nobody_from_working() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-readonly");
        let file = folder.write("state", "no folder");
        let readings = broker.subscribe("reading").unwrap();
        let ran = builder(endpoint)
            .state_dir(file)
            .on_start(|agent| {
                assert!(!agent.is_durable());
                let health = agent.supervisor().health().clone();
                assert!(health.contains_key(&HealthCode::StateReadonly));
                agent.publish("reading", "1")?;
                agent.mqtt().wait_connected()?;
                agent.stop("done");
                Ok(())
            })
            .run();
        assert!(ran.is_ok(), "{ran:?}");
        assert_eq!(readings.recv().unwrap().payload(), b"1");
    });
}

#[test]
fn two_processes_do_not_share_a_state_directory() {
    on_fibers(|| {
        let folder = TempDir::new("agent-shared");
        let state = folder.path().join("state");
        let (second, first) = (state.clone(), state);
        let ran = builder(NOWHERE)
            .state_dir(first)
            .on_start(move |agent| {
                let failure = builder(NOWHERE).state_dir(second).run().unwrap_err();
                assert_eq!(
                    failure.to_string(),
                    "another process uses the state directory"
                );
                agent.stop("done");
                Ok(())
            })
            .run();
        assert!(ran.is_ok(), "{ran:?}");
    });
}

#[test]
fn a_second_signal_ends_a_stop_that_takes_its_time() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-twice");
        // Its message is never acknowledged, so that leaving takes as long as it may.
        let faults = mqtt::Faults {
            drop_acks: mqtt::DropAcks::All,
            ..mqtt::Faults::default()
        };
        broker.set_faults("meter-17", faults).unwrap();
        let hello = broker.subscribe("#").unwrap();
        let mut command = example("hello_device");
        command.arg("--config");
        command.arg(configured(folder.path(), "meter-17", endpoint, ""));
        let mut device = Running::start(command);
        hello.recv().unwrap();
        device.signal("TERM");
        device.wait_for("stopping: SIGTERM");
        let began = fiber::Instant::now();
        device.signal("TERM");
        let (code, printed) = device.finish();
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("a second signal"), "{printed}");
        assert!(began.elapsed() < Duration::from_secs(4), "{printed}");
    });
}
