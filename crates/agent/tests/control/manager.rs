//! What a service manager is told: ready, alive, stopping.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::support::{Running, on_fibers};
use crate::temp_dir::TempDir;
use crate::{NOWHERE, agent_run};

/// A service manager, which gives the agent 300 ms.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new("agent-notify");
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { socket, folder }
    }

    fn start(&self) -> Running {
        let mut command = agent_run(&self.folder, NOWHERE, "");
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.env("WATCHDOG_USEC", "300000");
        Running::start(command)
    }

    /// The next message, within a time.
    fn next(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(len) => Some(String::from_utf8(bytes[..len].to_vec()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads on until a message has the line.
    fn wait_for(&self, line: &str) -> String {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            let message = self.next(Duration::from_secs(30));
            if let Some(message) = message.filter(|message| message.lines().any(|l| l == line)) {
                return message;
            }
        }
        panic!("{line} was not told");
    }
}

#[test]
fn it_is_ready_and_alive_without_any_network_and_says_when_it_stops() {
    on_fibers(|| {
        let manager = Manager::new();
        let running = manager.start();
        let ready = manager.wait_for("READY=1");
        assert!(ready.contains("STATUS=connecting for "), "{ready}");
        // Nobody listens at its endpoint, and that is no reason to be started again.
        for _ in 0..5 {
            let alive = manager.wait_for("WATCHDOG=1");
            assert!(alive.contains("STATUS="), "{alive}");
        }
        running.signal("TERM");
        manager.wait_for("STOPPING=1");
        let (code, printed) = running.finish();
        assert_eq!(code, Some(0), "{printed}");
    });
}

#[test]
fn one_whose_scheduler_does_not_turn_is_silent() {
    on_fibers(|| {
        let manager = Manager::new();
        let running = manager.start();
        manager.wait_for("WATCHDOG=1");
        running.signal("STOP");
        // What was on its way, and then nothing more.
        while manager.next(Duration::from_millis(600)).is_some() {}
        assert_eq!(manager.next(Duration::from_secs(1)), None);
        running.signal("CONT");
        manager.wait_for("WATCHDOG=1");
        drop(running);
    });
}

#[test]
fn a_reload_is_told_with_its_end() {
    on_fibers(|| {
        let manager = Manager::new();
        let running = manager.start();
        manager.wait_for("READY=1");
        running.signal("HUP");
        let reloading = manager.wait_for("RELOADING=1");
        assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
        manager.wait_for("READY=1");
        drop(running);
    });
}
