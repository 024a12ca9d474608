//! The agent's own doctor: after the third attempt that failed, one line.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use agent::config::Config;
use agent::doctor::Watch;
use mqtt::{ConnectReason, EndCause, Event};

use crate::support::LOOPBACK;

/// Lines of the log, of the threads that want them.
static LINES: Mutex<Vec<(std::thread::ThreadId, String)>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("agent::doctor") {
            let line = record.args().to_string();
            LINES
                .lock()
                .expect("it is to be had")
                .push((std::thread::current().id(), line));
        }
    }

    fn flush(&self) {}
}

/// What was logged on this thread since the last call.
fn logged() -> Vec<String> {
    let own = std::thread::current().id();
    let mut lines = LINES.lock().expect("it is to be had");
    let (mine, others) = lines.drain(..).partition(|(id, _)| *id == own);
    *lines = others;
    let mine: Vec<(std::thread::ThreadId, String)> = mine;
    mine.into_iter().map(|(_, line)| line).collect()
}

fn failed() -> Event {
    Event::ConnectFailed {
        cause: Arc::new(EndCause::Refused(ConnectReason::NotAuthorized)),
        retry_in: Some(Duration::from_secs(1)),
    }
}

/// Waits until the doctor has said something, in virtual time.
fn wait() -> Vec<String> {
    for _ in 0..100 {
        fiber::sleep(Duration::from_millis(100)).expect("it is to be had");
        let lines = logged();
        if !lines.is_empty() {
            return lines;
        }
    }
    Vec::new()
}

#[test]
fn after_the_third_failure_one_line_is_logged_and_then_one_an_hour_at_most() {
    // Who is first sets it; it is the same for all.
    drop(log::set_logger(&Recorder));
    log::set_max_level(log::LevelFilter::Warn);
    let body = || {
        let free = fiber::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = Config::new(format!("mqtt://{address}").parse().unwrap());
        let watch = Watch::new(Rc::new(config));
        watch.note(&failed());
        watch.note(&failed());
        assert!(wait().is_empty(), "two are nothing");
        watch.note(&failed());
        let lines = wait();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("the first thing to fix is tcp"),
            "{}",
            lines[0]
        );
        assert!(lines[0].contains("[T030]"), "{}", lines[0]);
        for _ in 0..5 {
            watch.note(&failed());
        }
        assert!(wait().is_empty(), "not again so soon");
        fiber::sleep(Duration::from_secs(3_600)).unwrap();
        watch.note(&failed());
        assert_eq!(wait().len(), 1);
        watch.note(&Event::Connected {
            session_present: false,
        });
        fiber::sleep(Duration::from_secs(3_600)).unwrap();
        watch.note(&failed());
        watch.note(&failed());
        assert!(
            wait().is_empty(),
            "a connection that was made begins the count anew"
        );
    };
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(body)
        .expect("the test body does not panic");
}
