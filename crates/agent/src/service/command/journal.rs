//! What became of commands, as it is kept: those that wait, the one that is being done, and answers.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::message::{Answer, Command, Status};
use super::{COMMANDS_REMEMBERED_MAX, COMMANDS_WAITING_MAX};
use crate::json;

/// Bytes of all answers that are remembered; beyond that the oldest ones are forgotten.
pub const COMMANDS_REMEMBERED_BYTES: usize = 256 * 1024;

/// How far a command is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// It waits.
    Received(Command),
    /// It is being done, or was when the agent ended.
    Begun,
    /// It is over.
    Answered {
        answer: Vec<u8>,
        /// The answer is in the queue of the client.
        is_told: bool,
    },
}

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: String,
    name: String,
    /// Of its name and its arguments.
    pub(super) print: u64,
    pub(super) state: State,
}

/// All that are remembered, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Journal(VecDeque<Entry>);

impl Journal {
    pub(super) fn find(&self, id: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.id == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.id == id)
    }

    /// Commands that wait, and answers that wait for room in the queue.
    pub(super) fn waiting(&self) -> usize {
        let is_waiting = |entry: &&Entry| {
            matches!(
                entry.state,
                State::Received(_) | State::Answered { is_told: false, .. }
            )
        };
        self.0.iter().filter(is_waiting).count()
    }

    /// Has the answer of a command that is done be told once more; false where there is none yet.
    pub(super) fn tell_again(&mut self, id: &str) -> bool {
        match self.find_mut(id).map(|entry| &mut entry.state) {
            Some(State::Answered { is_told, .. }) => {
                *is_told = false;
                true
            }
            Some(State::Received(_) | State::Begun) | None => false,
        }
    }

    pub(super) fn receive(&mut self, command: Command) {
        self.0.push_back(Entry {
            id: command.id.clone(),
            name: command.name.clone(),
            print: command.print(),
            state: State::Received(command),
        });
    }

    /// Has the next one that waits begin.
    pub(super) fn begin(&mut self) -> Option<Command> {
        self.0.iter_mut().find_map(|entry| match &entry.state {
            State::Received(command) => {
                let command = command.clone();
                entry.state = State::Begun;
                Some(command)
            }
            State::Begun | State::Answered { .. } => None,
        })
    }

    pub(super) fn answer(&mut self, id: &str, answer: Vec<u8>) {
        if let Some(entry) = self.find_mut(id) {
            entry.state = State::Answered {
                answer,
                is_told: false,
            };
        }
        self.forget();
    }

    /// The next answer that is not in the queue of the client, and whose it is.
    pub(super) fn untold(&self) -> Option<(String, Vec<u8>)> {
        self.0.iter().find_map(|entry| match &entry.state {
            State::Answered {
                answer,
                is_told: false,
            } => Some((entry.id.clone(), answer.clone())),
            _ => None,
        })
    }

    pub(super) fn told(&mut self, id: &str) {
        if let Some(entry) = self.find_mut(id)
            && let State::Answered { is_told, .. } = &mut entry.state
        {
            *is_told = true;
        }
        self.forget();
    }

    /// Answers those that were being done, and with `all` those that wait, too: nobody knows how far they
    /// came, and none is done twice. Whether there were any.
    pub(super) fn interrupt(&mut self, all: bool) -> bool {
        let mut found = false;
        for entry in &mut self.0 {
            let text = match entry.state {
                State::Begun => "the agent ended while it was being done",
                State::Received(_) if all => "the agent ended before it was begun",
                _ => continue,
            };
            found = true;
            let command = Command {
                id: entry.id.clone(),
                name: entry.name.clone(),
                ..Command::default()
            };
            entry.state = State::Answered {
                answer: Answer::of(&command, Status::Interrupted, text).to_json(),
                is_told: false,
            };
        }
        found
    }

    /// Forgets the oldest answers that are told, as far as there are too many.
    fn forget(&mut self) {
        let told = |entry: &Entry| match &entry.state {
            State::Answered {
                answer,
                is_told: true,
            } => Some(answer.len()),
            _ => None,
        };
        loop {
            let (mut count, mut bytes) = (0, 0);
            for len in self.0.iter().filter_map(told) {
                count += 1;
                bytes += len;
            }
            if count <= COMMANDS_REMEMBERED_MAX && (bytes <= COMMANDS_REMEMBERED_BYTES || count < 2)
            {
                return;
            }
            let Some(oldest) = self.0.iter().position(|entry| told(entry).is_some()) else {
                return;
            };
            self.0.remove(oldest);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn to_json(&self) -> String {
        let entries = self.0.iter().map(|entry| {
            let mut parts = vec![
                ("id", Value::from(entry.id.as_str())),
                ("command", entry.name.as_str().into()),
                ("print", format!("{:016x}", entry.print).into()),
            ];
            match &entry.state {
                State::Received(command) => {
                    let args = command.args.clone().into_iter().collect::<Map<_, _>>();
                    parts.push(("args", Value::Object(args)));
                    parts.extend(command.expires.map(|at| ("expires", at.into())));
                }
                State::Begun => parts.push(("begun", true.into())),
                State::Answered { answer, is_told } => {
                    let text = String::from_utf8_lossy(answer).into_owned();
                    parts.push(("answer", text.into()));
                    parts.push(("told", (*is_told).into()));
                }
            }
            json::object(&parts)
        });
        json::object_of(&[
            ("schema", "1".to_owned()),
            ("commands", json::array(entries)),
        ])
    }

    /// As it was written; what is odd is left out.
    pub(super) fn of_json(value: &Value) -> Self {
        let entries = value["commands"].as_array().into_iter().flatten();
        let most = COMMANDS_REMEMBERED_MAX + 2 * COMMANDS_WAITING_MAX;
        Self(entries.filter_map(entry_of).take(most).collect())
    }
}

fn entry_of(value: &Value) -> Option<Entry> {
    let (id, name) = (value["id"].as_str()?, value["command"].as_str()?);
    let print = u64::from_str_radix(value["print"].as_str()?, 16).ok()?;
    let state = if let Some(answer) = value["answer"].as_str() {
        State::Answered {
            answer: answer.as_bytes().to_vec(),
            is_told: value["told"].as_bool()?,
        }
    } else if value["begun"] == true {
        State::Begun
    } else {
        State::Received(Command {
            id: id.to_owned(),
            name: name.to_owned(),
            args: value["args"].as_object()?.clone().into_iter().collect(),
            expires: value["expires"].as_u64(),
        })
    };
    Some(Entry {
        id: id.to_owned(),
        name: name.to_owned(),
        print,
        state,
    })
}
