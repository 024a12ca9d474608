//! `agent run` as a process, against a broker that plays the provider.

#![allow(
    clippy::disallowed_methods,
    reason = "the program runs beside the fibers of the test"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use agent::profile::Provider;
use mqtt::{Broker, QoS};
use safe_rt::Listener;

/// A folder that is gone with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A process that is ended with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn configure(folder: &Folder, port: u16, filters: &[String]) -> PathBuf {
    let state = folder.0.join("state");
    let mut text = format!(
        "[device]\nid = \"meter-17\"\n\
         [cloud]\nendpoint = \"mqtt://127.0.0.1:{port}\"\nprofile = \"aws\"\n\
         [state]\ndir = {state:?}\n"
    );
    for filter in filters {
        write!(text, "[[subscription]]\ntopic = \"{filter}\"\n").expect("memory");
    }
    let path = folder.0.join("agent.toml");
    std::fs::write(&path, text).expect("our own folder");
    path
}

#[test]
fn more_subscriptions_than_one_packet_takes_are_made_and_one_beyond_is_left_out() {
    let name = format!("agent-profile-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    std::fs::create_dir(&folder.0).expect("a folder");
    let main = move || {
        let broker = Broker::new(Provider::Aws.broker_options());
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        broker.serve(listener).expect("a fiber");
        let mut filters: Vec<String> = (0..9).map(|number| format!("a/{number}")).collect();
        for topic in &filters {
            let published = broker.publish(topic, b"x", QoS::AtLeastOnce, true);
            published.expect("there is room");
        }
        filters.insert(4, "1/2/3/4/5/6/7/8/9".to_owned());
        let config = configure(&folder, port, &filters);
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.arg("run").arg("--config").arg(config);
        command.args(["--for", "60s"]).env("AGENT_LOG", "info");
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running(command.spawn().expect("our own program"));
        let stdout = running.0.stdout.take().expect("it is piped");
        let read = fiber::offload(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.take(9).collect::<Vec<_>>()
        });
        let mut lines = read.expect("a thread");
        lines.sort();
        assert_eq!(lines.len(), 9, "{lines:?}");
        for (number, line) in lines.iter().enumerate() {
            assert!(line.starts_with(&format!("a/{number} ")), "{line}");
        }
    };
    fiber::run(main).expect("the test body does not panic");
}
