//! Commands: what the cloud asks for by name, done by handlers that the device allows.
//!
//! A command is a message on one topic, and its answer a message on the topic below it:
//!
//! ```text
//!   TOPIC          {"id":"7f","command":"restart","args":{"unit":"modem"}}
//!   TOPIC/answer   {"schema":1,"id":"7f","command":"restart","status":"done","code":0,
//!                   "output":"...","truncated":false,"millis":812}
//! ```
//! `id` is the caller's name for it, a text of at most [`COMMAND_ID_BYTES_MAX`] bytes: the same one
//! again, as a message of QoS 1 may come twice, is answered again and not done again, for the last
//! [`COMMANDS_REMEMBERED_MAX`]. `args` may be left out; its values are texts, numbers and booleans.
//! The status is one of:
//!
//! | status | meaning |
//! |---|---|
//! | `done` | the handler succeeded; of a program: its exit code is 0 |
//! | `failed` | it did not; `output` says why, `code` is that of a program |
//! | `timed-out` | it took longer than it may, and was killed if it is a program |
//! | `unknown` | no handler of that name is allowed |
//! | `refused` | the arguments do not fit the handler |
//! | `busy` | [`COMMANDS_WAITING_MAX`] wait already |
//! | `malformed` | it is no command; without `id` and `command` where those are not known |
//!
//! What is not asked for by name in the configuration or by the program cannot be done, and no shell
//! ever sees an argument. Commands are done one after the other, in the order in which they came.

mod message;
mod program;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Instant, Stopped};
use mqtt::{Client, Publish, QoS, Subscribe, Wait};

pub use message::{COMMAND_BYTES_MAX, COMMAND_ID_BYTES_MAX, Command};
pub use program::{
    COMMAND_KILL_GRACE, COMMAND_OUTPUT_BYTES_DEFAULT, COMMAND_OUTPUT_BYTES_MAX, Program,
    ProgramError,
};

use message::{Answer, Status};

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
    /// The time that it may take is more than [`COMMAND_TIMEOUT_MAX`].
    Timeout(Duration),
}

impl fmt::Display for HandlerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => write!(f, "there is a handler for the command {name:?} already"),
            Self::TooMany => write!(f, "expected at most {COMMANDS_MAX} commands, found as many"),
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
    /// Answers by their identifiers, the oldest first.
    answered: RefCell<VecDeque<(String, Vec<u8>)>>,
    waiting: RefCell<VecDeque<Command>>,
    /// The identifier of the one that is being done.
    running: RefCell<Option<String>>,
    work: fiber::Event,
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

    fn insert(&self, name: String, handler: Handler) -> Result<(), HandlerRefused> {
        let mut handlers = self.0.handlers.borrow_mut();
        if handlers.contains_key(&name) {
            return Err(HandlerRefused::Known(name));
        }
        if handlers.len() >= COMMANDS_MAX {
            return Err(HandlerRefused::TooMany);
        }
        handlers.insert(name, handler);
        Ok(())
    }

    /// Takes a command that came in. Returns the answer where there is one at once.
    fn take(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let command = match Command::parse(payload) {
            Ok(command) => command,
            Err(reason) => return Some(Answer::malformed(&reason).to_json()),
        };
        let answered = self.0.answered.borrow();
        if let Some((_, answer)) = answered.iter().find(|(id, _)| *id == command.id) {
            return Some(answer.clone());
        }
        let is_known = self.0.running.borrow().as_ref() == Some(&command.id)
            || self
                .0
                .waiting
                .borrow()
                .iter()
                .any(|waiting| waiting.id == command.id);
        if is_known {
            // Its answer comes when it is done.
            return None;
        }
        if !self.0.handlers.borrow().contains_key(&command.name) {
            return Some(Answer::of(&command, Status::Unknown, "no such command").to_json());
        }
        let mut waiting = self.0.waiting.borrow_mut();
        if waiting.len() >= COMMANDS_WAITING_MAX {
            let text = "other commands wait already";
            return Some(Answer::of(&command, Status::Busy, text).to_json());
        }
        waiting.push_back(command);
        self.0.work.set();
        None
    }

    /// Does the next command, if there is one, and returns its answer. Yields.
    fn step(&self, device_id: &str) -> Result<Option<Vec<u8>>, Stopped> {
        let Some(command) = self.0.waiting.borrow_mut().pop_front() else {
            return Ok(None);
        };
        *self.0.running.borrow_mut() = Some(command.id.clone());
        let handler = self.0.handlers.borrow().get(&command.name).cloned();
        let done = match handler {
            None => Ok(Answer::of(&command, Status::Unknown, "no such command")),
            Some(Handler::Function(function, timeout)) => Ok(call(&command, &*function, timeout)),
            Some(Handler::Program(program)) => program.run(&command, device_id),
        };
        *self.0.running.borrow_mut() = None;
        let answer = done?.to_json();
        let mut answered = self.0.answered.borrow_mut();
        if answered.len() >= COMMANDS_REMEMBERED_MAX {
            answered.pop_front();
        }
        answered.push_back((command.id, answer.clone()));
        Ok(Some(answer))
    }
}

/// Calls a function of the program.
fn call<'a>(
    command: &'a Command,
    function: &dyn Fn(&Command) -> CommandResult,
    timeout: Duration,
) -> Answer<'a> {
    let began = Instant::now();
    let called = fiber::timeout(timeout, || function(command));
    let millis = began.elapsed();
    let (status, output) = match called {
        Ok(Ok(output)) => (Status::Done, output),
        Ok(Err(output)) => (Status::Failed, output),
        Err(fiber::Elapsed(Ok(output) | Err(output))) => (Status::TimedOut, output),
    };
    Answer::of(command, status, &output).took(millis)
}

/// Subscribes to the commands, and does them until it is stopped: the body of a fiber. Yields.
///
/// # Errors
///
/// [`Stopped`], when the agent leaves; a program that is running then is killed.
pub(crate) fn serve(
    client: &Client,
    device_id: &str,
    topic: &str,
    commands: &Commands,
) -> Result<(), Stopped> {
    let answers = format!("{topic}/answer");
    let taken = commands.clone();
    let at = answers.clone();
    let subscribe = Subscribe::to(topic, QoS::AtLeastOnce).wait(Wait::None);
    // The handler only takes it: a command that lasts holds back no acknowledgement.
    let subscribed = client.subscribe_as(subscribe, move |client, message| {
        if message.retain {
            log::warn!("a retained command is as old as it likes, and is not done");
        } else if let Some(answer) = taken.take(&message.data) {
            publish(client, &at, &answer);
        }
        Ok(())
    });
    if let Err(error) = subscribed {
        log::error!("there are no commands: {error}");
        return Ok(());
    }
    loop {
        commands.0.work.clear();
        match commands.step(device_id)? {
            Some(answer) => publish(client, &answers, &answer),
            None => commands.0.work.wait()?,
        }
    }
}

fn publish(client: &Client, topic: &str, answer: &[u8]) {
    if let Err(error) = client.publish(Publish::to(topic, answer).qos(QoS::AtLeastOnce)) {
        log::warn!("the answer to a command is lost: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &[u8]) -> String {
        String::from_utf8(answer.to_vec()).unwrap()
    }

    fn commands() -> Commands {
        let commands = Commands::new();
        let echo = |command: &Command| Ok(command.text("say").unwrap_or("nothing").to_owned());
        commands
            .allow("echo", COMMAND_TIMEOUT_DEFAULT, echo)
            .unwrap();
        let fail = |_: &Command| Err("it is stuck".to_owned());
        commands
            .allow("valve", COMMAND_TIMEOUT_DEFAULT, fail)
            .unwrap();
        let slow = |_: &Command| {
            let slept = fiber::sleep(Duration::from_secs(100));
            slept
                .map(|()| String::new())
                .map_err(|stopped| stopped.to_string())
        };
        commands
            .allow("slow", Duration::from_secs(2), slow)
            .unwrap();
        commands
    }

    fn on_fiber(body: impl FnOnce() + 'static) {
        fiber::Runtime::builder()
            .paused_clock(true)
            .run(body)
            .unwrap();
    }

    #[test]
    fn a_command_is_done_once_however_often_it_comes() {
        on_fiber(|| {
            let commands = commands();
            let payload = br#"{"id":"7","command":"echo","args":{"say":"hi"}}"#;
            assert_eq!(commands.take(payload), None);
            assert_eq!(commands.take(payload), None, "it waits already");
            let answer = commands.step("meter-17").unwrap().unwrap();
            let told = text(&answer);
            assert!(told.contains(r#""id":"7""#), "{told}");
            assert!(told.contains(r#""status":"done","output":"hi""#), "{told}");
            assert_eq!(commands.step("meter-17").unwrap(), None);
            assert_eq!(commands.take(payload), Some(answer), "as it was answered");
            assert_eq!(commands.step("meter-17").unwrap(), None);
        });
    }

    #[test]
    fn what_fails_and_what_takes_too_long_is_told() {
        on_fiber(|| {
            let commands = commands();
            for (name, expected) in [
                ("valve", r#""status":"failed","output":"it is stuck""#),
                ("slow", r#""status":"timed-out""#),
            ] {
                let payload = format!(r#"{{"id":"{name}","command":"{name}"}}"#);
                assert_eq!(commands.take(payload.as_bytes()), None);
                let told = text(&commands.step("meter-17").unwrap().unwrap());
                assert!(told.contains(expected), "{told}");
            }
        });
    }

    #[test]
    fn what_nobody_allowed_is_refused_and_what_is_no_command_is_told() {
        on_fiber(|| {
            let commands = commands();
            for (payload, expected) in [
                (r#"{"id":"1","command":"rm"}"#, r#""status":"unknown""#),
                ("not json", r#""status":"malformed""#),
                (r#"{"command":"echo"}"#, r#""status":"malformed""#),
                ("{}", r#""status":"malformed""#),
            ] {
                let told = text(&commands.take(payload.as_bytes()).unwrap());
                assert!(told.contains(expected), "{told}");
            }
            assert_eq!(commands.step("meter-17").unwrap(), None);
        });
    }

    #[test]
    fn no_more_wait_and_no_more_are_remembered_than_may() {
        on_fiber(|| {
            let commands = commands();
            let command = |number: usize| format!(r#"{{"id":"{number}","command":"echo"}}"#);
            for number in 0..COMMANDS_WAITING_MAX {
                assert_eq!(commands.take(command(number).as_bytes()), None);
            }
            let told = text(&commands.take(command(99).as_bytes()).unwrap());
            assert!(told.contains(r#""status":"busy""#), "{told}");
            for number in 0..COMMANDS_REMEMBERED_MAX + COMMANDS_WAITING_MAX {
                if number >= COMMANDS_WAITING_MAX {
                    assert_eq!(commands.take(command(number).as_bytes()), None);
                }
                assert!(commands.step("meter-17").unwrap().is_some());
            }
            assert_eq!(commands.0.answered.borrow().len(), COMMANDS_REMEMBERED_MAX);
        });
    }

    #[test]
    fn a_name_is_given_once_and_no_handler_may_take_for_ever() {
        on_fiber(|| {
            let commands = commands();
            let nothing = |_: &Command| Ok(String::new());
            let twice = commands.allow("echo", COMMAND_TIMEOUT_DEFAULT, nothing);
            assert_eq!(twice, Err(HandlerRefused::Known("echo".to_owned())));
            let day = Duration::from_secs(86_400);
            let long = commands.allow("long", day, nothing);
            assert_eq!(long, Err(HandlerRefused::Timeout(day)));
        });
    }
}
