//! `agent status`, `fibers`, `queue`, `wait` and `reload`.

use std::time::Duration;

use mqtt::BrokerOptions;
use serde_json::Value;

use crate::support::{on_fibers, with_broker};
use crate::temp_dir::TempDir;
use crate::{NOWHERE, agent, agent_run, answer, ask, ask_into, start};

const TELEMETRY: &str = "[telemetry]\ntopic = \"up\"\ninterval = \"100ms\"\nqos = 1\n";

fn json(text: &str) -> Value {
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_connected_agent_says_so_to_people_programs_and_prometheus() {
    with_broker(BrokerOptions::new(), |_, endpoint| {
        let folder = TempDir::new("agent-status");
        let running = start(&folder, endpoint, "");
        answer(folder.path(), &["wait"]);
        let status = json(&answer(folder.path(), &["status", "--json"]));
        assert_eq!(status["schema"], 1);
        assert_eq!(status["device"], "meter-17");
        assert_eq!(status["link"]["state"], "online");
        assert_eq!(status["queue"]["durable"], true);
        assert_eq!(status["counts"]["connects_total"], 1);
        assert_eq!(status["health"], serde_json::json!([]));

        let text = answer(folder.path(), &["status"]);
        assert!(text.contains("link     online for "), "{text}");
        assert!(text.contains("health   nothing is wrong\n"), "{text}");

        let metrics = answer(folder.path(), &["status", "--metrics"]);
        assert!(
            metrics.contains("# TYPE agent_up gauge\nagent_up 1\n"),
            "{metrics}"
        );
        for line in metrics.lines() {
            let is_comment = line.starts_with("# HELP agent_") || line.starts_with("# TYPE agent_");
            let is_sample = line.split_once(' ').is_some_and(|(name, value)| {
                name.starts_with("agent_") && value.parse::<f64>().is_ok()
            });
            assert!(is_comment || is_sample, "{line}");
        }

        let fibers = answer(folder.path(), &["fibers"]);
        assert!(fibers.contains("\"mqtt-driver\""), "{fibers}");
        let fibers = json(&answer(folder.path(), &["fibers", "--json"]));
        assert!(fibers["fibers"].as_array().unwrap().len() > 3);

        running.signal("TERM");
        let (code, printed) = running.finish();
        assert_eq!(code, Some(0), "{printed}");
        assert!(!folder.path().join("state/control.sock").exists());
    });
}

#[test]
fn an_agent_without_a_network_says_what_is_wrong_and_its_queue_can_be_looked_into() {
    on_fibers(|| {
        let folder = TempDir::new("agent-queue");
        let running = start(&folder, NOWHERE, TELEMETRY);
        let count = || {
            let status = json(&answer(folder.path(), &["status", "--json"]));
            status["queue"]["messages"].as_u64().unwrap()
        };
        while count() < 5 {
            fiber::sleep(Duration::from_millis(50)).unwrap();
        }
        let status = json(&answer(folder.path(), &["status", "--json"]));
        assert_ne!(status["link"]["state"], "online");
        assert_eq!(status["health"][0]["code"], "offline", "{status}");
        let text = answer(folder.path(), &["status"]);
        assert!(text.contains("health   offline for "), "{text}");

        let listed = answer(folder.path(), &["queue", "ls"]);
        assert!(listed.lines().count() >= 5, "{listed}");
        assert!(
            listed.lines().all(|line| line.contains(" waiting ")),
            "{listed}"
        );
        let exported = answer(folder.path(), &["queue", "export"]);
        let mut last = 0;
        for (sequence, line) in exported.lines().enumerate() {
            let message: Value = serde_json::from_str(line).unwrap();
            assert_eq!(message["topic"], "up");
            assert_eq!(message["qos"], 1);
            let position = message["pos"].as_u64().unwrap();
            assert!(position > last, "the oldest first");
            last = position;
            let payload = message["payload"].as_str().unwrap();
            let payload = data_encoding::BASE64.decode(payload.as_bytes()).unwrap();
            let reading: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(reading["sequence"], sequence + 1);
        }
        let dropped = answer(folder.path(), &["queue", "drop", "--count", "2"]);
        assert_eq!(dropped, "2 dropped, 0 sent already\n");
        let exported = answer(folder.path(), &["queue", "export"]);
        let first: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
        assert!(first["pos"].as_u64().unwrap() > 2);

        let (code, output, errors) = ask(folder.path(), &["wait", "--timeout", "1"]);
        assert_eq!((code, output.as_str()), (75, ""), "{errors}");
        // Whoever exports and drops must know that the former went wrong.
        for words in [&["queue", "export"][..], &["status"], &["fibers", "--json"]] {
            let (code, output, errors) = ask_into(folder.path(), ">/dev/full", words);
            assert_eq!((code, output.as_str()), (74, ""), "{words:?}: {errors}");
            assert!(errors.contains("standard output"), "{words:?}: {errors}");
            let gone = "| true";
            let (code, _, errors) = ask_into(folder.path(), gone, words);
            assert_eq!((code, errors.as_str()), (0, ""), "{words:?}");
        }
        drop(running);
    });
}

#[test]
fn every_line_of_json_has_the_number_of_its_form() {
    with_broker(BrokerOptions::new(), |_, endpoint| {
        let folder = TempDir::new("agent-schema");
        let running = start(&folder, endpoint, "");
        let offline = TempDir::new("agent-schema-offline");
        let waiting = start(&offline, NOWHERE, TELEMETRY);
        let mut told = Vec::new();
        for (folder, words) in [
            (&folder, &["status", "--json"][..]),
            (&folder, &["fibers", "--json"]),
            (&offline, &["queue", "ls", "--json"]),
            (&offline, &["queue", "export"]),
        ] {
            told.push(words[0]);
            let mut printed = String::new();
            while printed.is_empty() {
                printed = answer(folder.path(), words);
            }
            for line in printed.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["schema"], 1, "{words:?}: {line}");
                assert_eq!(line.get("ok"), None, "the protocol's own: {line}");
            }
        }
        let config = folder.path().join("agent.toml");
        let config = config.to_str().unwrap();
        for words in [
            &["config", "show", "--json", "--config", config][..],
            &["doctor", "--json", "--only", "config", "--config", config],
            &["provision", "--status", "--json", "--config", config],
        ] {
            told.push(words[0]);
            if words[0] == "provision" && !cfg!(feature = "provision") {
                continue;
            }
            let mut command = agent(words);
            let output = fiber::offload(move || command.output().unwrap()).unwrap();
            let line: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(line["schema"], 1, "{words:?}: {line}");
        }
        // None is left out; what `cert` tells is looked at where there are certificates.
        told.push("cert");
        for tool in agent::args::Tool::ALL {
            let flags = tool.sections().flat_map(|(_, rows)| rows);
            let has_json = flags
                .flat_map(|flag| flag.names)
                .any(|name| *name == "--json");
            let name = tool.about().words[0];
            assert_eq!(has_json, told.contains(&name), "{name}");
        }
        drop((running, waiting));
    });
}

#[test]
fn many_messages_are_listed_page_after_page_each_once() {
    on_fibers(|| {
        let folder = TempDir::new("agent-pages");
        // More than one page, left behind by an earlier life of another program.
        let state = folder.path().join("state");
        let mut config = agent::config::Config::new(NOWHERE.parse().unwrap());
        let id = mqtt::ClientId::new("meter-17").unwrap();
        config.set_device_id(&id).unwrap();
        let ran = agent::Agent::builder()
            .config(config)
            .state_dir(&state)
            .on_start(|agent| {
                for number in 0..250 {
                    agent.publish("up", &format!("{number}"))?;
                }
                agent.stop("enough");
                Ok(())
            })
            .run();
        ran.unwrap();
        let running = start(&folder, NOWHERE, TELEMETRY);
        let exported = answer(folder.path(), &["queue", "export"]);
        let payloads: Vec<String> = exported
            .lines()
            .take(250)
            .map(|line| {
                let message: Value = serde_json::from_str(line).unwrap();
                let payload = message["payload"].as_str().unwrap();
                let payload = data_encoding::BASE64.decode(payload.as_bytes()).unwrap();
                String::from_utf8(payload).unwrap()
            })
            .collect();
        let expected: Vec<String> = (0..250).map(|number| number.to_string()).collect();
        assert_eq!(payloads, expected);
        let dropped = answer(folder.path(), &["queue", "drop", "--all"]);
        assert!(dropped.ends_with(" dropped, 0 sent already\n"), "{dropped}");
        drop(running);
    });
}

#[test]
fn what_waits_is_drained_once_there_is_a_broker_and_a_tool_waits_for_that() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-drained");
        let heard = broker.subscribe("up").unwrap();
        let running = start(&folder, endpoint, &TELEMETRY.replace("100ms", "1h"));
        answer(folder.path(), &["wait", "--for", "drained"]);
        heard.recv().unwrap();
        drop(running);
    });
}

#[test]
fn without_an_agent_a_question_ends_with_its_own_code() {
    on_fibers(|| {
        let folder = TempDir::new("agent-none");
        let (code, output, errors) = ask(folder.path(), &["status"]);
        assert_eq!((code, output.as_str()), (69, ""));
        assert!(errors.contains("no agent runs here"), "{errors}");
        let (code, _, errors) = ask(folder.path(), &["queue", "eat"]);
        assert_eq!(code, 64, "{errors}");
    });
}

#[test]
fn a_new_configuration_counts_as_far_as_it_can_and_a_faulty_one_changes_nothing() {
    with_broker(BrokerOptions::new(), |_, endpoint| {
        let folder = TempDir::new("agent-reload");
        let running = start(&folder, endpoint, TELEMETRY);
        assert_eq!(answer(folder.path(), &["reload"]), "");

        let changed = format!(
            "{}[limits]\npublish_rate = \"5/s\"\n",
            TELEMETRY.replace("100ms", "2s")
        );
        drop(agent_run(&folder, endpoint, &changed));
        let told = answer(folder.path(), &["reload"]);
        assert!(told.contains("limits.publish_rate: counts now\n"), "{told}");
        assert!(told.contains("telemetry.interval: counts now\n"), "{told}");

        drop(agent_run(&folder, endpoint, "[telemetri]\n"));
        let (code, output, errors) = ask(folder.path(), &["reload"]);
        assert_eq!((code, output.as_str()), (1, ""));
        assert!(errors.contains("telemetri"), "{errors}");
        let status = json(&answer(folder.path(), &["status", "--json"]));
        assert_eq!(status["link"]["state"], "online");
        assert_eq!(status["health"][0]["code"], "config-rejected", "{status}");
        // SIGHUP asks the same.
        drop(agent_run(&folder, endpoint, TELEMETRY));
        running.signal("HUP");
        while json(&answer(folder.path(), &["status", "--json"]))["health"] != serde_json::json!([])
        {
            fiber::sleep(Duration::from_millis(20)).unwrap();
        }
        drop(running);
    });
}

#[test]
fn the_figures_of_the_agent_itself_are_gathered_as_the_configuration_says() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-telemetry");
        let heard = broker.subscribe("up").unwrap();
        let telemetry = format!("{TELEMETRY}max_count = 5\n");
        let running = start(&folder, endpoint, &telemetry);
        let mut times = Vec::new();
        for sequence in 1..=2 {
            let message = heard.recv().unwrap();
            let message: Value = serde_json::from_slice(message.payload()).unwrap();
            assert_eq!(message["sequence"], sequence, "{message}");
            let readings = message["readings"].as_array().unwrap();
            assert_eq!(readings.len(), 5, "{message}");
            times.extend(readings.iter().map(|reading| {
                assert!(reading["received"].is_u64(), "{reading}");
                reading["t"].as_u64().unwrap()
            }));
        }
        assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
        drop(running);
    });
}

#[test]
fn figures_about_the_agent_are_published_where_the_configuration_says() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-metrics");
        let heard = broker.subscribe("figures/+").unwrap();
        let rest = "[metrics]\ntopic = \"figures/{id}\"\ninterval = \"1s\"\n";
        let running = start(&folder, endpoint, rest);
        let mut uptimes = Vec::new();
        for _ in 0..3 {
            let message = heard.recv().unwrap();
            assert_eq!(message.topic(), "figures/meter-17");
            let told: Value = serde_json::from_slice(message.payload()).unwrap();
            assert_eq!(
                (&told["schema"], &told["device"]),
                (&1.into(), &"meter-17".into())
            );
            let at = Duration::from_millis(told["t"].as_u64().unwrap());
            let now = fiber::wall_time().duration_since(std::time::UNIX_EPOCH);
            assert!(now.unwrap() - at < Duration::from_secs(60), "{told}");
            uptimes.push(told["metrics"]["uptime_seconds"].as_f64().unwrap());
            // The same figures as Prometheus gets, by the same names.
            let text = answer(folder.path(), &["status", "--metrics"]);
            for name in told["metrics"].as_object().unwrap().keys() {
                assert!(text.contains(&format!("\nagent_{name} ")), "{name}");
            }
        }
        assert!(
            uptimes.is_sorted() && uptimes[2] > uptimes[0] + 1.5,
            "{uptimes:?}"
        );
        let status = json(&answer(folder.path(), &["status", "--json"]));
        assert_eq!(status["counts"]["connects_total"], 1);
        drop(running);
    });
}

#[test]
fn a_tool_waits_until_the_device_has_something_to_show_of_itself() {
    with_broker(BrokerOptions::new(), |_, endpoint| {
        let folder = TempDir::new("agent-nobody");
        let running = start(&folder, endpoint, "");
        let wait = ["wait", "--for", "provisioned", "--timeout", "1"];
        assert_eq!(ask(folder.path(), &wait).0, 75);
        let status = json(&answer(folder.path(), &["status", "--json"]));
        assert_eq!(status["identity"]["kind"], "none");
        drop(running);

        let folder = TempDir::new("agent-somebody");
        let user = "user = \"meter\"\npassword_env = \"HOME\"\n";
        let running = start(&folder, endpoint, user);
        answer(folder.path(), &wait);
        let text = answer(folder.path(), &["status"]);
        assert!(text.contains("identity user name\n"), "{text}");
        drop(running);
    });
}
