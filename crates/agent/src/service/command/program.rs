//! A command that another program does: started by its arguments, never by a shell, with a time limit
//! and the end of its output.
//!
//! ```text
//!   started, a process group of its own ──► ends ─────────────────► group killed, reaped
//!                                  └──► time over ─► SIGTERM ─► grace ─► SIGKILL ─► reaped
//! ```
//! Its environment is `PATH`, `AGENT_DEVICE_ID`, `AGENT_COMMAND` and `AGENT_COMMAND_ID`; its input is
//! empty; both of its outputs go into one socket, whose other end is read here. Nothing that it started
//! in its process group outlives it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use fiber::net::UnixStream;
use fiber::{Instant, Stopped};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::COMMAND_TIMEOUT_DEFAULT;
use super::message::{Answer, Command, Status};

/// Bytes of a program's output that are kept unless set otherwise: the last ones.
pub const COMMAND_OUTPUT_BYTES_DEFAULT: usize = 4 * 1024;
/// The most of a program's output that may be kept.
pub const COMMAND_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How long a program that was told to end may take before it is killed.
pub const COMMAND_KILL_GRACE: Duration = Duration::from_secs(2);

/// How long starting a program may hold back the end of its command.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the end of a program is looked for: at first, and at most.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(100);
/// How long the rest of the output of a program that ended is read for.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);
/// Bytes of output read at once.
const READ_BYTES: usize = 4 * 1024;
/// The path for programs if the agent has none itself.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that does a command.
///
/// An argument may hold names of the command's arguments in braces, `"--level={level}"`: they are
/// replaced by its values. What comes of it is one argument of the program, whatever is in the value.
/// `{id}` is the device's identifier, as everywhere in a configuration, and `{{` and `}}` are braces. A
/// value must not be empty and must have no control characters; one that would begin an argument must not
/// begin with `-`: it would be an option. What else it may be is for the program to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is; one without a slash is looked for in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Bytes of its output that are kept, [`COMMAND_OUTPUT_BYTES_MAX`] at most.
    pub output_max: usize,
}

/// Why the arguments of a command do not fit a program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramError {
    /// The program takes an argument that the command does not have.
    Missing(String),
    /// The command has an argument that the program does not take.
    Unused(String),
    /// The value would be taken for an option.
    Option(String),
    /// The value is empty, or has control characters.
    Text(String),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "expected an argument {name:?}, found none"),
            Self::Unused(name) => write!(f, "the command takes no argument {name:?}"),
            Self::Option(name) => write!(f, "the argument {name:?} must not begin with '-'"),
            Self::Text(name) => write!(
                f,
                "the argument {name:?} must not be empty or have control characters"
            ),
        }
    }
}

impl std::error::Error for ProgramError {}

impl Program {
    /// A program without arguments.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            timeout: COMMAND_TIMEOUT_DEFAULT,
            output_max: COMMAND_OUTPUT_BYTES_DEFAULT,
        }
    }

    /// Sets its arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// The arguments for a command.
    fn arguments(&self, command: &Command, device_id: &str) -> Result<Vec<String>, ProgramError> {
        let mut used: Vec<&str> = Vec::new();
        let mut filled = Vec::with_capacity(self.args.len());
        for template in &self.args {
            let mut argument = String::new();
            for part in parts(template) {
                let name = match part {
                    Part::Text(text) => {
                        argument.push_str(text);
                        continue;
                    }
                    Part::Name(DEVICE) => {
                        argument.push_str(device_id);
                        continue;
                    }
                    Part::Name(name) => name,
                };
                let value = command
                    .written(name)
                    .ok_or_else(|| ProgramError::Missing(name.to_owned()))?;
                if value.is_empty() || value.chars().any(char::is_control) {
                    return Err(ProgramError::Text(name.to_owned()));
                }
                if argument.is_empty() && value.starts_with('-') {
                    return Err(ProgramError::Option(name.to_owned()));
                }
                argument.push_str(&value);
                used.push(name);
            }
            filled.push(argument);
        }
        match command
            .args
            .keys()
            .find(|name| !used.contains(&name.as_str()))
        {
            Some(name) => Err(ProgramError::Unused(name.clone())),
            None => Ok(filled),
        }
    }

    /// Runs the program for a command. Yields until it has ended, or was killed.
    pub(super) fn run<'a>(
        &self,
        command: &'a Command,
        device_id: &str,
    ) -> Result<Answer<'a>, Stopped> {
        let arguments = match self.arguments(command, device_id) {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Answer::of(command, Status::Refused, &error.to_string())),
        };
        let began = Instant::now();
        let environment = [
            (
                "PATH",
                std::env::var_os("PATH").unwrap_or_else(|| PATH.into()),
            ),
            ("AGENT_DEVICE_ID", device_id.into()),
            ("AGENT_COMMAND", command.name.clone().into()),
            ("AGENT_COMMAND_ID", command.id.clone().into()),
        ];
        let program = self.program.clone();
        reap();
        // One that is there later is killed, as nobody takes it.
        let started = fiber::shield(START_TIMEOUT, || start(program, arguments, environment));
        let (mut started, output) = match started.unwrap_or_else(|elapsed| elapsed.0) {
            Ok(started) => started,
            Err(error) => {
                let text = format!("{} cannot be started: {error}", self.program.display());
                return Ok(Answer::of(command, Status::Failed, &text).took(began.elapsed()));
            }
        };
        let Some(child) = started.0.as_mut() else {
            return Ok(Answer::of(command, Status::Failed, "it is not there"));
        };
        spare_the_agent(child.id());
        let mut tail = Tail::new(self.output_max.min(COMMAND_OUTPUT_BYTES_MAX));
        let ended = watch(child, &output, &mut tail, began + self.timeout);
        let in_time = matches!(ended, Ok(true));
        // Also where this fiber is to end: the program goes first.
        let end = || end(child, &output, &mut tail, in_time);
        let limit = COMMAND_KILL_GRACE + START_TIMEOUT;
        let status = fiber::shield(limit, end).unwrap_or_else(|elapsed| elapsed.0);
        drop(started);
        ended?;
        let code = status.and_then(|status| status.code());
        let told = match (in_time, code) {
            (true, Some(0)) => Status::Done,
            (true, _) => Status::Failed,
            (false, _) => Status::TimedOut,
        };
        let answer = Answer::of(command, told, &tail.text()).took(began.elapsed());
        Ok(answer.code(code).truncated(tail.truncated))
    }
}

/// What stands for the device's identifier.
const DEVICE: &str = "id";

/// A part of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    /// What stands in braces.
    Name(&'a str),
}

/// The parts of an argument; a brace that nothing closes is itself.
fn parts(template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        parts.push(Part::Text(before));
        let name = from.strip_prefix('{').and_then(|from| from.split_once('}'));
        rest = match (from.get(..2), name) {
            (Some("{{" | "}}"), _) => {
                parts.push(Part::Text(&from[..1]));
                &from[2..]
            }
            (_, Some((name, after))) => {
                parts.push(Part::Name(name));
                after
            }
            (_, None) => {
                parts.push(Part::Text(&from[..1]));
                &from[1..]
            }
        };
    }
    parts.push(Part::Text(rest));
    parts
}

/// A program that is killed, with its group, and reaped in the end, unless that was done.
struct Started(Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else {
            return;
        };
        // One that was reaped has no number any more that could be its own.
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            tell(group, Signal::KILL);
        }
        if let Ok(mut unreaped) = UNREAPED.lock() {
            unreaped.push(child);
        }
    }
}

/// Programs that were killed and had not ended when that was last looked at.
static UNREAPED: std::sync::Mutex<Vec<Child>> = std::sync::Mutex::new(Vec::new());

/// Reaps those that have ended meanwhile.
fn reap() {
    if let Ok(mut unreaped) = UNREAPED.lock() {
        unreaped.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_)) | Err(_)));
    }
}

/// Has the system kill the program before the agent where there is no memory left.
fn spare_the_agent(id: u32) {
    if cfg!(target_os = "linux") {
        // It may have ended already, and a system without this does without.
        let file = fiber::fs::File::create(format!("/proc/{id}/oom_score_adj"));
        let _ = file.and_then(|file| file.write_at(0, OOM_SCORE));
    }
}

/// What is added to the score of a program by which the system chooses whom to kill, of 1 000.
const OOM_SCORE: &str = "500";

/// Starts a program, and returns it with the end of the socket that its outputs go to.
fn start(
    program: PathBuf,
    arguments: Vec<String>,
    environment: [(&'static str, std::ffi::OsString); 4],
) -> io::Result<(Started, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let output: OwnedFd = theirs.as_fd().try_clone_to_owned()?;
    drop(theirs);
    // Programs expect a write to wait.
    let flags = fcntl_getfl(&output)?;
    fcntl_setfl(&output, flags - OFlags::NONBLOCK)?;
    let errors = output.try_clone()?;
    let child = fiber::offload(move || {
        std::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map(|child| Started(Some(child)))
    });
    let child = child.map_err(io::Error::from)??;
    Ok((child, ours))
}

/// Reads what the program prints until it has ended; false if it has not at the deadline.
fn watch(
    child: &Child,
    output: &UnixStream,
    tail: &mut Tail,
    deadline: Instant,
) -> Result<bool, Stopped> {
    let mut pause = LOOK_MIN;
    let mut is_open = true;
    loop {
        if has_ended(child) {
            return Ok(true);
        }
        let now = Instant::now();
        if now >= deadline {
            return Ok(false);
        }
        let limit = pause.min(deadline - now);
        if is_open {
            let mut bytes = [0; READ_BYTES];
            match fiber::timeout(limit, || { output }.read(&mut bytes)) {
                Ok(Ok(0)) => is_open = false,
                Ok(Ok(read)) => {
                    tail.push(&bytes[..read]);
                    pause = LOOK_MIN;
                    continue;
                }
                Ok(Err(error)) => match fiber::cause(&error) {
                    Some(stopped) => return Err(stopped),
                    None => is_open = false,
                },
                Err(_) => {}
            }
        } else {
            fiber::sleep(limit)?;
        }
        pause = (2 * pause).min(LOOK_MAX);
    }
}

/// Ends the program and everything in its group, reads the rest of the output and reaps it.
fn end(
    child: &mut Child,
    output: &UnixStream,
    tail: &mut Tail,
    has_ended: bool,
) -> Option<std::process::ExitStatus> {
    // As long as it is not reaped, no other group can have its number.
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
    if !has_ended {
        tell(group, Signal::TERM);
        let until = Instant::now() + COMMAND_KILL_GRACE;
        // Killed in any case.
        let _ = watch(child, output, tail, until);
    }
    tell(group, Signal::KILL);
    let rest = || {
        let mut bytes = [0; READ_BYTES];
        while let Ok(read @ 1..) = { output }.read(&mut bytes) {
            tail.push(&bytes[..read]);
        }
    };
    let _ = fiber::timeout(DRAIN_TIMEOUT, rest);
    let until = Instant::now() + COMMAND_KILL_GRACE;
    if !matches!(watch(child, output, tail, until), Ok(true)) {
        log::error!(
            "a program that was killed is still there: process {}",
            child.id()
        );
        return None;
    }
    // It has ended, so that this does not wait.
    child.try_wait().ok().flatten()
}

fn tell(group: Pid, signal: Signal) {
    // There may be nobody left.
    let _ = kill_process_group(group, signal);
}

/// Whether the program has ended; it is not reaped by that.
fn has_ended(child: &Child) -> bool {
    let Some(id) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return true;
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(id), options) {
        Ok(status) => status.is_some(),
        // Somebody else reaped it.
        Err(_) => true,
    }
}

/// The last bytes of an output.
struct Tail {
    bytes: Vec<u8>,
    max: usize,
    truncated: bool,
}

impl Tail {
    const fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max,
            truncated: false,
        }
    }

    fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        if self.bytes.len() > self.max {
            let over = self.bytes.len() - self.max;
            self.bytes.drain(..over);
            self.truncated = true;
        }
    }

    /// As text; a character that was cut at the beginning is left out.
    fn text(&self) -> String {
        let is_inside = |byte: &u8| self.truncated && byte & 0b1100_0000 == 0b1000_0000;
        let cut = self
            .bytes
            .iter()
            .take(3)
            .take_while(|byte| is_inside(byte))
            .count();
        String::from_utf8_lossy(&self.bytes[cut..]).into_owned()
    }
}
