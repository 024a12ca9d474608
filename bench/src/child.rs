//! The runner's side: programs as child processes with a time limit, and what they print.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::error::Failure;
use crate::program;

/// How long a program may take; some run under valgrind.
pub const CHILD_TIMEOUT: Duration = Duration::from_secs(120);

/// A program with its arguments and environment; it may run under another.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    words: Vec<String>,
    under: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Program {
    /// A program that was built together with the one that runs.
    #[must_use]
    pub fn ours(name: &str) -> Self {
        let folder = std::env::current_exe().ok();
        let folder = folder.as_deref().and_then(Path::parent).map(Path::to_owned);
        Self::at(&folder.unwrap_or_default().join(name))
    }

    /// A program of the system.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            words: Vec::new(),
            under: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// With further words on its command line.
    #[must_use]
    pub fn with(mut self, words: &[String]) -> Self {
        self.words.extend_from_slice(words);
        self
    }

    /// Started by another program, given with its words.
    #[must_use]
    pub fn under(mut self, wrapper: &[String]) -> Self {
        self.under = wrapper.to_vec();
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was built.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.is_file()
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`Failure`], unless it ended well.
    pub fn run(&self) -> Result<Values, Failure> {
        self.start()?.finish()
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`Failure::Start`].
    pub fn start(&self) -> Result<Running, Failure> {
        let mut words: Vec<OsString> = self.under.iter().map(OsString::from).collect();
        words.push(self.path.clone().into_os_string());
        words.extend(self.words.iter().map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let text = self.describe();
        Running::start(command, text)
    }

    fn describe(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        [name.as_ref()]
            .into_iter()
            .chain(self.words.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// What a program printed: names and numbers, and all of its error output.
#[derive(Debug, Default)]
pub struct Values {
    command: String,
    values: BTreeMap<String, f64>,
    /// What it printed as errors.
    pub errors: String,
}

impl Values {
    /// One of the values.
    ///
    /// # Errors
    /// [`Failure::NoValue`].
    pub fn get(&self, name: &str) -> Result<f64, Failure> {
        self.values
            .get(name)
            .copied()
            .ok_or_else(|| self.lacks(name))
    }

    /// The failure of a program that printed no such value.
    #[must_use]
    pub fn lacks(&self, name: &str) -> Failure {
        Failure::NoValue {
            command: self.command.clone(),
            name: name.to_owned(),
        }
    }
}

/// A program that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    lines: Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
    values: BTreeMap<String, f64>,
    end_by: Instant,
}

impl Running {
    fn start(mut command: Command, text: String) -> Result<Self, Failure> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| Failure::Start {
            command: text.clone(),
            source,
        })?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let mut stderr = child.stderr.take().expect("stderr was asked for as a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens any more: the pipe is still drained.
                drop(sender.send(line));
            }
        });
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            drop(stderr.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self {
            command: text,
            child,
            lines,
            errors: Some(errors),
            values: BTreeMap::new(),
            end_by: Instant::now() + CHILD_TIMEOUT,
        })
    }

    /// Waits until it has printed a value of this name.
    ///
    /// # Errors
    /// [`Failure`], also when it ended before.
    pub fn wait_for(&mut self, name: &str) -> Result<f64, Failure> {
        loop {
            if let Some(value) = self.values.get(name) {
                return Ok(*value);
            }
            if !self.read_line()? {
                self.check_end()?;
                return Err(Failure::NoValue {
                    command: self.command.clone(),
                    name: name.to_owned(),
                });
            }
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Keeps it on one processor.
    pub fn keep_on(&self, cpu: usize) {
        if let Ok(process) = i32::try_from(self.child.id()) {
            program::keep_on(Pid::from_raw(process), cpu);
        }
    }

    /// A number that the system tells of it, in KiB where it is memory.
    ///
    /// # Errors
    /// [`Failure::NoValue`] when it has ended.
    pub fn status(&self, name: &str) -> Result<f64, Failure> {
        let path = format!("/proc/{}/status", self.child.id());
        match program::field(&path, &format!("{name}:")) {
            0 => Err(Failure::NoValue {
                command: self.command.clone(),
                name: name.to_owned(),
            }),
            number => Ok(number as f64),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Failure`], unless it ended well.
    pub fn finish(mut self) -> Result<Values, Failure> {
        while self.read_line()? {}
        let errors = self.check_end()?;
        Ok(Values {
            command: std::mem::take(&mut self.command),
            values: std::mem::take(&mut self.values),
            errors,
        })
    }

    /// Takes in a line of its output; false at its end.
    fn read_line(&mut self) -> Result<bool, Failure> {
        let left = self.end_by.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                if let Some((name, value)) = line.split_once(' ')
                    && let Ok(value) = value.parse()
                {
                    self.values.insert(name.to_owned(), value);
                }
                Ok(true)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut {
                command: self.command.clone(),
            }),
        }
    }

    /// Its error output, once it has ended well.
    fn check_end(&mut self) -> Result<String, Failure> {
        let status = self.child.wait().map_err(|source| Failure::Start {
            command: self.command.clone(),
            source,
        })?;
        let errors = self
            .errors
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        if status.success() {
            Ok(errors)
        } else {
            Err(Failure::Ended {
                command: self.command.clone(),
                said: format!("{status}: {}", errors.trim()),
            })
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
