//! The device's end of the line to the demonstration: what it tells, and when it is told to end.
//!
//! This is what the demonstration adds to the device so that it can be watched; a device of yours has
//! none of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use fiber::net::UnixStream;
use fiber::{Receiver, Sender, Stopped};
use mqtt::store::{DoneCause, Key, Store};
use mqtt::{Client, Event, Outcome, Ticket};

use super::protocol::Command;
use super::wire::{DEMO_LINE_BYTES_MAX, ENOUGH, Line};

/// Lines that wait to be told; whoever tells one more waits.
const TOLD_LINES_MAX: usize = 256;
/// Time between two looks at what became of messages.
const LOOK_PACE: Duration = Duration::from_millis(10);

/// What the device tells. Clones share it.
#[derive(Clone)]
pub(super) struct Told(Rc<State>);

struct State {
    stream: UnixStream,
    lines: Sender<Line>,
    waiting: Receiver<Line>,
    /// Lines that were said and are not written.
    unwritten: Cell<usize>,
    enough: Cell<bool>,
    /// Messages whose outcome is open, in order.
    open: RefCell<Vec<(u64, Ticket)>>,
}

impl Told {
    /// Connects to the demonstration, which listens in `folder`. Yields.
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let (lines, waiting) = fiber::channel(TOLD_LINES_MAX);
        let told = Self(Rc::new(State {
            stream: UnixStream::connect(socket)?,
            lines,
            waiting,
            unwritten: Cell::new(0),
            enough: Cell::new(false),
            open: RefCell::default(),
        }));
        told.say(Line::Started(std::process::id()));
        Ok(told)
    }

    /// Tells. Yields only while much waits to be told.
    pub(super) fn say(&self, line: Line) {
        self.0.unwritten.set(self.0.unwritten.get() + 1);
        // Without a listener there is nobody to tell.
        let _ = self.0.lines.send(line);
    }

    /// Writes what is to be told until the wait for it is stopped. Yields.
    pub(super) fn write(&self) -> io::Result<()> {
        while let Ok(Some(line)) = self.0.waiting.recv() {
            (&self.0.stream).write_all(format!("{line}\n").as_bytes())?;
            self.0.unwritten.set(self.0.unwritten.get() - 1);
        }
        Ok(())
    }

    /// Waits until everything told so far is written. Yields.
    pub(super) fn flush(&self) -> Result<(), Stopped> {
        while self.0.unwritten.get() > 0 {
            fiber::sleep(LOOK_PACE)?;
        }
        Ok(())
    }

    /// Listens until the demonstration is gone, or the wait is stopped. Yields.
    pub(super) fn listen(&self) -> io::Result<()> {
        let limited = (&self.0.stream).take(DEMO_LINE_BYTES_MAX as u64);
        for line in BufReader::new(limited).lines() {
            match line {
                Ok(line) if line == ENOUGH => self.0.enough.set(true),
                Err(error) if fiber::cause(&error).is_none() => return Err(error),
                Err(_) => break,
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the device is to publish nothing more.
    pub(super) fn is_enough(&self) -> bool {
        self.0.enough.get()
    }
}

/// What becomes of messages.
impl Told {
    /// Tells of what an earlier process left behind, and returns the number of the next message.
    pub(super) fn earlier(&self, client: &Client, store: &dyn Store) -> u64 {
        let stored = client.stored();
        self.say(Line::Found(stored.len()));
        let mut last = 0;
        for (key, _, cause) in store.recovered().outcomes {
            let Some(sequence) = sequence_of(&key) else {
                continue;
            };
            last = last.max(sequence);
            self.say(Line::Stored(sequence));
            self.say(match cause {
                DoneCause::Acked { maybe_twice } => Line::Acknowledged {
                    sequence,
                    maybe_twice,
                },
                _ => Line::GivenUp(sequence),
            });
        }
        for (key, ticket) in stored {
            if let Some(sequence) = key.as_ref().and_then(sequence_of) {
                last = last.max(sequence);
                self.published(sequence, ticket);
            }
        }
        last + 1
    }

    /// Notes a message that is in the queue on the disk.
    pub(super) fn published(&self, sequence: u64, ticket: Ticket) {
        self.0.open.borrow_mut().push((sequence, ticket));
        self.say(Line::Stored(sequence));
    }

    /// Tells what becomes of messages, as it becomes known, until the wait is stopped. Yields.
    pub(super) fn follow(&self) {
        loop {
            self.look();
            if fiber::sleep(LOOK_PACE).is_err() {
                return;
            }
        }
    }

    /// Waits until nothing is under way any more, and has told of it. Yields.
    pub(super) fn wait_for_acknowledgements(&self) -> Result<(), Stopped> {
        loop {
            self.look();
            if self.0.open.borrow().is_empty() {
                return Ok(());
            }
            fiber::sleep(LOOK_PACE)?;
        }
    }

    /// Tells of outcomes that are there.
    fn look(&self) {
        let mut ended = Vec::new();
        self.0
            .open
            .borrow_mut()
            .retain(|(sequence, ticket)| match ticket.poll() {
                Some(outcome) => {
                    ended.push((*sequence, outcome));
                    false
                }
                None => true,
            });
        for (sequence, outcome) in ended {
            self.say(match outcome {
                Outcome::Acked { maybe_twice } => Line::Acknowledged {
                    sequence,
                    maybe_twice,
                },
                _ => Line::GivenUp(sequence),
            });
        }
    }

    fn open_now(&self) -> BTreeSet<u64> {
        let open = self.0.open.borrow();
        open.iter().map(|(sequence, _)| *sequence).collect()
    }
}

/// What happens besides.
impl Told {
    /// Tells what happened to the link.
    pub(super) fn event(&self, event: &Event) {
        self.look();
        match event {
            Event::Connected { session_present } => self.say(Line::Connected {
                kept: *session_present,
            }),
            Event::Disconnected {
                cause, retry_in, ..
            } => self.say(Line::Lost {
                open: self.open_now(),
                retry: retry_in.map(|pause| pause.as_millis().try_into().unwrap_or(u64::MAX)),
                cause: cause.to_string(),
            }),
            Event::ConnectFailed { cause, .. } => {
                self.say(Line::Link(format!("not connected ({cause}), trying again")));
            }
            Event::SubscribeRefused { filters } => self.say(Line::Link(format!(
                "the cloud refused to subscribe to {}",
                filters.join(", ")
            ))),
            _ => {}
        }
    }

    /// Tells that a command came, perhaps once more.
    pub(super) fn obey(&self, command: Command) {
        self.say(Line::Obeyed(command.number, command.to_string()));
    }

    /// Tells that the cloud has the answer to a command.
    pub(super) fn answered(&self, command: Command) {
        self.say(Line::Answered(command.number));
    }
}

/// The key of a message in the store.
pub(super) fn key_of(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

fn sequence_of(key: &Key) -> Option<u64> {
    key.as_bytes().try_into().map(u64::from_be_bytes).ok()
}
