//! What is yet to be written: records in their order, and the batches that are made of them.

use std::collections::VecDeque;

use super::index::{Index, Item, Place};
use super::pos::StorePos;
use super::record::{self, Record};

/// How many bytes are written at once; a longer record is written alone.
pub(super) const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Records that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) queue: VecDeque<Waiting>,
    pub(super) bytes: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting {
    at: StorePos,
    part: Part,
    /// Empty where it need not be written.
    pub(super) frame: Vec<u8>,
    /// It is the end of a message that may be in a file.
    pub(super) is_in_file: bool,
}

impl Waiting {
    fn new(at: StorePos, record: &Record<'_>, is_in_file: bool) -> Self {
        let mut frame = Vec::with_capacity(record.frame_len());
        record.encode(at, &mut frame);
        let part = Part {
            at,
            offset: 0,
            len: frame.len(),
            item: Item::of(at, record),
            subject: record.subject(at),
        };
        Self {
            at,
            part,
            frame,
            is_in_file,
        }
    }

    /// Says something else at this position.
    pub(super) fn replace(&mut self, record: &Record<'_>) {
        *self = Self::new(self.at, record, false);
    }
}

impl Pending {
    /// Appends a record.
    pub(super) fn push(&mut self, at: StorePos, record: &Record<'_>) {
        self.push_waiting(Waiting::new(at, record, false));
    }

    /// Appends the end of a message, which may be in a file.
    pub(super) fn push_end(&mut self, at: StorePos, record: &Record<'_>, is_in_file: bool) {
        self.push_waiting(Waiting::new(at, record, is_in_file));
    }

    fn push_waiting(&mut self, waiting: Waiting) {
        self.bytes += waiting.frame.len();
        self.queue.push_back(waiting);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    fn find(&self, message: StorePos) -> Option<usize> {
        let found = self
            .queue
            .binary_search_by_key(&message, |waiting| waiting.at);
        found.ok()
    }

    /// Returns the frame of a message that waits.
    pub(super) fn message(&self, message: StorePos) -> Option<&[u8]> {
        Some(&self.queue.get(self.find(message)?)?.frame)
    }

    /// Lets go of the content of a message that is done and was not taken to be written.
    pub(super) fn drop_message(&mut self, message: StorePos) {
        if let Some(found) = self.find(message)
            && let Some(waiting) = self.queue.get_mut(found)
        {
            self.bytes -= std::mem::take(&mut waiting.frame).len();
        }
    }

    /// Takes the records that are written next. What is about a message that is done meanwhile is
    /// left out.
    pub(super) fn take(&mut self, index: &mut Index) -> Batch {
        let mut batch = Batch {
            bytes: Vec::with_capacity(self.bytes.min(BATCH_BYTES_MAX)),
            ..Batch::default()
        };
        while let Some(next) = self.queue.front() {
            if !batch.is_empty() && batch.bytes.len() + next.frame.len() > BATCH_BYTES_MAX {
                batch.upto = StorePos(next.at.0 - 1);
                return batch;
            }
            let Some(Waiting { part, frame, .. }) = self.queue.pop_front() else {
                break;
            };
            self.bytes -= frame.len();
            if index.attempt(&part) {
                batch.push(part, &frame);
            }
        }
        batch.upto = index.last();
        batch
    }
}

/// A frame of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    at: StorePos,
    offset: usize,
    len: usize,
    pub(super) item: Option<Item>,
    /// The message without which it means nothing.
    pub(super) subject: Option<StorePos>,
}

/// Records that are written together.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    parts: Vec<Part>,
    /// All records up to here are in this batch or in one before.
    pub(super) upto: StorePos,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn push(&mut self, part: Part, frame: &[u8]) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.parts.push(Part { offset, ..part });
    }

    /// Appends a record.
    pub(super) fn push_record(&mut self, at: StorePos, record: &Record<'_>) {
        let mut frame = Vec::new();
        record.encode(at, &mut frame);
        self.push_frame(at, &frame, None, record.subject(at));
    }

    /// Appends a frame that was read from a segment.
    pub(super) fn push_frame(
        &mut self,
        at: StorePos,
        frame: &[u8],
        item: Option<Item>,
        subject: Option<StorePos>,
    ) {
        let (offset, len) = (0, frame.len());
        let part = Part {
            at,
            offset,
            len,
            item,
            subject,
        };
        self.push(part, frame);
    }

    /// Appends what comes later.
    pub(super) fn extend(&mut self, later: &Self) {
        for part in &later.parts {
            self.push(*part, later.frame(part));
        }
        self.upto = self.upto.max(later.upto);
    }

    fn frame(&self, part: &Part) -> &[u8] {
        &self.bytes[part.offset..part.offset + part.len]
    }

    /// Makes the frames those of a file with this salt.
    pub(super) fn seal(&mut self, salt: u32) {
        for part in &self.parts {
            record::seal(&mut self.bytes[part.offset..part.offset + part.len], salt);
        }
    }

    /// Notes in the index where everything lies, now that it was written at `start` of a segment.
    pub(super) fn settle(&self, index: &mut Index, segment: u64, start: u64) {
        for part in &self.parts {
            if let Some(item) = part.item {
                let place = Place {
                    segment,
                    offset: start + part.offset as u64,
                    len: part.len as u32,
                };
                index.place(item, place);
            }
        }
    }

    /// Splits off the messages that lie in no file, and what is about them.
    pub(super) fn split_unwritten(&mut self, index: &Index) -> Self {
        let (mut unwritten, mut rest) = (Self::default(), Self::default());
        for part in &self.parts {
            let is_unwritten = |subject| index.is_unwritten(subject);
            let to = if part.subject.is_some_and(is_unwritten) {
                &mut unwritten
            } else {
                &mut rest
            };
            to.push(*part, self.frame(part));
        }
        rest.upto = self.upto;
        *self = rest;
        unwritten
    }

    /// Leaves out messages that are done: they are large, and what is about them means nothing then.
    pub(super) fn drop_done(&mut self, index: &Index) {
        let mut rest = Self::default();
        for part in &self.parts {
            let is_done = match part.item {
                Some(Item::Message(message)) => !index.messages.contains_key(&message),
                Some(Item::Received(..) | Item::Outcome(_)) | None => false,
            };
            if !is_done {
                rest.push(*part, self.frame(part));
            }
        }
        rest.upto = self.upto;
        *self = rest;
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Takes the last records out again.
    pub(super) fn drop_last(&mut self, count: usize) {
        let left = self.parts.len().saturating_sub(count);
        if let Some(first) = self.parts.get(left) {
            self.bytes.truncate(first.offset);
            self.parts.truncate(left);
        }
    }

    /// Returns the frame of a message in this batch.
    pub(super) fn message(&self, message: StorePos) -> Option<&[u8]> {
        let is_it = |part: &&Part| part.item == Some(Item::Message(message));
        self.parts.iter().find(is_it).map(|part| self.frame(part))
    }

    /// Returns its messages that are not done, with what is known of them.
    pub(super) fn as_known(&self, index: &Index) -> Self {
        let mut known = Self::default();
        for part in &self.parts {
            if let Some(Item::Message(message)) = part.item {
                index.push_message(message, self.frame(part), &mut known);
            }
        }
        known.upto = self.upto;
        known
    }

    /// Returns the positions of the records that are about messages, with the messages.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (StorePos, StorePos)> {
        let parts = self.parts.iter();
        parts.filter_map(|part| Some((part.at, part.subject?)))
    }
}

impl Part {
    fn is_needed(&self, index: &Index) -> bool {
        self.subject
            .is_none_or(|subject| index.messages.contains_key(&subject))
    }
}

impl Index {
    /// Notes that a record is about to be written; false if it need not be.
    fn attempt(&mut self, part: &Part) -> bool {
        if let Some(Item::Message(at)) = part.item {
            self.messages.set_attempted(at);
        }
        part.is_needed(self)
    }
}
