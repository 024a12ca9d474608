//! Writing: from the records that wait to what the disk is sure of.
//!
//! No file is synced again once a sync of it has failed, and none is written again once a write to
//! it has failed: what it holds behind the last sure byte is anybody's guess. The next attempt goes
//! to a new file, with everything that was not sure.

use std::io;
use std::rc::Rc;

use super::batch::Batch;
use super::disk::DiskFile;
use super::error::Report;
use super::file::Inner;
use super::options::Level;
use super::segment::Head;
use super::state::Active;

/// How much is written at [`Level::Flushed`] before the disk is asked to be sure of it; as much is
/// kept in memory until then.
const UNSYNCED_BYTES_MAX: usize = 256 * 1024;

/// How much of the reserve is written at once.
const RESERVE_STEP_BYTES: u64 = 64 * 1024;

/// The file that is removed when the disk is full.
const RESERVE: &str = "reserve";

/// Where a batch goes.
struct Slot {
    file: Rc<dyn DiskFile>,
    number: u64,
    salt: u32,
    start: u64,
    /// The segment holds nothing else.
    is_first: bool,
}

impl Inner {
    /// Writes the next batch, cleans up, and sees whether a full disk has room again.
    pub(super) fn commit(&self) -> io::Result<()> {
        let written = self.write_next()?;
        self.clean_up(written)?;
        let is_full = self.state().full;
        if is_full && self.regain_room() {
            self.write_next()?;
        }
        Ok(())
    }

    /// Writes what was not sure, or else what waits; returns how many bytes that were.
    fn write_next(&self) -> io::Result<usize> {
        {
            let state = &mut *self.state();
            // Messages that are done by now would take room for nothing.
            state.unsure.drop_done(&state.index);
            if state.unsure.is_empty() {
                state.unsure = state.pending.take(&mut state.index);
            }
            if state.full {
                state.park();
            }
        }
        self.write_unsure(true)
    }

    /// Writes what is taken to be written, with a second attempt where that can help. Where the disk
    /// is full, into the reserve, if that may be used.
    pub(super) fn write_unsure(&self, may_use_reserve: bool) -> io::Result<usize> {
        let mut has_failed = false;
        loop {
            let mut batch = {
                let state = self.state();
                if state.unsure.is_empty() {
                    let upto = state.unsure.upto;
                    if upto > state.durable {
                        drop(state);
                        // Nothing was written; what was found may lie in a file without a sure name.
                        self.sync_names()?;
                        self.state().advance(upto);
                    }
                    return Ok(0);
                }
                state.unsure.clone()
            };
            let error = match self.write(&mut batch) {
                Ok(()) => return Ok(batch.bytes.len()),
                Err(error) => error,
            };
            self.give_up_active();
            let is_stopped = fiber::cause(&error).is_some();
            if may_use_reserve && is_full(&error) && self.use_reserve() {
                continue;
            }
            if is_stopped || has_failed {
                return Err(error);
            }
            has_failed = true;
        }
    }

    fn write(&self, batch: &mut Batch) -> io::Result<()> {
        let slot = self.slot(batch.bytes.len() as u64)?;
        batch.seal(slot.salt);
        if let Err(error) = slot.file.write_at(slot.start, batch.bytes.clone()) {
            self.report_failed_write(&error);
            self.take_back(&slot);
            // What was written before is fine and need not be written again.
            let _ = self.sync_active();
            return Err(error);
        }
        let end = slot.start + batch.bytes.len() as u64;
        let is_due = {
            let mut state = self.state();
            state.index.set_len(slot.number, end);
            let unsynced = state.active.as_mut().map_or(0, |active| {
                active.len = end;
                active.unsynced.bytes.len()
            });
            self.options.level == Level::Synced || unsynced + batch.bytes.len() > UNSYNCED_BYTES_MAX
        };
        if is_due && let Err(error) = self.sync(&*slot.file) {
            // The system may show it to a later opening although the disk does not have it.
            if self.options.level == Level::Synced || slot.is_first {
                self.take_back(&slot);
            }
            return Err(error);
        }
        let state = &mut *self.state();
        batch.settle(&mut state.index, slot.number, slot.start);
        if let Some(active) = &mut state.active {
            if is_due {
                active.unsynced = Batch::default();
            } else {
                active.unsynced.extend(batch);
            }
        }
        state.unsure = Batch::default();
        state.advance(batch.upto);
        Ok(())
    }

    /// Takes back what was written last, which is to be written to another file; a segment that holds
    /// nothing else goes, so that attempts do not fill the disk with files.
    fn take_back(&self, slot: &Slot) {
        if slot.is_first && self.disk.remove(&self.segment_path(slot.number)).is_ok() {
            let mut state = self.state();
            state.active = None;
            state.index.remove_segment(slot.number);
            state.folder_dirty = true;
            return;
        }
        let _ = slot.file.set_size(slot.start);
        self.state().index.set_len(slot.number, slot.start);
    }

    /// Makes sure of a segment, and of its name.
    fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        let synced = file.sync().and_then(|()| self.sync_names());
        synced.inspect_err(|error| {
            if fiber::cause(error).is_none() {
                self.state().report(Report::SyncFailed(error.kind()));
            }
        })
    }

    fn report_failed_write(&self, error: &io::Error) {
        if fiber::cause(error).is_none() && !is_full(error) {
            self.state().report(Report::WriteFailed(error.kind()));
        }
    }

    /// Makes sure of all names in the folder.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        if self.state().folder_dirty {
            self.disk.sync_dir(&self.folder)?;
            self.state().folder_dirty = false;
        }
        Ok(())
    }

    /// Makes sure of everything that was written.
    pub(super) fn sync_active(&self) -> io::Result<()> {
        let file = match &self.state().active {
            Some(active) if !active.unsynced.is_empty() => Rc::clone(&active.file),
            Some(_) | None => return Ok(()),
        };
        match self.sync(&*file) {
            Ok(()) => {
                if let Some(active) = &mut self.state().active {
                    active.unsynced = Batch::default();
                }
                Ok(())
            }
            Err(error) => {
                self.give_up_active();
                Err(error)
            }
        }
    }

    /// Returns where the next `len` bytes go: behind the last ones, or into a new segment.
    fn slot(&self, len: u64) -> io::Result<Slot> {
        let is_full = {
            let state = self.state();
            match &state.active {
                Some(active)
                    if active.len == active.head_len
                        || active.len + len <= self.options.segment_bytes =>
                {
                    return Ok(Slot::behind(active));
                }
                Some(_) => true,
                None => false,
            }
        };
        if is_full {
            self.sync_active()?;
            self.state().active = None;
        }
        let salt = self.disk.random();
        let (number, mut head) = {
            let mut state = self.state();
            let number = state.next_number;
            state.next_number += 1;
            (number, state.first_records(&self.options))
        };
        head.seal(salt);
        let mut bytes = Vec::new();
        Head { number, salt }.encode(&mut bytes);
        bytes.extend_from_slice(&head.bytes);
        let head_len = bytes.len() as u64;

        let path = self.segment_path(number);
        self.state().folder_dirty = true;
        let made = self.disk.create(&path);
        let written = made.and_then(|file| file.write_at(0, bytes).map(|()| file));
        let file = written.inspect_err(|error| {
            self.report_failed_write(error);
            // Should it stay, the next opening removes it.
            let _ = self.disk.remove(&path);
        })?;
        let state = &mut *self.state();
        state.index.set_len(number, head_len);
        let active = Active {
            number,
            salt,
            file,
            len: head_len,
            head_len,
            unsynced: Batch::default(),
        };
        let slot = Slot::behind(&active);
        state.active = Some(active);
        Ok(slot)
    }

    fn give_up_active(&self) {
        self.state().abandon();
    }

    /// Gives the reserve to the records about stored messages; false if there is none any more.
    fn use_reserve(&self) -> bool {
        let is_news = self.note_full();
        self.state().folder_dirty = true;
        // One that was begun when there was hardly any room counts too.
        let has_removed = self.disk.remove(&self.folder.join(RESERVE)).is_ok();
        is_news || has_removed
    }

    /// Notes that the disk is full; false if that is known.
    pub(super) fn note_full(&self) -> bool {
        let state = &mut *self.state();
        state.park();
        let is_news = !std::mem::replace(&mut state.full, true);
        if is_news {
            state.report(Report::DiskFull);
        }
        is_news
    }

    /// Tells whether a disk that was full has room; then messages are written again.
    fn regain_room(&self) -> bool {
        let hoped_for = self.options.reserve_bytes.saturating_mul(2);
        let hoped_for = hoped_for.saturating_add(self.options.segment_bytes);
        let has_room = self
            .disk
            .free_space(&self.folder)
            .is_ok_and(|free| free >= hoped_for);
        if !has_room || self.make_reserve().is_err() {
            return false;
        }
        let mut state = self.state();
        state.full = false;
        state.report(Report::DiskHasRoom);
        state.unpark();
        true
    }

    /// Sets the reserve aside.
    pub(super) fn make_reserve(&self) -> io::Result<()> {
        let file = self.disk.create(&self.folder.join(RESERVE))?;
        let mut size = file.size()?;
        if size >= self.options.reserve_bytes {
            return Ok(());
        }
        while size < self.options.reserve_bytes {
            let step = RESERVE_STEP_BYTES.min(self.options.reserve_bytes - size);
            file.write_at(size, vec![0; step as usize])?;
            size += step;
        }
        file.sync()
    }
}

impl Slot {
    fn behind(active: &Active) -> Self {
        Self {
            file: Rc::clone(&active.file),
            number: active.number,
            salt: active.salt,
            start: active.len,
            is_first: active.len == active.head_len,
        }
    }
}

/// Tells whether the disk is full, or what of it the program may take.
pub(super) fn is_full(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
