//! What is known of the device from what it tells: what it published, what became of that, how its link
//! is. It outlives the device's processes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use super::count::{End, Published};
use super::news::News;
use super::protocol::qos_of;
use super::timeline::{Timeline, Who};
use super::wire::Line;

/// After so many acknowledgements there is a line about them.
const TOLD_EVERY: u64 = 25;

/// The device's book.
pub(super) struct Diary {
    timeline: Timeline,
    news: News,
    /// Processes that began.
    started: Cell<u64>,
    connected: Cell<u64>,
    /// Connections that kept the session.
    kept: Cell<u64>,
    lost: Cell<u64>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    published: Published,
    acknowledged: u64,
    /// Messages whose outcome was open when the link was lost.
    in_flight: BTreeSet<u64>,
    obeyed: BTreeSet<u64>,
    /// What the latest process found on the disk.
    found: usize,
}

impl Diary {
    pub(super) fn new(timeline: &Timeline, news: &News) -> Rc<Self> {
        Rc::new(Self {
            timeline: timeline.clone(),
            news: news.clone(),
            started: Cell::new(0),
            connected: Cell::new(0),
            kept: Cell::new(0),
            lost: Cell::new(0),
            state: RefCell::default(),
        })
    }

    fn say(&self, what: impl std::fmt::Display) {
        self.timeline.say(Who::Device, what);
    }

    /// Enters what the device told.
    pub(super) fn enter(&self, line: Line) {
        match line {
            Line::Started(process) => {
                self.say(format_args!("started, process {process}"));
                self.started.set(self.started.get() + 1);
            }
            Line::Identity(text) | Line::Link(text) => self.say(text),
            Line::Found(count) => {
                self.state.borrow_mut().found = count;
                if count > 0 {
                    self.say(format_args!(
                        "found {count} messages in its queue on the disk"
                    ));
                }
            }
            Line::Connected { kept } => self.connected(kept),
            Line::Lost { open, retry, cause } => self.lost(open, retry, &cause),
            Line::Stored(sequence) => {
                let qos = qos_of(sequence);
                self.state.borrow_mut().published.enter(sequence, qos);
            }
            Line::Acknowledged {
                sequence,
                maybe_twice,
            } => self.ended(sequence, End::Acknowledged { maybe_twice }),
            Line::GivenUp(sequence) => {
                self.ended(sequence, End::GivenUp);
                self.say(format_args!("telemetry: {sequence} given up"));
            }
            Line::Obeyed(number, text) => {
                let first = self.state.borrow_mut().obeyed.insert(number);
                let again = if first { "" } else { " once more" };
                self.say(format_args!("command {text}: received{again}, obeyed"));
            }
            Line::Answered(number) => {
                self.say(format_args!("command {number}: answer acknowledged"));
            }
        }
        self.news.tell();
    }

    fn connected(&self, kept: bool) {
        let session = if kept { "kept" } else { "new" };
        let open = self.open().len();
        self.say(format_args!(
            "connected, session {session}, without acknowledgement: {open}"
        ));
        self.connected.set(self.connected.get() + 1);
        self.kept.set(self.kept.get() + u64::from(kept));
    }

    fn lost(&self, open: BTreeSet<u64>, retry: Option<u64>, cause: &str) {
        self.state.borrow_mut().in_flight = open;
        self.lost.set(self.lost.get() + 1);
        match retry {
            Some(millis) => self.say(format_args!(
                "link lost ({cause}), reconnecting in {millis} ms"
            )),
            None => self.say(format_args!("disconnected ({cause})")),
        }
    }

    fn ended(&self, sequence: u64, end: End) {
        let acknowledged = {
            let mut state = self.state.borrow_mut();
            if state.published.is_ended(sequence) {
                return;
            }
            state.published.end(sequence, end);
            state.acknowledged += u64::from(end != End::GivenUp);
            state.acknowledged
        };
        if end != End::GivenUp && acknowledged.is_multiple_of(TOLD_EVERY) {
            self.say(format_args!("telemetry: {acknowledged} acknowledged"));
        }
    }
}

/// What others ask.
impl Diary {
    /// Returns how many processes began.
    pub(super) fn processes(&self) -> u64 {
        self.started.get()
    }

    /// Returns how often the link came to be.
    pub(super) fn times_connected(&self) -> u64 {
        self.connected.get()
    }

    /// Returns how often it was lost.
    pub(super) fn times_lost(&self) -> u64 {
        self.lost.get()
    }

    /// Returns how many messages the latest process found on its disk.
    pub(super) fn found(&self) -> usize {
        self.state.borrow().found
    }

    /// Returns which messages had no outcome when the link was last lost.
    pub(super) fn in_flight(&self) -> BTreeSet<u64> {
        self.state.borrow().in_flight.clone()
    }

    /// Returns which messages have no outcome, as far as the device told.
    pub(super) fn open(&self) -> BTreeSet<u64> {
        self.state.borrow().published.open()
    }

    /// Of these messages, how many may be there twice, as their outcomes say; `None` while an outcome
    /// is open.
    pub(super) fn sent_again(&self, messages: &BTreeSet<u64>) -> Option<usize> {
        let state = self.state.borrow();
        if messages.iter().any(|open| !state.published.is_ended(*open)) {
            return None;
        }
        let again = |message: &&u64| state.published.may_be_there_twice(**message);
        Some(messages.iter().filter(again).count())
    }

    /// Returns how many different commands came.
    pub(super) fn obeyed(&self) -> u64 {
        self.state.borrow().obeyed.len() as u64
    }

    /// Returns a copy of the book of messages.
    pub(super) fn book(&self) -> Published {
        self.state.borrow().published.clone()
    }
}
