//! The other end of the control socket: how a program asks a running agent.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use fiber::net::UnixStream;
use serde_json::Value;

use super::request::Request;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ControlError {
    /// No agent is there.
    NoAgent(io::Error),
    /// The connection failed, or the answer took too long.
    Io(io::Error),
    /// What came is no answer.
    Answer,
    /// The agent refused.
    Refused(String),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent(error) => write!(f, "no agent runs here: {error}"),
            Self::Io(error) => write!(f, "the agent does not answer: {error}"),
            Self::Answer => f.write_str("the agent answered something that is no answer"),
            Self::Refused(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoAgent(error) | Self::Io(error) => Some(error),
            Self::Answer | Self::Refused(_) => None,
        }
    }
}

/// A connection to a running agent.
pub struct Control {
    stream: UnixStream,
    pending: Vec<u8>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// Connects to the agent whose socket is at `path`. Yields.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoAgent`].
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        let stream = fiber::timeout(ANSWER_TIMEOUT, || UnixStream::connect(path));
        let stream = stream.unwrap_or_else(|elapsed| elapsed.0);
        Ok(Self {
            stream: stream.map_err(ControlError::NoAgent)?,
            pending: Vec::new(),
        })
    }

    /// Asks, and returns the answer. Yields until it is there, for 30 s at most.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn ask(&mut self, request: &Request) -> Result<Value, ControlError> {
        let line = request.to_json() + "\n";
        let asked = fiber::timeout(ANSWER_TIMEOUT, || {
            { &self.stream }.write_all(line.as_bytes())?;
            self.read_line()
        });
        let answer = asked
            .unwrap_or_else(|elapsed| elapsed.0)
            .map_err(ControlError::Io)?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| ControlError::Answer)?;
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            Some(false) => {
                let text = answer["error"].as_str().unwrap_or("the agent refused");
                Err(ControlError::Refused(text.to_owned()))
            }
            None => Err(ControlError::Answer),
        }
    }

    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 64 * 1024];
        let mut looked = 0;
        loop {
            let end = self.pending[looked..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.pending.drain(..=looked + end).collect();
                return Ok(line);
            }
            looked = self.pending.len();
            if looked > ANSWER_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            match { &self.stream }.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.pending.extend_from_slice(&bytes[..read]),
            }
        }
    }
}
