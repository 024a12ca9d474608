//! What the device notes while it works: what it published, what became of that, how its link is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use mqtt::{Event, Outcome, QoS, Ticket};

use super::count::{End, Published};
use super::news::News;
use super::protocol::Command;
use super::timeline::{Timeline, Who};

/// After so many acknowledgements there is a line about them.
const TOLD_EVERY: u64 = 25;

/// The device's book. Its link calls in with events, its loop with tickets.
pub(super) struct Diary {
    timeline: Timeline,
    news: News,
    enough: Cell<bool>,
    connected: Cell<u64>,
    lost: Cell<u64>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    published: Published,
    /// Messages whose outcome is open, in order.
    open: Vec<(u64, Ticket)>,
    acknowledged: u64,
    /// Messages whose outcome was open when the link was lost.
    in_flight: BTreeSet<u64>,
    obeyed: BTreeSet<u64>,
}

impl Diary {
    pub(super) fn new(timeline: &Timeline, news: &News) -> Rc<Self> {
        Rc::new(Self {
            timeline: timeline.clone(),
            news: news.clone(),
            enough: Cell::new(false),
            connected: Cell::new(0),
            lost: Cell::new(0),
            state: RefCell::default(),
        })
    }

    fn say(&self, what: impl std::fmt::Display) {
        self.timeline.say(Who::Device, what);
    }
}

/// What the device calls.
impl Diary {
    /// Whether the device is to publish nothing more.
    pub(super) fn is_enough(&self) -> bool {
        self.enough.get()
    }

    /// Notes a message that was published, and what became of earlier ones by now.
    pub(super) fn published(&self, qos: QoS, ticket: Ticket) {
        {
            let mut state = self.state.borrow_mut();
            let sequence = state.published.enter(qos);
            state.open.push((sequence, ticket));
        }
        self.look();
    }

    /// Waits until nothing is under way any more. Yields until then.
    pub(super) fn wait_for_acknowledgements(&self) -> Result<(), mqtt::Error> {
        loop {
            let next = {
                let mut state = self.state.borrow_mut();
                (!state.open.is_empty()).then(|| state.open.remove(0))
            };
            let Some((sequence, mut ticket)) = next else {
                return Ok(());
            };
            let outcome = ticket.outcome()?;
            self.ended(sequence, outcome);
        }
    }

    /// Notes a command that came, perhaps once more.
    pub(super) fn obey(&self, command: Command) {
        let first = self.state.borrow_mut().obeyed.insert(command.number);
        let again = if first { "" } else { " once more" };
        self.say(format_args!("command {command}: received{again}, obeyed"));
    }

    /// Notes that the cloud has the answer to a command.
    pub(super) fn answered(&self, command: Command) {
        let number = command.number;
        self.say(format_args!("command {number}: answer acknowledged"));
        self.news.tell();
    }

    /// Notes what happened to the link.
    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::Connected { session_present } => {
                let session = if *session_present { "kept" } else { "new" };
                let open = self.open_now().len();
                self.say(format_args!(
                    "connected, session {session}, messages without acknowledgement: {open}"
                ));
                self.connected.set(self.connected.get() + 1);
            }
            Event::Disconnected {
                cause, retry_in, ..
            } => {
                let open = self.open_now();
                self.state.borrow_mut().in_flight = open;
                self.lost.set(self.lost.get() + 1);
                match retry_in {
                    Some(pause) => self.say(format_args!(
                        "link lost ({cause}), reconnecting in {:.3} s",
                        pause.as_secs_f64()
                    )),
                    None => self.say(format_args!("disconnected ({cause})")),
                }
            }
            Event::ConnectFailed { cause, .. } => {
                self.say(format_args!("not connected ({cause}), trying again"));
            }
            Event::SubscribeRefused { filters } => {
                self.say(format_args!(
                    "the cloud refused to subscribe to {}",
                    filters.join(", ")
                ));
            }
            _ => {}
        }
        self.news.tell();
    }

    /// Collects outcomes that are there.
    fn look(&self) {
        let ended: Vec<(u64, Outcome)> = {
            let mut state = self.state.borrow_mut();
            let mut ended = Vec::new();
            state.open.retain(|(sequence, ticket)| match ticket.poll() {
                Some(outcome) => {
                    ended.push((*sequence, outcome));
                    false
                }
                None => true,
            });
            ended
        };
        for (sequence, outcome) in ended {
            self.ended(sequence, outcome);
        }
    }

    fn ended(&self, sequence: u64, outcome: Outcome) {
        let end = match outcome {
            Outcome::Acked { maybe_twice } => End::Acknowledged { maybe_twice },
            _ => End::GivenUp,
        };
        let acknowledged = {
            let mut state = self.state.borrow_mut();
            state.published.end(sequence, end);
            state.acknowledged += u64::from(end != End::GivenUp);
            state.acknowledged
        };
        match end {
            End::Acknowledged { .. } if acknowledged % TOLD_EVERY == 0 => {
                self.say(format_args!("telemetry: {acknowledged} acknowledged"));
            }
            End::Acknowledged { .. } | End::Open => {}
            End::GivenUp => self.say(format_args!("telemetry: {sequence} given up")),
        }
        self.news.tell();
    }

    /// Messages whose outcome is open at this moment.
    fn open_now(&self) -> BTreeSet<u64> {
        let state = self.state.borrow();
        let open = state.open.iter();
        open.filter(|(_, ticket)| ticket.poll().is_none())
            .map(|(sequence, _)| *sequence)
            .collect()
    }
}

/// What others ask.
impl Diary {
    /// Asks the device to come to an end.
    pub(super) fn finish(&self) {
        self.enough.set(true);
    }

    /// Returns how often the link came to be.
    pub(super) fn connected(&self) -> u64 {
        self.connected.get()
    }

    /// Returns how often it was lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// Returns which messages had no outcome when the link was last lost.
    pub(super) fn in_flight(&self) -> BTreeSet<u64> {
        self.state.borrow().in_flight.clone()
    }

    /// Of these messages, how many had to be sent again and may be there twice, as their outcomes
    /// say; `None` while an outcome is open.
    pub(super) fn sent_again(&self, messages: &BTreeSet<u64>) -> Option<usize> {
        self.look();
        let state = self.state.borrow();
        if state.open.iter().any(|(open, _)| messages.contains(open)) {
            return None;
        }
        let again = |message: &&u64| state.published.may_be_there_twice(**message);
        Some(messages.iter().filter(again).count())
    }

    /// Returns how many different commands came.
    pub(super) fn obeyed(&self) -> u64 {
        self.state.borrow().obeyed.len() as u64
    }

    /// Returns a copy of the book of messages. What is open is let go.
    pub(super) fn close(&self) -> Published {
        self.look();
        let mut state = self.state.borrow_mut();
        state.open.clear();
        state.published.clone()
    }
}
