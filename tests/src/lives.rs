//! The example `durable_publisher` as a program of several lives: each goes on with the store that the
//! one before it left.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mqtt::QoS;

use crate::process::{Finished, PROCESS_TIMEOUT, Running};
use crate::tally::Numbers;
use crate::temp_dir::TempDir;

const SIGKILL: i32 = 9;

/// What a publisher is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// The port of this machine where the broker is.
    pub port: u16,
    /// The client identifier.
    pub id: String,
    /// Where the numbers go.
    pub topic: String,
    /// How they go.
    pub qos: QoS,
    /// How many are published in a second.
    pub rate: u32,
}

/// A publisher, and what it said in all of its lives.
#[derive(Debug)]
pub struct Publisher {
    settings: Settings,
    state: TempDir,
    acknowledged: Numbers,
}

impl Publisher {
    /// A publisher that has not lived yet.
    ///
    /// # Panics
    /// When there can be no folder for its store.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let state = TempDir::new("publisher");
        Self {
            settings,
            state,
            acknowledged: Numbers::default(),
        }
    }

    /// Returns what it is started with.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the folder of its store.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Returns the numbers that it said were acknowledged. One that it was killed over may be missing:
    /// the next life knows that it is done, and says nothing.
    #[must_use]
    pub const fn acknowledged(&self) -> &Numbers {
        &self.acknowledged
    }

    /// Begins a life in which the numbers up to `count` are published.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self, count: u64) -> io::Result<Running> {
        let Settings {
            program,
            port,
            id,
            topic,
            qos,
            rate,
        } = &self.settings;
        let mut command = Command::new(program);
        command.args(["127.0.0.1", &port.to_string(), id, topic]);
        command.args([(*qos as u8).to_string(), count.to_string()]);
        command.arg(rate.to_string()).arg(self.state.path());
        Running::start(&mut command).map_err(io::Error::other)
    }

    /// Waits until the broker has acknowledged something in this life.
    ///
    /// # Errors
    /// When it has not in time, or the program says anything else.
    pub fn wait_for_one(&mut self, life: &mut Running) -> io::Result<()> {
        let line = life.next_line(PROCESS_TIMEOUT).map_err(io::Error::other)?;
        self.note(&line)
    }

    /// Ends a life by SIGKILL.
    ///
    /// # Errors
    /// When it had ended by itself, or said anything but that numbers are acknowledged.
    pub fn kill(&mut self, mut life: Running) -> io::Result<()> {
        life.kill();
        let ended = life.finish(PROCESS_TIMEOUT).map_err(io::Error::other)?;
        let as_expected = ended.status.signal() == Some(SIGKILL);
        self.take_down(&ended, as_expected)
    }

    /// Waits until a life has ended, because all numbers up to its count are acknowledged.
    ///
    /// # Errors
    /// When it does not end in time, ends in failure, or said anything else.
    pub fn finish(&mut self, life: Running, limit: Duration) -> io::Result<()> {
        let ended = life.finish(limit).map_err(io::Error::other)?;
        let as_expected = ended.status.success();
        self.take_down(&ended, as_expected)
    }

    fn take_down(&mut self, ended: &Finished, as_expected: bool) -> io::Result<()> {
        for line in ended.stdout.lines() {
            self.note(line)?;
        }
        if as_expected && ended.stderr.is_empty() {
            Ok(())
        } else {
            let (status, errors) = (ended.status, &ended.stderr);
            let text = format!("the publisher ended with {status:?}, and said {errors:?}");
            Err(io::Error::other(text))
        }
    }

    fn note(&mut self, line: &str) -> io::Result<()> {
        let number = line
            .strip_prefix("ACKED ")
            .and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| {
            let text = format!("the publisher said {line:?}");
            io::Error::other(text)
        })?;
        self.acknowledged.insert(number);
        Ok(())
    }
}

/// Returns the most memory that a process has had at once, in KiB, where the system tells.
#[must_use]
pub fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A publisher whose program is a script of the shell.
    fn publisher(script: &str) -> (Publisher, TempDir) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::new("lives");
        let program = folder.write("program", format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let settings = Settings {
            program,
            port: 1883,
            id: "id".to_owned(),
            topic: "topic".to_owned(),
            qos: QoS::ExactlyOnce,
            rate: 50,
        };
        (Publisher::new(settings), folder)
    }

    #[test]
    fn what_is_acknowledged_is_noted_of_every_life() {
        let (mut publisher, _folder) =
            publisher("echo ACKED 1; echo ACKED $6; [ $6 = 3 ] || exec sleep 9");
        let mut life = publisher.start(2).unwrap();
        publisher.wait_for_one(&mut life).unwrap();
        publisher.wait_for_one(&mut life).unwrap();
        publisher.kill(life).unwrap();
        let life = publisher.start(3).unwrap();
        publisher.finish(life, PROCESS_TIMEOUT).unwrap();
        assert_eq!(publisher.acknowledged().missing(4), [(4, 4)]);
    }

    #[test]
    fn a_life_that_ends_otherwise_or_complains_is_an_error() {
        for (script, killed) in [
            ("exit 1", false),
            ("echo trouble >&2", false),
            ("echo LOST 1", false),
            ("echo ACKED x", false),
            ("exit 0", true),
        ] {
            let (mut publisher, _folder) = publisher(script);
            let mut life = publisher.start(1).unwrap();
            let ended = if killed {
                // It says nothing more, because it has ended.
                publisher.wait_for_one(&mut life).unwrap_err();
                publisher.kill(life)
            } else {
                publisher.finish(life, PROCESS_TIMEOUT)
            };
            ended.expect_err(script);
        }
    }

    #[test]
    fn where_the_system_tells_a_process_has_had_some_memory() {
        let own = peak_memory(std::process::id());
        assert!(own.is_none_or(|kib| kib > 100), "{own:?}");
        assert_eq!(own.is_some(), Path::new("/proc/self/status").exists());
    }
}
