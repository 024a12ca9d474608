//! Where commands come in, wait, are done one after the other and answered.
//!
//! ```text
//!   PUBLISH ─► noted ─► PUBACK       noted ─► done ─► noted ─► answer into the queue
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use fiber::{Event, FiberBuilder, Instant, JoinError, JoinHandle, Stopped};
use mqtt::{Client, Publish, PublishError, QoS, Subscribe, Wait};
use safe_rt::{ClockFloor, ClockVerdict};

use super::journal::Journal;
use super::message::{Answer, Command, Status};
use super::{COMMANDS_WAITING_MAX, CommandResult, Commands, Function, Handler};
use crate::service::state_file::StateFile;

/// How long a function whose time is over may take to return.
const FUNCTION_GRACE: Duration = Duration::from_secs(2);
/// How long one answer may wait for room in the queue before other commands go on.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to write down what becomes of a command, also where the agent ends.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// When what was not possible is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of an answer, unless the broker takes less.
pub(super) const ANSWER_BYTES_MAX: usize = 128 * 1024;

/// What a function returned; nothing where its fiber was stopped.
type Called = Result<CommandResult, fiber::Elapsed<CommandResult>>;

/// The commands of one agent.
pub(crate) struct Desk {
    commands: Commands,
    device_id: String,
    journal: RefCell<Journal>,
    file: StateFile,
    answer_max: usize,
    floor: ClockFloor,
    work: Event,
    is_subscribed: Cell<bool>,
    /// Nothing is done any more: the agent ends.
    is_left: Cell<bool>,
    /// Commands that wait and could not be noted: after the next start nobody knows of them.
    unnoted: RefCell<BTreeSet<String>>,
    /// Functions that did not return in time.
    abandoned: RefCell<Vec<(String, JoinHandle<Called>)>>,
}

impl Desk {
    /// Reads what became of earlier commands. Yields.
    pub(in crate::service) fn open(
        commands: Commands,
        device_id: &str,
        file: StateFile,
        payload_max: Option<usize>,
        floor: ClockFloor,
    ) -> Self {
        let mut journal = file
            .read()
            .as_ref()
            .map(Journal::of_json)
            .unwrap_or_default();
        let interrupted = journal.interrupt(false);
        let desk = Self {
            commands,
            device_id: device_id.to_owned(),
            journal: RefCell::new(journal),
            file,
            answer_max: payload_max.map_or(ANSWER_BYTES_MAX, |bytes| bytes.min(ANSWER_BYTES_MAX)),
            floor,
            work: Event::new(),
            is_subscribed: Cell::new(false),
            is_left: Cell::new(false),
            unnoted: RefCell::default(),
            abandoned: RefCell::default(),
        };
        if interrupted {
            desk.save();
        }
        desk
    }

    /// Takes a command that came in: it is noted when this returns. Returns the answer where there is one
    /// at once. Yields.
    pub(super) fn take(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let command = match Command::parse(payload) {
            Ok(command) => command,
            Err(reason) => return Some(Answer::malformed(&reason).to_json()),
        };
        let refuse = |status, text: &str| Some(Answer::of(&command, status, text).to_json());
        let known = self.journal.borrow().find(&command.id).map(|it| it.print);
        if let Some(known) = known {
            if command.print() != known {
                return refuse(Status::Refused, "the id is that of another command");
            }
            // Its answer comes when it is done, or again.
            if self.journal.borrow_mut().tell_again(&command.id) {
                self.work.set();
            }
            return None;
        }
        if !self.commands.allows(&command.name) {
            return refuse(Status::Unknown, "no such command");
        }
        if let Some(text) = self.expired(&command) {
            return refuse(Status::Expired, text);
        }
        if self.journal.borrow().waiting() >= COMMANDS_WAITING_MAX {
            return refuse(Status::Busy, "other commands wait already");
        }
        if self.is_left.get() && !self.file.is_kept() {
            return refuse(Status::Interrupted, "the agent ends");
        }
        let id = command.id.clone();
        self.journal.borrow_mut().receive(command);
        if !self.save() {
            self.unnoted.borrow_mut().insert(id);
        }
        self.work.set();
        None
    }

    /// Why a command is not to be done any more, if it is not.
    fn expired(&self, command: &Command) -> Option<&'static str> {
        let expires = command.expires?;
        let wall = fiber::wall_time();
        if !matches!(self.floor.check(wall), ClockVerdict::Plausible) {
            return Some("it has a time, and the clock of the device is not set");
        }
        let since = wall.duration_since(std::time::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        (millis > u128::from(expires)).then_some("its time is over")
    }

    /// Does the next command, if there is one. Yields.
    pub(super) fn step(&self) -> Result<bool, Stopped> {
        // What is begun where the agent ends would only be interrupted.
        fiber::yield_now()?;
        let Some(command) = self.journal.borrow_mut().begin() else {
            return Ok(false);
        };
        let is_noted = self.save();
        let is_unknown = self.unnoted.borrow_mut().remove(&command.id);
        let answer = match self.expired(&command) {
            Some(text) => Answer::of(&command, Status::Expired, text),
            // The next start would find that it waits, and do it again.
            None if !is_noted && !is_unknown => {
                let text = "it could not be noted that it is begun";
                Answer::of(&command, Status::Failed, text)
            }
            None => self.run(&command)?,
        };
        let answer = answer.into_json_within(self.answer_max);
        self.journal.borrow_mut().answer(&command.id, answer);
        self.save();
        Ok(true)
    }

    fn run<'a>(&self, command: &'a Command) -> Result<Answer<'a>, Stopped> {
        match self.commands.handler(&command.name) {
            // It was there in an earlier start.
            None => Ok(Answer::of(command, Status::Unknown, "no such command")),
            Some(Handler::Function(function, timeout)) => self.call(command, function, timeout),
            Some(Handler::Program(program)) => program.run(command, &self.device_id),
        }
    }

    /// Calls a function of the program, on a fiber of its own.
    fn call<'a>(
        &self,
        command: &'a Command,
        function: Function,
        timeout: Duration,
    ) -> Result<Answer<'a>, Stopped> {
        {
            let mut abandoned = self.abandoned.borrow_mut();
            abandoned.retain(|(_, handle)| !handle.is_finished());
            if abandoned.iter().any(|(name, _)| *name == command.name) {
                let text = "it has not returned since it was asked for before";
                return Ok(Answer::of(command, Status::Busy, text));
            }
        }
        let began = Instant::now();
        let given = command.clone();
        let body = move || fiber::timeout(timeout, || function(&given));
        let mut handle = match FiberBuilder::new().name("command").spawn(body) {
            Ok(handle) => handle,
            Err(error) => return Ok(Answer::of(command, Status::Failed, &error.to_string())),
        };
        let joined = fiber::timeout(timeout + FUNCTION_GRACE, || handle.join());
        let (status, output) = match joined {
            Ok(Ok(called)) => told(called),
            Ok(Err(JoinError::Stopped(stopped))) => {
                // The agent ends, and the function may yet do so in order.
                handle.cancel();
                match fiber::shield(FUNCTION_GRACE, || handle.join()) {
                    Ok(Ok(Ok(Ok(output)))) => (Status::Done, output),
                    _ => return Err(stopped),
                }
            }
            Ok(Err(error)) => (Status::Failed, error.to_string()),
            Err(_) => {
                log::error!("the command {:?} does not return", command.name);
                let mut abandoned = self.abandoned.borrow_mut();
                abandoned.push((command.name.clone(), handle));
                (Status::TimedOut, "it does not return".to_owned())
            }
        };
        Ok(Answer::of(command, status, &output).took(began.elapsed()))
    }

    /// Writes down what became of commands, also where this fiber is to end. Yields, for
    /// [`SAVE_TIMEOUT`] at most. Whether it is written, or there is no place for it.
    fn save(&self) -> bool {
        let write = || self.file.write(|| self.journal.borrow().to_json());
        let limit = match self.is_left.get() {
            true => FUNCTION_GRACE,
            false => SAVE_TIMEOUT,
        };
        let written = fiber::shield(limit, write).unwrap_or_else(|elapsed| elapsed.0);
        if let Err(error) = &written {
            log::warn!("what becomes of commands is not kept: {error}");
        }
        written.is_ok()
    }

    /// Puts the answers into the queue that are not there; false if there was no room for one.
    fn tell(&self, client: &Client, topic: &str) -> bool {
        loop {
            let Some((id, answer)) = self.journal.borrow().untold() else {
                return true;
            };
            let publish = || client.publish(Publish::to(topic, &answer).qos(QoS::AtLeastOnce));
            match fiber::timeout(TELL_TIMEOUT, publish).unwrap_or_else(|elapsed| elapsed.0) {
                Ok(_) | Err(PublishError::Wait(_)) => {}
                Err(PublishError::Argument(error)) => {
                    log::error!("the answer to the command {id:?} can never be sent: {error}");
                }
                Err(error) => {
                    log::warn!("the answer to the command {id:?} waits: {error}");
                    return false;
                }
            }
            self.journal.borrow_mut().told(&id);
        }
    }
}

#[cfg(test)]
impl Desk {
    pub(super) fn last_answer(&self) -> Vec<u8> {
        let mut journal = self.journal.borrow_mut();
        let (id, answer) = journal.untold().unwrap();
        journal.told(&id);
        answer
    }

    pub(super) fn remembered(&self) -> usize {
        self.journal.borrow().len()
    }
}

fn told(called: Called) -> (Status, String) {
    match called {
        Ok(Ok(output)) => (Status::Done, output),
        Ok(Err(output)) => (Status::Failed, output),
        Err(fiber::Elapsed(Ok(output) | Err(output))) => (Status::TimedOut, output),
    }
}

/// Subscribes to the commands, and does them until it is stopped: the body of a fiber. Yields.
///
/// # Errors
///
/// [`Stopped`], when the agent leaves; a program that is running then is killed.
pub(crate) fn serve(client: &Client, topic: &str, desk: &std::rc::Rc<Desk>) -> Result<(), Stopped> {
    let answers = format!("{topic}/answer");
    desk.is_left.set(false);
    // Where this fiber began anew.
    desk.journal.borrow_mut().interrupt(false);
    let served = work(client, topic, &answers, desk);
    let leave = || {
        desk.is_left.set(true);
        // Those that wait are done after the next start, if that knows of them.
        desk.journal.borrow_mut().interrupt(!desk.file.is_kept());
        // First: what was done is not to be told as interrupted by the next start.
        desk.save();
        desk.tell(client, &answers);
        desk.save();
    };
    if fiber::shield(FUNCTION_GRACE, leave).is_err() {
        log::warn!("not every command was answered");
    }
    served
}

fn work(
    client: &Client,
    topic: &str,
    answers: &str,
    desk: &std::rc::Rc<Desk>,
) -> Result<(), Stopped> {
    while !desk.is_subscribed.get() {
        let subscribe = Subscribe::to(topic, QoS::AtLeastOnce).wait(Wait::None);
        let (taken, at) = (std::rc::Rc::clone(desk), answers.to_owned());
        // It is acknowledged when the handler returns, which is when it is noted.
        let subscribed = client.subscribe_as(subscribe, move |client, message| {
            if message.retain {
                log::warn!("a retained command is as old as it likes, and is not done");
            } else if let Some(answer) = taken.take(&message.data) {
                let publish = || client.publish(Publish::to(&at, &answer).qos(QoS::AtLeastOnce));
                let told = fiber::timeout(TELL_TIMEOUT, publish);
                match told.unwrap_or_else(|elapsed| elapsed.0) {
                    Ok(_) | Err(PublishError::Wait(_)) => {}
                    Err(error) => log::warn!("an answer to a command is lost: {error}"),
                }
            }
            Ok(())
        });
        match subscribed {
            Ok(_) => desk.is_subscribed.set(true),
            Err(error) => {
                log::error!("there are no commands: {error}");
                fiber::sleep(RETRY_PAUSE)?;
            }
        }
    }
    loop {
        desk.work.clear();
        let is_held = !desk.tell(client, answers);
        if desk.step()? {
            continue;
        }
        let again = is_held.then(|| Instant::now() + RETRY_PAUSE);
        if let Err(error) = fiber::select(&[&desk.work], again) {
            return Err(fiber::cause(&error).unwrap_or(Stopped::NoRuntime));
        }
    }
}
