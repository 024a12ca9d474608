//! Commands: what the cloud asks for by name, done by handlers that the device allows.
//!
//! A command is a message on one topic, and its answer a message on the topic below it:
//!
//! ```text
//!   TOPIC          {"id":"7f","command":"restart","args":{"unit":"modem"}}
//!   TOPIC/answer   {"schema":1,"id":"7f","command":"restart","status":"done","code":0,
//!                   "output":"...","truncated":false,"millis":812}
//! ```
//! `id` is the caller's name for it, a text of at most [`COMMAND_ID_BYTES_MAX`] bytes: the same command
//! again, as a message of QoS 1 may come twice, is answered again and not done again, for the last
//! [`COMMANDS_REMEMBERED_MAX`], as far as their answers have [`COMMANDS_REMEMBERED_BYTES`] together;
//! another one of that `id` is refused. `args` may be left out; its values are texts, numbers and
//! booleans. With `expires`, milliseconds of Unix time, it is not begun later, nor while the clock of
//! the device is not set. The status is one of:
//!
//! | status | meaning |
//! |---|---|
//! | `done` | the handler succeeded; of a program: its exit code is 0 |
//! | `failed` | it did not; `output` says why, `code` is that of a program |
//! | `timed-out` | it took longer than it may, and was killed if it is a program |
//! | `unknown` | no handler of that name is allowed |
//! | `refused` | the arguments do not fit the handler, or the `id` is that of another command |
//! | `busy` | [`COMMANDS_WAITING_MAX`] wait already, or the function has not returned since it was asked for before |
//! | `expired` | its time was over before it was begun |
//! | `interrupted` | the agent ended while it was being done: nobody knows how far it came |
//! | `malformed` | it is no command; without `id` and `command` where those are not known |
//!
//! What is not asked for by name in the configuration or by the program cannot be done, and no shell
//! ever sees an argument. Commands are done one after the other, in the order in which they came. An
//! answer is cut, with `truncated`, where it is longer than the broker takes.
//!
//! # What is promised
//!
//! With a state directory a command that the broker has its acknowledgement of is noted there before, and
//! again before it is begun and when it is over. So each is begun at most once, whatever ends the agent in
//! between: a stop, a crash, a loss of power, a command that starts the device again. What waited is done
//! after the next start, what was being done is answered as `interrupted`, and each is answered at least
//! once. Without a state directory, and where it cannot be written, that holds until the agent ends; a
//! stop in order answers those that wait as `interrupted`.

mod desk;
mod journal;
mod message;
mod program;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use desk::{Desk, serve};
pub use journal::COMMANDS_REMEMBERED_BYTES;
pub use message::{COMMAND_BYTES_MAX, COMMAND_ID_BYTES_MAX, Command};
pub use program::{
    COMMAND_KILL_GRACE, COMMAND_OUTPUT_BYTES_DEFAULT, COMMAND_OUTPUT_BYTES_MAX, Program,
    ProgramError,
};

/// Commands that wait to be done; one more is answered as `busy`.
pub const COMMANDS_WAITING_MAX: usize = 16;
/// Answers that are remembered, so that the same command is not done twice.
pub const COMMANDS_REMEMBERED_MAX: usize = 64;
/// Handlers of one device.
pub const COMMANDS_MAX: usize = 64;
/// How long a command may take unless set otherwise.
pub const COMMAND_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// The longest time that a command may be given.
pub const COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// What the names of the agent's own commands begin with.
const OWN_PREFIX: &str = "agent.";

/// What a handler in the program returns: what is to be told, or why it did not succeed.
pub type CommandResult = Result<String, String>;

type Function = Rc<dyn Fn(&Command) -> CommandResult>;

/// What is done for a command.
#[derive(Clone)]
enum Handler {
    /// A function of this program, and how long it may wait.
    Function(Function, Duration),
    /// Another program.
    Program(Rc<Program>),
}

/// Why a handler is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerRefused {
    /// There is one of that name.
    Known(String),
    /// There are [`COMMANDS_MAX`].
    TooMany,
    /// Names that begin with `agent.` are the agent's own.
    Reserved(String),
    /// The time that it may take is more than [`COMMAND_TIMEOUT_MAX`].
    Timeout(Duration),
}

impl fmt::Display for HandlerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => write!(f, "there is a handler for the command {name:?} already"),
            Self::TooMany => write!(f, "expected at most {COMMANDS_MAX} commands, found as many"),
            Self::Reserved(name) => write!(f, "the command {name:?} has a name of the agent's own"),
            Self::Timeout(found) => write!(
                f,
                "expected a command to take at most {} s, found {} s",
                COMMAND_TIMEOUT_MAX.as_secs(),
                found.as_secs()
            ),
        }
    }
}

impl std::error::Error for HandlerRefused {}

/// The handlers that a device allows. Clones share them.
#[derive(Clone, Default)]
pub struct Commands(Rc<Shared>);

#[derive(Default)]
struct Shared {
    handlers: RefCell<BTreeMap<String, Handler>>,
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.0.handlers.borrow();
        f.debug_struct("Commands")
            .field("names", &handlers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Commands {
    /// No handlers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows a command that a function of this program does. It may wait, for `timeout` at most: then
    /// every wait in it fails. Does not yield.
    ///
    /// # Errors
    ///
    /// [`HandlerRefused`].
    pub fn allow(
        &self,
        name: impl Into<String>,
        timeout: Duration,
        handler: impl Fn(&Command) -> CommandResult + 'static,
    ) -> Result<(), HandlerRefused> {
        if timeout > COMMAND_TIMEOUT_MAX {
            return Err(HandlerRefused::Timeout(timeout));
        }
        self.insert(name.into(), Handler::Function(Rc::new(handler), timeout))
    }

    /// Allows a command that another program does. Does not yield.
    ///
    /// # Errors
    ///
    /// [`HandlerRefused`].
    pub fn allow_program(
        &self,
        name: impl Into<String>,
        program: Program,
    ) -> Result<(), HandlerRefused> {
        if program.timeout > COMMAND_TIMEOUT_MAX {
            return Err(HandlerRefused::Timeout(program.timeout));
        }
        self.insert(name.into(), Handler::Program(Rc::new(program)))
    }

    /// Whether there is any handler.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.handlers.borrow().is_empty()
    }

    /// Allows one of the agent's own, which count for nothing.
    pub(crate) fn allow_own(
        &self,
        name: &str,
        handler: impl Fn(&Command) -> CommandResult + 'static,
    ) {
        let handler = Handler::Function(Rc::new(handler), COMMAND_TIMEOUT_DEFAULT);
        let mut handlers = self.0.handlers.borrow_mut();
        handlers.insert(format!("{OWN_PREFIX}{name}"), handler);
    }

    fn insert(&self, name: String, handler: Handler) -> Result<(), HandlerRefused> {
        let mut handlers = self.0.handlers.borrow_mut();
        if name.starts_with(OWN_PREFIX) {
            return Err(HandlerRefused::Reserved(name));
        }
        if handlers.contains_key(&name) {
            return Err(HandlerRefused::Known(name));
        }
        let is_theirs = |name: &&String| !name.starts_with(OWN_PREFIX);
        if handlers.keys().filter(is_theirs).count() >= COMMANDS_MAX {
            return Err(HandlerRefused::TooMany);
        }
        handlers.insert(name, handler);
        Ok(())
    }

    pub(super) fn allows(&self, name: &str) -> bool {
        self.0.handlers.borrow().contains_key(name)
    }

    fn handler(&self, name: &str) -> Option<Handler> {
        self.0.handlers.borrow().get(name).cloned()
    }
}
