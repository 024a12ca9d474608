//! A store that lives as long as the program: the promise outlives connections and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use fiber::Stopped;
use safe_rt::Endpoint;

use super::Store;
use super::error::{ClaimError, Refused, Report};
use super::index::{Index, STATE_BYTES};
use super::key::Key;
use super::keys::KeyState;
use super::options::{Level, STORED_BYTES_DEFAULT, STORED_MESSAGES_DEFAULT};
use super::pos::StorePos;
use super::record::{MessageRecord, Record};
use super::recovered::{Recovered, Stored, StoredMessage};
use super::state::{Gone, check_message};

/// A store in memory. A record is durable, as far as memory is, when it is appended.
#[derive(Debug)]
pub struct Memory {
    state: RefCell<State>,
    messages_max: usize,
    bytes_max: u64,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    contents: BTreeMap<StorePos, StoredMessage>,
    /// A client has it.
    claimed: bool,
    /// Whose session it knows.
    identity: Option<(String, Option<Endpoint>)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(STORED_MESSAGES_DEFAULT, STORED_BYTES_DEFAULT)
    }
}

impl Memory {
    /// A store that takes so many messages and so many bytes of them; each message counts 128 bytes
    /// beside its topic and payload.
    #[must_use]
    pub fn new(messages_max: usize, bytes_max: u64) -> Self {
        Self {
            state: RefCell::default(),
            messages_max,
            bytes_max,
        }
    }

    /// Whether a message would be taken if some were done.
    fn admit(
        &self,
        index: &Index,
        message: &MessageRecord<'_>,
        gone: &Gone,
    ) -> Result<(), Refused> {
        if index.messages.len() - gone.messages >= self.messages_max {
            let bound = self.messages_max;
            return Err(Refused::Messages { bound });
        }
        let live_bytes = index.live_bytes().saturating_sub(gone.bytes);
        if live_bytes + message.frame_len() as u64 + STATE_BYTES > self.bytes_max {
            let bound = self.bytes_max;
            return Err(Refused::Bytes { bound });
        }
        Ok(())
    }
}

impl Store for Memory {
    /// It is made for nobody: what is in flight for another client or broker is queued again.
    fn claim(&self, client_id: &str, endpoint: Option<&Endpoint>) -> Result<(), ClaimError> {
        let state = &mut *self.state.borrow_mut();
        if std::mem::replace(&mut state.claimed, true) {
            return Err(ClaimError::InUse);
        }
        let identity = (client_id.to_owned(), endpoint.cloned());
        let before = state.identity.replace(identity);
        if before.is_some_and(|before| Some(before) != state.identity) {
            let at = state.index.last().next();
            state.index.identity_changed(at);
            state.index.apply(at, &Record::SessionLost, None);
        }
        Ok(())
    }

    fn release(&self) {
        self.state.borrow_mut().claimed = false;
    }

    fn is_claimed(&self) -> bool {
        self.state.borrow().claimed
    }

    fn append(&self, record: &Record<'_>) -> Result<StorePos, Refused> {
        let state = &mut *self.state.borrow_mut();
        let at = state.index.last().next();
        match record {
            Record::Publish(message) => {
                check_message(message, self.bytes_max)?;
                self.admit(&state.index, message, &Gone::default())?;
                state.contents.insert(at, (*message).into());
                state.index.apply(at, record, None);
            }
            Record::Done { message, cause, .. } => {
                let Some(content) = state.contents.remove(message) else {
                    return Ok(state.index.last());
                };
                let record = Record::Done {
                    message: *message,
                    cause: *cause,
                    key: content.key,
                };
                state.index.apply(at, &record, None);
            }
            Record::Assigned { .. }
            | Record::Recorded { .. }
            | Record::Received(_)
            | Record::Released(_)
            | Record::SessionLost
            | Record::Identity(_)
            | Record::MaybeSent { .. } => {
                state.index.apply(at, record, None);
            }
        }
        Ok(at)
    }

    fn admits(
        &self,
        message: &MessageRecord<'_>,
        others: &mut dyn Iterator<Item = StorePos>,
    ) -> Result<usize, Refused> {
        check_message(message, self.bytes_max)?;
        let index = &self.state.borrow().index;
        Gone::enough(index, others, |gone| self.admit(index, message, gone))
    }

    fn appended(&self) -> StorePos {
        self.state.borrow().index.last()
    }

    fn durable(&self) -> StorePos {
        self.appended()
    }

    fn is_durable(&self, pos: StorePos) -> bool {
        pos <= self.appended()
    }

    fn commit(&self) -> io::Result<()> {
        Ok(())
    }

    fn run(&self) -> Result<(), Stopped> {
        // There is nothing to do.
        fiber::Event::new().wait()
    }

    fn hurry(&self) {}

    fn wait_commit(&self) -> Result<(), Stopped> {
        // There is none.
        fiber::Event::new().wait()
    }

    fn level(&self) -> Option<Level> {
        None
    }

    fn recovered(&self) -> Recovered {
        Recovered::of(&self.state.borrow().index)
    }

    fn recovered_in_part(&self) -> Recovered {
        Recovered::in_part(&self.state.borrow().index)
    }

    fn queued(&self, from: StorePos, count: usize) -> Vec<Stored> {
        Stored::next_of(&self.state.borrow().index, from, count)
    }

    fn read(&self, message: StorePos) -> io::Result<Option<StoredMessage>> {
        Ok(self.state.borrow().contents.get(&message).cloned())
    }

    fn key(&self, key: &Key) -> Option<KeyState> {
        self.state.borrow().index.key(key)
    }

    fn next_report(&self) -> Option<Report> {
        None
    }
}
