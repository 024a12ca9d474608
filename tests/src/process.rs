//! Foreign programs with a time limit: start one, read what it prints, never wait for ever.

use std::fmt;
use std::io::{BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::Peers;
use crate::program;

/// How long a foreign program may take when a test names no other limit.
pub const PROCESS_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the outputs of an ended program are read for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the end of a program is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A program that ended by itself.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed and nobody read while it ran.
    pub stdout: String,
    /// What it printed as errors.
    pub stderr: String,
}

impl Finished {
    /// Returns the exit code; `None` when a signal ended the program.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Why a program gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// It could not be started.
    Start(String, std::io::Error),
    /// It did not do in time what was waited for, and was killed.
    TimedOut {
        /// The command line.
        command: String,
        /// What was waited for.
        waited_for: String,
        /// What it had printed by then, both outputs.
        printed: String,
    },
    /// It ended before it printed what was waited for.
    EndedEarly {
        /// The command line.
        command: String,
        /// What was waited for.
        waited_for: String,
        /// What it had printed, both outputs.
        printed: String,
    },
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(command, _) => write!(f, "cannot start `{command}`"),
            Self::TimedOut {
                command,
                waited_for,
                printed,
            } => {
                write!(
                    f,
                    "`{command}` timed out before {waited_for}; it printed:\n{printed}"
                )
            }
            Self::EndedEarly {
                command,
                waited_for,
                printed,
            } => {
                write!(
                    f,
                    "`{command}` ended before {waited_for}; it printed:\n{printed}"
                )
            }
        }
    }
}

impl std::error::Error for ProcessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(_, source) => Some(source),
            Self::TimedOut { .. } | Self::EndedEarly { .. } => None,
        }
    }
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Running {
    /// Starts the program with no input and both outputs captured.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start(command: &mut Command) -> Result<Self, ProcessError> {
        Self::start_with(command, Stdio::null())
    }

    /// As [`start`](Self::start), with an input for [`type_in`](Self::type_in).
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start_interactive(command: &mut Command) -> Result<Self, ProcessError> {
        Self::start_with(command, Stdio::piped())
    }

    fn start_with(command: &mut Command, input: Stdio) -> Result<Self, ProcessError> {
        let text = describe(command);
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| ProcessError::Start(text.clone(), error))?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let mut errors = child.stderr.take().expect("stderr was asked for as a pipe");
        let (sender, lines) = mpsc::channel();
        let stderr = Arc::new(Mutex::new(String::new()));
        let stderr_writer = Arc::clone(&stderr);
        let readers = vec![
            thread::spawn(move || {
                let mut stdout = BufReader::new(stdout);
                while let Some(line) = next_line(&mut stdout) {
                    // Nobody listens any more: the pipe is still drained.
                    drop(sender.send(line));
                }
            }),
            thread::spawn(move || copy_text(&mut errors, &stderr_writer)),
        ];
        Ok(Self {
            command: text,
            child,
            lines,
            seen: Vec::new(),
            stderr,
            readers,
        })
    }

    /// Waits for the next line of the standard output, without its line end.
    ///
    /// # Errors
    /// [`ProcessError::TimedOut`] and [`ProcessError::EndedEarly`].
    pub fn next_line(&mut self, timeout: Duration) -> Result<String, ProcessError> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => {
                self.seen.push(line.clone());
                Ok(line)
            }
            Err(error) => {
                let waited_for = "its next line".to_owned();
                Err(match error {
                    RecvTimeoutError::Timeout => self.timed_out(waited_for),
                    RecvTimeoutError::Disconnected => {
                        self.join_readers();
                        let (command, printed) = (self.command.clone(), self.printed());
                        ProcessError::EndedEarly {
                            command,
                            waited_for,
                            printed,
                        }
                    }
                })
            }
        }
    }

    /// Returns the next line of the standard output if there is one.
    pub fn try_line(&mut self) -> Option<String> {
        let line = self.lines.try_recv().ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// Waits for the program's end and returns what it printed and [`next_line`] did not return.
    ///
    /// # Errors
    /// [`ProcessError::TimedOut`]; the program is killed then.
    ///
    /// [`next_line`]: Self::next_line
    pub fn finish(mut self, timeout: Duration) -> Result<Finished, ProcessError> {
        let deadline = Instant::now() + timeout;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
                Ok(None) => return Err(self.timed_out("its end".to_owned())),
                Err(error) => return Err(ProcessError::Start(self.command.clone(), error)),
            }
        };
        self.join_readers();
        let stdout: String = self.lines.try_iter().map(|line| line + "\n").collect();
        Ok(Finished {
            status,
            stdout,
            stderr: locked(&self.stderr).clone(),
        })
    }

    /// Gives the program something to read.
    ///
    /// # Panics
    /// When it takes no input.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("it was given an input");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Returns the number by which the system knows the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the program a signal, by its name without `SIG`.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    /// Ends the program at once, without a chance to clean up.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        self.join_readers();
    }

    fn timed_out(&mut self, waited_for: String) -> ProcessError {
        self.kill();
        ProcessError::TimedOut {
            command: self.command.clone(),
            waited_for,
            printed: self.printed(),
        }
    }

    fn printed(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        format!("{}\n{}", self.seen.join("\n"), locked(&self.stderr))
    }

    /// Lets the readers take what is left in the pipes. A child of the program that lives on keeps
    /// the pipes open: then the readers are left behind.
    fn join_readers(&mut self) {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        self.readers.clear();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs the program to its end.
///
/// # Errors
/// See [`ProcessError`].
pub fn run(command: &mut Command, timeout: Duration) -> Result<Finished, ProcessError> {
    Running::start(command)?.finish(timeout)
}

/// Runs `mosquitto_pub` against a port of this machine.
///
/// # Errors
/// See [`ProcessError`].
pub fn mosquitto_pub(peers: &Peers, port: u16, args: &[&str]) -> Result<Finished, ProcessError> {
    run(
        Command::new(&peers.mosquitto_pub)
            .args(address(port))
            .args(args),
        PROCESS_TIMEOUT,
    )
}

/// Starts `mosquitto_sub` against a port of this machine.
///
/// It subscribes some time later: give it an id (`-i`) and wait for the broker's SUBACK, see
/// [`Mosquitto::wait_for_suback`](crate::mosquitto::Mosquitto::wait_for_suback).
///
/// # Errors
/// See [`ProcessError`].
pub fn mosquitto_sub(peers: &Peers, port: u16, args: &[&str]) -> Result<Running, ProcessError> {
    Running::start(
        Command::new(&peers.mosquitto_sub)
            .args(address(port))
            .args(args),
    )
}

/// Returns the path of the program of a package of this workspace that is named like it, built first
/// when it is out of date.
///
/// # Panics
/// When `cargo` cannot build it.
#[must_use]
#[track_caller]
pub fn workspace_program(package: &str) -> PathBuf {
    program::built(package, package)
}

/// An IP address instead of a name, so that no resolver decides between IPv4 and IPv6.
fn address(port: u16) -> [String; 4] {
    [
        "-h".to_owned(),
        "127.0.0.1".to_owned(),
        "-p".to_owned(),
        port.to_string(),
    ]
}

fn describe(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The next line without its end, whatever bytes it has; `None` at the end of the output.
fn next_line(reader: &mut impl std::io::BufRead) -> Option<String> {
    let mut line = Vec::new();
    let read = reader.read_until(b'\n', &mut line).ok()?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    (read > 0).then(|| String::from_utf8_lossy(&line).into_owned())
}

fn copy_text(from: &mut impl Read, to: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        locked(to).push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

fn locked(text: &Mutex<String>) -> std::sync::MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a process a signal, by its name without `SIG`.
///
/// # Panics
/// When it cannot be sent.
#[track_caller]
pub fn send_signal(process: u32, name: &str) {
    // The shell has a command of its own for it, on every system.
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", name]);
    kill.arg(process.to_string());
    let sent = run(&mut kill, PROCESS_TIMEOUT).unwrap_or_else(|error| panic!("{error}"));
    assert!(sent.status.success(), "SIG{name}: {}", sent.stderr);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn outputs_and_exit_code_are_captured() {
        let finished = run(
            &mut shell("echo out; echo err >&2; exit 3"),
            PROCESS_TIMEOUT,
        )
        .unwrap();
        assert_eq!(finished.code(), Some(3));
        assert_eq!(
            (finished.stdout.as_str(), finished.stderr.as_str()),
            ("out\n", "err\n")
        );
    }

    #[test]
    fn lines_come_while_the_program_runs_and_the_rest_at_its_end() {
        let mut running = Running::start(&mut shell("echo one; echo two; echo three")).unwrap();
        assert_eq!(running.next_line(PROCESS_TIMEOUT).unwrap(), "one");
        let finished = running.finish(PROCESS_TIMEOUT).unwrap();
        assert_eq!(finished.stdout, "two\nthree\n");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_and_what_it_printed_is_told() {
        let limit = Duration::from_millis(300);
        let error = run(&mut shell("echo said; exec sleep 600"), limit).unwrap_err();
        let ProcessError::TimedOut { printed, .. } = error else {
            panic!("{error}")
        };
        assert!(printed.contains("said"), "{printed}");
    }

    #[test]
    fn a_signal_arrives_at_the_program() {
        let script = "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.01; done";
        let mut running = Running::start(&mut shell(script)).unwrap();
        assert_eq!(running.next_line(PROCESS_TIMEOUT).unwrap(), "ready");
        running.signal("USR1");
        let finished = running.finish(PROCESS_TIMEOUT).unwrap();
        assert_eq!(
            (finished.code(), finished.stdout.as_str()),
            (Some(7), "caught\n")
        );
    }

    #[test]
    fn a_child_that_lives_on_does_not_hold_up_the_end() {
        let started = Instant::now();
        let finished = run(&mut shell("sleep 20 & echo said"), PROCESS_TIMEOUT).unwrap();
        assert_eq!(finished.stdout, "said\n");
        assert!(started.elapsed() < PROCESS_TIMEOUT / 2);
    }

    #[test]
    fn a_program_that_ends_before_its_line_is_an_error() {
        let mut running = Running::start(&mut shell("echo why >&2")).unwrap();
        let error = running.next_line(PROCESS_TIMEOUT).unwrap_err();
        let ProcessError::EndedEarly { printed, .. } = error else {
            panic!("{error}")
        };
        assert!(printed.contains("why"), "{printed}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        let error = run(&mut Command::new("/nonexistent/program"), PROCESS_TIMEOUT).unwrap_err();
        assert!(
            matches!(error, ProcessError::Start(command, _) if command.contains("nonexistent"))
        );
    }
}
