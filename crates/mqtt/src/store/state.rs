//! What an open store knows beside its index, and what it takes and refuses.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::batch::{Batch, Pending};
use super::compact::COMPACT_RECORDS_MIN;
use super::copy::Unread;
use super::disk::DiskFile;
use super::error::{Refused, Report};
use super::index::{Index, Policy, STATE_BYTES};
use super::messages::Message;
use super::options::StoreOptions;
use super::pos::StorePos;
use super::record::{DoneCause, MessageRecord, RECORD_BYTES_MAX, Record};
use crate::packet::QoS;

/// How many bytes of messages may wait to be written.
pub const STORE_PENDING_BYTES_MAX: usize = 1024 * 1024;

/// How many files a store has at most before what is needed of the oldest is copied.
pub(super) const SEGMENTS_MAX: usize = 256;

/// How many reports are kept for who asks; the oldest go first.
const REPORTS_MAX: usize = 64;

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) salt: u32,
    pub(super) file: Rc<dyn DiskFile>,
    pub(super) len: u64,
    /// How long it was without any record.
    pub(super) head_len: u64,
    /// What was written and the disk is not sure of.
    pub(super) unsynced: Batch,
}

/// A record that waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    /// The message that it is about.
    pub(super) message: StorePos,
    /// Where that is done.
    pub(super) done: Option<StorePos>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) index: Index,
    pub(super) pending: Pending,
    /// What was taken to be written and was not, or the disk could not make sure of it.
    pub(super) unsure: Batch,
    /// Messages for which the disk has no room.
    pub(super) parked: Batch,
    /// Records that `durable` has passed and that are in no file: until the message that each is about
    /// was written, or that it is done.
    pub(super) passed_over: BTreeMap<StorePos, Passed>,
    pub(super) active: Option<Active>,
    pub(super) next_number: u64,
    pub(super) durable: StorePos,
    /// How often something became durable.
    pub(super) advances: u64,
    /// The last position of those before it was opened.
    pub(super) opened: StorePos,
    /// A name was made or removed, and the disk is not sure of it.
    pub(super) folder_dirty: bool,
    /// The disk is full and the reserve is being used.
    pub(super) full: bool,
    /// Which segment is being copied, and from which message on.
    pub(super) copied: (u64, StorePos),
    /// Messages that could not be read to be copied.
    pub(super) unread: BTreeMap<StorePos, Unread>,
    /// How many records wait, and are parked, before they are compacted.
    pub(super) compact_pending_at: usize,
    pub(super) compact_parked_at: usize,
    pub(super) reports: VecDeque<Report>,
}

impl State {
    pub(super) fn new(index: Index, next_number: u64) -> Self {
        Self {
            durable: index.last(),
            opened: index.last(),
            index,
            pending: Pending::default(),
            unsure: Batch::default(),
            parked: Batch::default(),
            passed_over: BTreeMap::new(),
            advances: 0,
            active: None,
            next_number,
            folder_dirty: true,
            full: false,
            copied: (0, StorePos::default()),
            unread: BTreeMap::new(),
            compact_pending_at: COMPACT_RECORDS_MIN,
            compact_parked_at: COMPACT_RECORDS_MIN,
            reports: VecDeque::new(),
        }
    }

    /// Takes a record in.
    pub(super) fn append(
        &mut self,
        record: &Record<'_>,
        options: &StoreOptions,
    ) -> Result<StorePos, Refused> {
        let at = self.index.last().next();
        match record {
            Record::Publish(message) => {
                check_message(message, options.bytes_max)?;
                self.admit(message, options, &Gone::default())?;
            }
            Record::Done { message, cause, .. } => {
                let Some(known) = self.index.messages.get(message) else {
                    return Ok(self.index.last());
                };
                let (key, was_attempted) = (known.key, known.attempted);
                let (message, cause) = (*message, *cause);
                let record = Record::Done {
                    message,
                    cause,
                    key,
                };
                self.index.apply(at, &record, None);
                for passed in self.passed_over.values_mut() {
                    if passed.message == message {
                        passed.done = Some(at);
                    }
                }
                // What no file knows need not be taken back.
                if was_attempted || key.is_some() {
                    self.pending.push_end(at, &record, was_attempted);
                }
                if !was_attempted {
                    self.pending.drop_message(message);
                }
                self.compact_pending();
                return Ok(at);
            }
            Record::Assigned { .. }
            | Record::Recorded { .. }
            | Record::Received(_)
            | Record::Released(_)
            | Record::SessionLost
            | Record::Identity(_)
            | Record::MaybeSent { .. } => {}
        }
        self.index.apply(at, record, None);
        self.pending.push(at, record);
        self.compact_pending();
        Ok(at)
    }

    /// Whether a message would be taken if some were done.
    fn admit(
        &self,
        message: &MessageRecord<'_>,
        options: &StoreOptions,
        gone: &Gone,
    ) -> Result<(), Refused> {
        let len = message.frame_len();
        let messages = self.index.messages.len() - gone.messages;
        let live_bytes = self.index.live_bytes().saturating_sub(gone.bytes);
        let pending_bytes = self.pending.bytes() + gone.record_bytes;
        if self.full {
            Err(Refused::DiskFull)
        } else if messages >= options.messages_max {
            Err(Refused::Messages {
                bound: options.messages_max,
            })
        } else if live_bytes + len as u64 + STATE_BYTES > options.bytes_max
            || self.fills_the_disk(len, options)
        {
            Err(Refused::Bytes {
                bound: options.bytes_max,
            })
        } else if pending_bytes > 0 && pending_bytes + len > STORE_PENDING_BYTES_MAX {
            Err(Refused::Pending {
                bound: STORE_PENDING_BYTES_MAX,
            })
        } else {
            Ok(())
        }
    }

    /// Whether the segments have grown so long that only cleaning makes room.
    pub(super) fn fills_the_disk(&self, len: usize, options: &StoreOptions) -> bool {
        let disk_bytes_max = options.bytes_max.saturating_mul(3);
        let disk_bytes_max = disk_bytes_max.saturating_add(4 * options.segment_bytes);
        self.index.disk_bytes() + len as u64 > disk_bytes_max
    }

    /// Tells how many of `others` must be done before a message is taken.
    pub(super) fn admits(
        &self,
        message: &MessageRecord<'_>,
        others: &mut dyn Iterator<Item = StorePos>,
        options: &StoreOptions,
    ) -> Result<usize, Refused> {
        check_message(message, options.bytes_max)?;
        if !self.full && self.fills_the_disk(message.frame_len(), options) {
            let bound = options.bytes_max;
            return Err(Refused::Bytes { bound });
        }
        Gone::enough(&self.index, others, |gone| {
            self.admit(message, options, gone)
        })
    }

    pub(super) fn is_durable(&self, pos: StorePos) -> bool {
        pos <= self.durable && !self.passed_over.contains_key(&pos)
    }

    /// Puts messages that were never written aside, and what is about them.
    pub(super) fn park(&mut self) {
        self.unsure.drop_done(&self.index);
        let parked = self.unsure.split_unwritten(&self.index);
        let passed = |(at, message)| {
            let done = None;
            (at, Passed { message, done })
        };
        self.passed_over.extend(parked.subjects().map(passed));
        self.parked.extend(&parked);
        self.compact_parked();
    }

    /// Takes up again what was put aside, with what is known of it by now: what ended an identifier may
    /// be in a file that goes first. It is durable once it is written, and no sooner.
    pub(super) fn unpark(&mut self) {
        let mut unsure = std::mem::take(&mut self.parked).as_known(&self.index);
        unsure.extend(&self.unsure);
        self.unsure = unsure;
    }

    /// Notes that the disk is sure of nothing that was found, until the next commit.
    pub(super) fn found_unsure(&mut self) {
        self.durable = StorePos::default();
        self.unsure.upto = self.index.last();
    }

    /// Notes that everything up to a position is durable, and what was written with it.
    pub(super) fn advance(&mut self, upto: StorePos) {
        self.durable = self.durable.max(upto);
        self.advances += 1;
        let (index, durable) = (&self.index, self.durable);
        self.passed_over.retain(|_, passed| match passed.done {
            Some(done) => done > durable,
            None => index.is_unwritten(passed.message),
        });
    }

    /// Returns what a segment begins with: whose it is, and how far the positions have come, for what
    /// is written to it may be copies alone and those that are removed the only ones to say so.
    pub(super) fn first_records(&self, options: &StoreOptions) -> Batch {
        let mut records = Batch::default();
        let identity = Record::Identity(options.identity.clone());
        records.push_record(self.opened, &identity);
        // No message has this position.
        let nothing = Record::Done {
            message: StorePos::default(),
            cause: DoneCause::Withdrawn,
            key: None,
        };
        records.push_record(self.index.last(), &nothing);
        records
    }

    /// Gives the segment that is written up, because the disk is not sure of all that is in it. What
    /// it is not sure of is to be written again.
    pub(super) fn abandon(&mut self) {
        if let Some(active) = self.active.take() {
            let mut unsure = active.unsynced;
            unsure.extend(&self.unsure);
            self.unsure = unsure;
        }
    }

    /// Returns the frame of a message that is in no file yet.
    pub(super) fn unwritten(&self, message: StorePos) -> Option<&[u8]> {
        self.pending
            .message(message)
            .or_else(|| self.unsure.message(message))
            .or_else(|| self.parked.message(message))
    }

    pub(super) fn report(&mut self, report: Report) {
        if self.reports.len() == REPORTS_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
    }
}

/// What messages would leave behind if they were done.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) messages: usize,
    /// What is needed no more.
    pub(super) bytes: u64,
    /// What is to be written to say so.
    record_bytes: usize,
}

impl Gone {
    /// Returns how many of `others` must be done before `admit` has nothing against it.
    pub(super) fn enough(
        index: &Index,
        others: &mut dyn Iterator<Item = StorePos>,
        admit: impl Fn(&Self) -> Result<(), Refused>,
    ) -> Result<usize, Refused> {
        let mut gone = Self::default();
        let mut count = 0;
        loop {
            let refused = match admit(&gone) {
                Ok(()) => return Ok(count),
                Err(refused @ (Refused::Messages { .. } | Refused::Bytes { .. })) => refused,
                Err(refused) => return Err(refused),
            };
            let other = others.next().ok_or(refused)?;
            count += 1;
            if let Some(known) = index.messages.get(&other) {
                gone.add(other, &known);
            }
        }
    }

    fn add(&mut self, message: StorePos, known: &Message) {
        let key = known.key;
        self.messages += 1;
        self.bytes += u64::from(known.frame_len);
        if key.is_none() {
            // Else its outcome takes as much.
            self.bytes += STATE_BYTES;
        }
        if known.attempted || key.is_some() {
            let cause = DoneCause::Dropped;
            let mut frame = Vec::new();
            Record::Done {
                message,
                cause,
                key,
            }
            .encode(message, &mut frame);
            self.record_bytes += frame.len();
        }
    }
}

impl StoreOptions {
    pub(super) const fn policy(&self) -> Policy {
        Policy {
            segment_bytes: self.segment_bytes,
            segments_max: SEGMENTS_MAX,
        }
    }
}

/// Checks what no room elsewhere makes good; `bytes_max` is what the store may hold.
pub(super) fn check_message(message: &MessageRecord<'_>, bytes_max: u64) -> Result<(), Refused> {
    let found = message.frame_len();
    let held = usize::try_from(bytes_max.saturating_sub(STATE_BYTES)).unwrap_or(usize::MAX);
    let bound = held.min(RECORD_BYTES_MAX);
    if found > bound || message.topic.len() > u16::MAX.into() {
        return Err(Refused::TooLarge { found, bound });
    }
    if message.qos == QoS::AtMostOnce {
        return Err(Refused::AtMostOnce);
    }
    Ok(())
}
