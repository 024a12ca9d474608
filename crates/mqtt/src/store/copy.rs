//! Cleaning up: what is needed of the oldest segment is copied to the end, a part with each commit,
//! and the segment is removed.
//!
//! What is needed is known from the index: messages are read where they lie, and the rest is written
//! anew. So what was copied before the program began again is not gone through a second time, and one
//! record that cannot be read holds up no other.

use std::io;
use std::time::Duration;

use fiber::Instant;

use super::batch::Batch;
use super::commit::is_full;
use super::disk::DiskFile;
use super::error::Report;
use super::file::Inner;
use super::index::{Index, Item, Place, Plan, STATE_BYTES};
use super::open::is_passing;
use super::options::StoreOptions;
use super::pos::StorePos;
use super::record::{self, RECORD_BYTES_MAX, Record};
use super::segment::{HEAD_LEN, Head};
use super::state::State;

/// How much of the oldest segment is copied with each commit at least, in bytes.
const COPY_STEP_BYTES: usize = 64 * 1024;

/// How many times as much is copied as was written.
const COPY_PACE: usize = 4;

/// How often reading a message may fail again, each time after the disk has taken a commit, which may be
/// one without a record, and at least [`COPY_ATTEMPT_PAUSE_MIN`] after the time before, until its content
/// counts as damaged.
const COPY_ATTEMPTS_MAX: u32 = 64;

/// How long after one attempt another counts: commits may come so fast that trouble of a second would be
/// the end of a message.
pub(super) const COPY_ATTEMPT_PAUSE_MIN: Duration = Duration::from_secs(1);

/// How many segments are removed with each commit.
const REMOVALS_MAX: usize = 4;

impl Inner {
    /// Removes segments of which nothing is needed, and copies a part where there is too much that
    /// is not. A failure that is about that alone is reported and tried again another time.
    pub(super) fn clean_up(&self, written: usize) -> io::Result<()> {
        let mut budget = COPY_STEP_BYTES + COPY_PACE * written;
        let mut removals = 0;
        loop {
            let plan = self.state().plan(&self.options);
            let done = match plan {
                Plan::Nothing => return Ok(()),
                Plan::Remove(_) if removals == REMOVALS_MAX => return Ok(()),
                Plan::Remove(number) => {
                    removals += 1;
                    self.remove_segment(number)
                }
                Plan::CopyFrom(number) if budget == 0 || !self.has_room_for(number) => {
                    return Ok(());
                }
                Plan::CopyFrom(number) => {
                    let copied = self.copy_from(number);
                    copied.map(|bytes| budget = budget.saturating_sub(bytes))
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

    /// Whether what is needed of a segment may be copied. On a full disk only little is, of what the
    /// segment takes and of the reserve: that frees more than it takes.
    fn has_room_for(&self, number: u64) -> bool {
        let state = self.state();
        if !state.full {
            return true;
        }
        let takes = state.index.segment(number).map_or(0, |it| it.bytes);
        let needed = state.index.needed_bytes(number);
        needed <= takes.min(self.options.reserve_bytes) / 2
    }

    /// Copies the next part of what is needed of a segment; returns how much that was, or a lot where
    /// nothing can be done for now.
    fn copy_from(&self, number: u64) -> io::Result<usize> {
        let (mut copies, wanted) = {
            let state = self.state();
            let from = match state.copied {
                (of, from) if of == number => from,
                _ => StorePos::default(),
            };
            let copies = state.index.rest_of(number, COPY_STEP_BYTES);
            let room = COPY_STEP_BYTES.saturating_sub(copies.bytes.len());
            (copies, state.index.messages_of(number, from, room))
        };
        let (frames, unread) = if wanted.is_empty() {
            Default::default()
        } else {
            self.read_frames(number, &wanted)?
        };
        let is_end = wanted.is_empty();
        let next = wanted
            .last()
            .map_or_else(StorePos::default, |(at, _)| at.next());
        let count = {
            let state = &mut *self.state();
            for (at, place, frame) in &frames {
                state.unread.remove(at);
                // It may be done by now.
                if state.index.is_needed(Item::Message(*at), *place) {
                    state.index.push_message(*at, frame, &mut copies);
                }
            }
            state.copied = (number, next);
            state.give_up_unread(&unread, Instant::now());
            if copies.is_empty() {
                return Ok(if is_end { usize::MAX } else { 1 });
            }
            let count = copies.len();
            state.unsure = copies;
            count
        };
        match self.write_unsure(false) {
            Ok(written) => Ok(written.max(1)),
            Err(error) => {
                {
                    let mut state = self.state();
                    // What they are of is where it was; they must not hold up what is nowhere else.
                    state.unsure.drop_last(count);
                    state.copied = (number, StorePos::default());
                }
                if is_full(&error) {
                    self.note_full();
                }
                Err(error)
            }
        }
    }

    /// Reads messages of a segment; returns their frames, and which could not be read.
    fn read_frames(&self, number: u64, wanted: &[(StorePos, Place)]) -> io::Result<Frames> {
        let file = self.disk.open(&self.segment_path(number))?;
        let Ok(Head { salt, .. }) = Head::decode(&file.read_at(0, HEAD_LEN)?) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (mut frames, mut unread) = (Vec::new(), Vec::new());
        let mut rest = wanted;
        while let Some((_, first)) = rest.first() {
            // Those that lie close together are read at once.
            let mut end = first.offset;
            let is_close = |(_, place): &&(StorePos, Place)| {
                let place_end = place.offset + u64::from(place.len);
                let fits =
                    place.offset >= end && place_end - first.offset <= COPY_STEP_BYTES as u64;
                end = place_end;
                fits
            };
            let close = rest.iter().take_while(is_close).count().max(1);
            let (run, left) = rest.split_at(close);
            rest = left;
            let read = read_run(&*file, run).or_else(|error| {
                let is_alone = run.len() == 1 || is_passing(&error);
                if is_alone { Err(error) } else { Ok(Vec::new()) }
            });
            let bytes = match read {
                Ok(bytes) => bytes,
                Err(error) if is_passing(&error) => return Err(error),
                Err(_) => Vec::new(),
            };
            for (at, place) in run {
                let from = (place.offset - first.offset) as usize;
                let frame = match bytes.get(from..from + place.len as usize) {
                    Some(frame) => Ok(frame.to_vec()),
                    None => file.read_at(place.offset, place.len as usize),
                };
                match frame {
                    Ok(frame)
                        if record::frame_len(&frame) == Some(frame.len())
                            && record::is_intact(&frame, salt) =>
                    {
                        frames.push((*at, *place, frame));
                    }
                    Err(error) if is_passing(&error) => return Err(error),
                    Ok(_) | Err(_) => unread.push(*at),
                }
            }
        }
        Ok((frames, unread))
    }
}

/// A message that could not be read to be copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread {
    /// How often it could not again.
    attempts: u32,
    /// When that was counted last.
    counted: Instant,
}

/// The frames of messages with their places, and messages that could not be read.
type Frames = (Vec<(StorePos, Place, Vec<u8>)>, Vec<StorePos>);

/// Reads everything from the first of these to the last.
fn read_run(file: &dyn DiskFile, run: &[(StorePos, Place)]) -> io::Result<Vec<u8>> {
    let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else {
        return Ok(Vec::new());
    };
    let len = last.offset + u64::from(last.len) - first.offset;
    file.read_at(first.offset, len as usize)
}

impl State {
    fn plan(&self, options: &StoreOptions) -> Plan {
        let active = self.active.as_ref().map(|active| active.number);
        self.index.plan(active, self.durable, options.policy())
    }

    /// Whether cleaning up is to go on without anything to be written: a message that could not be read
    /// holds it up, or the segments have no room for one that would be taken otherwise. Who is refused
    /// for that appends nothing with which it would go on.
    pub(super) fn must_clean_up(&self, options: &StoreOptions) -> bool {
        match self.plan(options) {
            Plan::Nothing => false,
            Plan::CopyFrom(_) if !self.unread.is_empty() => true,
            Plan::Remove(_) | Plan::CopyFrom(_) => {
                let left = options.bytes_max.saturating_sub(self.index.live_bytes());
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                self.fills_the_disk(left.min(RECORD_BYTES_MAX), options)
            }
        }
    }

    /// Notes that messages could not be read. The content of one for which that happens again and again
    /// is damaged: it holds up the segment no longer.
    fn give_up_unread(&mut self, unread: &[StorePos], now: Instant) {
        self.unread
            .retain(|at, _| self.index.messages.contains_key(at));
        for at in unread {
            let Some(known) = self.unread.get_mut(at) else {
                let first = Unread {
                    attempts: 0,
                    counted: now,
                };
                self.unread.insert(*at, first);
                self.report(Report::CleanUpFailed(io::ErrorKind::InvalidData));
                continue;
            };
            if now - known.counted < COPY_ATTEMPT_PAUSE_MIN {
                continue;
            }
            known.attempts += 1;
            known.counted = now;
            if known.attempts >= COPY_ATTEMPTS_MAX {
                self.unread.remove(at);
                self.index.lose_content(*at);
                self.report(Report::MessageDamaged { message: *at });
            }
        }
    }
}

impl Index {
    /// Returns messages of a segment with their places, from a position on, so many bytes of them or
    /// one.
    fn messages_of(&self, segment: u64, from: StorePos, bytes: usize) -> Vec<(StorePos, Place)> {
        let mut found: Vec<(StorePos, Place)> = Vec::new();
        let mut len = 0;
        let places = self.messages.places(from);
        for (at, place) in places.filter(|(_, place)| place.segment == segment) {
            len += place.len as usize;
            if len > bytes && !found.is_empty() {
                break;
            }
            found.push((at, place));
        }
        found
    }

    /// Notes that the content of a message can be read no more.
    fn lose_content(&mut self, message: StorePos) {
        let before = self.messages.put(message, None);
        let place = before.and_then(|(place, _)| place);
        self.count(place.map(|place| place.segment), -1);
    }

    /// Returns what of a segment is needed beside messages, as it is to be written again; so many bytes
    /// of it, or a bit more.
    fn rest_of(&self, segment: u64, bytes: usize) -> Batch {
        let mut rest = Batch::default();
        let is_here = |of: &Option<u64>| *of == Some(segment);
        let received = self.received.iter().filter(|(_, (_, of))| is_here(of));
        let received = received.map(|(packet_id, (at, _))| (*at, Record::Received(*packet_id)));
        let outcomes = self.outcomes.iter().filter(|(_, it)| is_here(&it.segment));
        let outcomes = outcomes.map(|(at, it)| {
            let (message, cause, key) = (it.message, it.cause, Some(it.key));
            let done = Record::Done {
                message,
                cause,
                key,
            };
            (*at, done)
        });
        for (at, record) in received.chain(outcomes) {
            if rest.bytes.len() >= bytes {
                break;
            }
            let mut frame = Vec::new();
            record.encode(at, &mut frame);
            rest.push_frame(at, &frame, Item::of(at, &record), record.subject(at));
        }
        rest
    }

    /// Returns how many bytes of a segment are needed, about.
    fn needed_bytes(&self, segment: u64) -> u64 {
        let places = self.messages.places(StorePos::default());
        let here = places.filter(|(_, place)| place.segment == segment);
        let messages: u64 = here
            .map(|(_, place)| u64::from(place.len) + STATE_BYTES)
            .sum();
        messages + self.rest_of(segment, usize::MAX).bytes.len() as u64
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
        if let Some((packet_id, assigned)) = message.flight.assigned {
            let message = at;
            to.push_record(assigned, &Record::Assigned { message, packet_id });
        }
        if let Some(recorded) = message.flight.recorded {
            to.push_record(recorded, &Record::Recorded { message: at });
        }
    }
}
