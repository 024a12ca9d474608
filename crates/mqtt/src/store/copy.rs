//! Cleaning up: what is needed of the oldest segment is copied to the end, a part with each commit,
//! and the segment is removed.

use std::io;

use super::batch::Batch;
use super::commit::is_full;
use super::error::Report;
use super::file::Inner;
use super::index::{Index, Item, Place, Plan};
use super::pos::StorePos;
use super::record::{self, Record};
use super::segment::{Found, HEAD_LEN, Head, Scan};

/// How much of the oldest segment is looked through with each commit at least, in bytes.
const COPY_STEP_BYTES: usize = 64 * 1024;

/// How many times as much is looked through as was written: it may be mostly needed.
const COPY_PACE: usize = 4;

/// How many segments are removed with each commit.
const REMOVALS_MAX: usize = 4;

impl Inner {
    /// Removes segments of which nothing is needed, and copies a part where there is too much that
    /// is not. A failure that is about that alone is reported and tried again another time.
    pub(super) fn clean_up(&self, written: usize) -> io::Result<()> {
        let mut budget = COPY_STEP_BYTES + COPY_PACE * written;
        let mut removals = 0;
        loop {
            let plan = {
                let state = self.state();
                let active = state.active.as_ref().map(|active| active.number);
                let policy = self.options.policy();
                state.index.plan(active, state.durable, policy)
            };
            let done = match plan {
                Plan::Nothing => return Ok(()),
                Plan::Remove(_) if removals == REMOVALS_MAX => return Ok(()),
                Plan::Remove(number) => {
                    removals += 1;
                    self.remove_segment(number)
                }
                Plan::CopyFrom(_) if budget == 0 || self.state().full => return Ok(()),
                Plan::CopyFrom(number) => {
                    let looked_through = self.copy_from(number);
                    looked_through.map(|bytes| budget = budget.saturating_sub(bytes))
                }
            };
            match done {
                Ok(()) => {}
                Err(error) if fiber::cause(&error).is_some() => return Err(error),
                Err(error) => {
                    self.state().report(Report::CleanUpFailed(error.kind()));
                    return Ok(());
                }
            }
        }
    }

    /// Removes the oldest segment, once the disk is sure of everything that was copied from it.
    ///
    /// The disk is sure of each removal before the next: a segment must not come back when one is gone
    /// that says what of it is over.
    fn remove_segment(&self, number: u64) -> io::Result<()> {
        self.sync_active()?;
        self.sync_names()?;
        match self.disk.remove(&self.segment_path(number)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        {
            let mut state = self.state();
            state.index.remove_segment(number);
            state.folder_dirty = true;
        }
        self.sync_names()
    }

    /// Copies what is needed of the next part of a segment; returns how long that part was.
    fn copy_from(&self, number: u64) -> io::Result<usize> {
        let (offset, end) = {
            let state = self.state();
            let end = state.index.segment(number).map_or(0, |it| it.bytes);
            match state.copied {
                (of, offset) if of == number && offset < end => (offset, end),
                _ => (HEAD_LEN as u64, end),
            }
        };
        let file = self.disk.open(&self.segment_path(number))?;
        let Ok(Head { salt, .. }) = Head::decode(&file.read_at(0, HEAD_LEN)?) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut len = COPY_STEP_BYTES.min((end - offset) as usize);
        loop {
            let bytes = file.read_at(offset, len)?;
            let is_last = offset + bytes.len() as u64 >= end || bytes.len() < len;
            let (looked_through, copies) = {
                let state = &mut *self.state();
                let mut copies = Batch::default();
                let looked_through = state.index.needed_of(
                    &bytes,
                    Place {
                        segment: number,
                        offset,
                        len: 0,
                    },
                    salt,
                    &mut copies,
                );
                let next = if is_last { bytes.len() } else { looked_through };
                if next == 0 && !is_last {
                    // A record that is longer than this part.
                    len = (2 * len).min((end - offset) as usize);
                    continue;
                }
                state.copied = (number, offset + next as u64);
                let count = copies.len();
                state.unsure = copies;
                (next, count)
            };
            if let Err(error) = self.write_unsure(false) {
                {
                    let mut state = self.state();
                    // What they are of is where it was; they must not hold up what is nowhere else.
                    state.unsure.drop_last(copies);
                    state.copied = (number, offset);
                }
                if is_full(&error) {
                    self.note_full();
                }
                return Err(error);
            }
            return Ok(looked_through.max(1));
        }
    }
}

impl Index {
    /// Copies what is needed of a part of a segment; returns where its last whole record ends.
    fn needed_of(&self, bytes: &[u8], part: Place, salt: u32, to: &mut Batch) -> usize {
        let mut end = 0;
        for found in Scan::new(bytes, 0, salt) {
            let (offset, frame) = match found {
                Found::Frame { offset, frame } => (offset, frame),
                Found::Gap { .. } => continue,
                Found::Torn { .. } => break,
            };
            end = offset + frame.len();
            let place = Place {
                offset: part.offset + offset as u64,
                len: frame.len() as u32,
                ..part
            };
            if let Some((at, record)) = Record::decode(record::body(frame)) {
                self.copy_if_needed(at, &record, frame, place, to);
            }
        }
        end
    }

    fn copy_if_needed(
        &self,
        at: StorePos,
        record: &Record<'_>,
        frame: &[u8],
        place: Place,
        to: &mut Batch,
    ) {
        // What is needed of other records goes with its message. What they end is gone: it was before
        // them, and nothing is older than this segment.
        let Some(item) = Item::of(at, record).filter(|item| self.is_needed(*item, place)) else {
            return;
        };
        match item {
            Item::Message(at) => self.push_message(at, frame, to),
            Item::Received(..) | Item::Outcome(_) => {
                to.push_frame(at, frame, Some(item), record.subject(at));
            }
        }
    }

    /// Appends a message and what is known of it, unless it is done.
    pub(super) fn push_message(&self, at: StorePos, frame: &[u8], to: &mut Batch) {
        let Some(message) = self.messages.get(&at) else {
            return;
        };
        to.push_frame(at, frame, Some(Item::Message(at)), Some(at));
        if message.maybe_sent {
            to.push_record(at, &Record::MaybeSent { message: at });
        }
        if let Some((packet_id, assigned)) = message.assigned {
            let message = at;
            to.push_record(assigned, &Record::Assigned { message, packet_id });
        }
        if let Some(recorded) = message.recorded {
            to.push_record(recorded, &Record::Recorded { message: at });
        }
    }
}
