//! The store on disk: its handle.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, Stopped};
use safe_rt::Endpoint;

use super::Store;
use super::commit::is_full;
use super::copy::COPY_ATTEMPT_PAUSE_MIN;
use super::disk::{Disk, DiskFile, Real};
use super::error::{ClaimError, OpenError, Refused, Report};
use super::index::Place;
use super::key::Key;
use super::keys::KeyState;
use super::open;
use super::options::{Level, StoreOptions};
use super::pos::StorePos;
use super::record::{self, MessageRecord, Record};
use super::recovered::{Recovered, Stored, StoredMessage};
use super::segment::{HEAD_LEN, Head};
use super::state::State;

/// How long [`Store::run`] waits after a commit that failed, and at most before it looks whether a full
/// disk has room.
const COMMIT_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How many bytes wait to be written when [`Store::run`] no longer waits for more.
const LINGER_BYTES_MAX: usize = super::batch::BATCH_BYTES_MAX / 2;

/// A store in a folder on disk. Clones share it; the folder is free again when the last is dropped.
///
/// One fiber writes, in [`Store::run`] or with [`Store::commit`]; the others append and wait.
///
/// Records wait for others for the time that the options say, unless somebody
/// [waits](File::wait_durable) for them. A commit that fails is tried again after a second.
#[derive(Clone)]
pub struct File(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub(super) disk: Rc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) options: StoreOptions,
    state: RefCell<State>,
    /// Locks the folder while it is open.
    _lock: Rc<dyn DiskFile>,
    /// A client has it.
    claimed: Cell<bool>,
    /// A fiber is committing.
    busy: Cell<bool>,
    /// Why the last commit failed, if it did.
    failure: Cell<Option<io::ErrorKind>>,
    /// Set when none is.
    idle: Event,
    /// Set when something waits to be written.
    work: Event,
    /// Set when somebody waits for that.
    hurry: Event,
    /// Set for a moment when a commit ended.
    advanced: Event,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("folder", &self.0.folder)
            .finish_non_exhaustive()
    }
}

/// Marks that a fiber is committing.
struct Turn<'a>(&'a Inner);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(mut state) = self.0.state.try_borrow_mut()
        {
            // What the file holds now is anybody's guess.
            state.abandon();
        }
        self.0.busy.set(false);
        self.0.idle.set();
    }
}

impl File {
    /// Opens the store in a folder, which is made if it is not there. Yields while everything in it
    /// is read.
    ///
    /// A torn end, damage and files of a newer program are put right or aside and
    /// [reported](Store::next_report). If the session in it is that of another client or broker, its
    /// messages are queued again and its identifiers forgotten.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if the store is open elsewhere, or what the system answered.
    pub fn open(folder: impl Into<PathBuf>, options: StoreOptions) -> Result<Self, OpenError> {
        Self::open_on(Rc::new(Real), folder.into(), options)
    }

    pub(super) fn open_on(
        disk: Rc<dyn Disk>,
        folder: PathBuf,
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        let lock = open::lock(&*disk, &folder)?;
        let state = open::recover(&*disk, &folder, &options)?;
        let store = Self(Rc::new(Inner {
            disk,
            folder,
            options,
            state: RefCell::new(state),
            _lock: lock,
            claimed: Cell::new(false),
            busy: Cell::new(false),
            failure: Cell::new(None),
            idle: Event::new(),
            work: Event::new(),
            hurry: Event::new(),
            advanced: Event::new(),
        }));
        if !store.0.state().unsure.is_empty() {
            store.0.work.set();
        }
        if let Err(error) = store.0.make_reserve() {
            let mut state = store.0.state();
            if is_full(&error) {
                state.full = true;
                state.report(Report::DiskFull);
            } else if let Some(stopped) = fiber::cause(&error) {
                return Err(OpenError::Io(stopped.into()));
            } else {
                // There is less of a reserve, and no more is amiss.
                state.report(Report::WriteFailed(error.kind()));
            }
        }
        Ok(store)
    }

    /// Waits until a record is durable, which must be brought about by another fiber. Yields until
    /// then; the records are written without waiting for others.
    ///
    /// # Errors
    /// [`Stopped`] when the wait ended early.
    pub fn wait_durable(&self, pos: StorePos) -> Result<(), Stopped> {
        while !self.is_durable(pos) {
            // What the disk has no room for is not there the sooner.
            if pos > self.durable() {
                self.hurry();
            }
            self.0.advanced.wait()?;
        }
        Ok(())
    }

    /// How much the segments take on the disk, in bytes. Does not yield.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.0.state().index.disk_bytes()
    }
}

impl Store for File {
    fn claim(&self, client_id: &str, endpoint: Option<&Endpoint>) -> Result<(), ClaimError> {
        self.0.options.identity.check(client_id, endpoint)?;
        if self.0.claimed.replace(true) {
            return Err(ClaimError::InUse);
        }
        Ok(())
    }

    fn release(&self) {
        self.0.claimed.set(false);
    }

    fn is_claimed(&self) -> bool {
        self.0.claimed.get()
    }

    fn append(&self, record: &Record<'_>) -> Result<StorePos, Refused> {
        let pending = {
            let mut state = self.0.state();
            let pos = state.append(record, &self.0.options);
            pos.map(|pos| (pos, state.pending.bytes()))
        };
        if matches!(pending, Err(Refused::Pending { .. }))
            || pending.is_ok_and(|(_, bytes)| bytes > LINGER_BYTES_MAX)
        {
            self.0.hurry.set();
        }
        // A refusal that a commit does not change is no work: who waits for room would ask for ever.
        if matches!(pending, Ok(_) | Err(Refused::Pending { .. })) {
            self.0.work.set();
        }
        pending.map(|(pos, _)| pos)
    }

    fn admits(
        &self,
        message: &MessageRecord<'_>,
        others: &mut dyn Iterator<Item = StorePos>,
    ) -> Result<usize, Refused> {
        let state = self.0.state();
        state.admits(message, others, &self.0.options)
    }

    fn appended(&self) -> StorePos {
        self.0.state().index.last()
    }

    fn durable(&self) -> StorePos {
        self.0.state().durable
    }

    fn is_durable(&self, pos: StorePos) -> bool {
        self.0.state().is_durable(pos)
    }

    fn commit(&self) -> io::Result<()> {
        let inner = &self.0;
        if inner.busy.replace(true) {
            // Who asks again and again must not keep the other from it.
            return match inner.idle.wait() {
                Ok(()) | Err(Stopped::NoRuntime) => Ok(()),
                Err(stopped) => Err(stopped.into()),
            };
        }
        inner.idle.clear();
        let turn = Turn(inner);
        let committed = inner.commit();
        match &committed {
            Ok(()) => inner.failure.set(None),
            Err(error) if fiber::cause(error).is_none() => inner.failure.set(Some(error.kind())),
            Err(_) => {}
        }
        inner.advanced.set();
        inner.advanced.clear();
        let left = {
            let state = inner.state();
            state.pending.bytes() > 0 || !state.unsure.is_empty()
        };
        if left {
            inner.work.set();
        }
        drop(turn);
        committed
    }

    fn run(&self) -> Result<(), Stopped> {
        let inner = &self.0;
        loop {
            match inner.looks_again_in() {
                Some(pause) => {
                    if let Ok(waited) = fiber::timeout(pause, || inner.work.wait()) {
                        waited?;
                    }
                }
                None => inner.work.wait()?,
            }
            let linger = inner.options.linger;
            if !linger.is_zero() && !inner.hurry.is_set() {
                // An error is that nobody hurried.
                if let Ok(waited) = fiber::timeout(linger, || inner.hurry.wait()) {
                    waited?;
                }
            }
            inner.work.clear();
            inner.hurry.clear();
            let committed = self.commit();
            if let Err(error) = &committed
                && let Some(stopped) = fiber::cause(error)
            {
                return Err(stopped);
            }
            if committed.is_err() {
                inner.work.set();
                fiber::sleep(COMMIT_RETRY_PAUSE)?;
            }
        }
    }

    fn hurry(&self) {
        self.0.hurry.set();
        self.0.work.set();
    }

    fn wait_commit(&self) -> Result<(), Stopped> {
        self.0.advanced.wait()
    }

    fn failure(&self) -> Option<io::ErrorKind> {
        let is_full = || self.0.state().full.then_some(io::ErrorKind::StorageFull);
        self.0.failure.get().or_else(is_full)
    }

    fn level(&self) -> Option<Level> {
        Some(self.0.options.level)
    }

    fn recovered(&self) -> Recovered {
        Recovered::of(&self.0.state().index)
    }

    fn recovered_in_part(&self) -> Recovered {
        Recovered::in_part(&self.0.state().index)
    }

    fn queued(&self, from: StorePos, count: usize) -> Vec<Stored> {
        Stored::next_of(&self.0.state().index, from, count)
    }

    fn read(&self, message: StorePos) -> io::Result<Option<StoredMessage>> {
        let place = {
            let state = self.0.state();
            let Some(known) = state.index.messages.get(&message) else {
                return Ok(None);
            };
            match (known.place, state.unwritten(message)) {
                // What lies in a file that was given up comes from memory, too.
                (_, Some(frame)) => {
                    return Ok(StoredMessage::decode(message, record::body(frame)));
                }
                (Some(place), None) => place,
                (None, None) => return Err(io::ErrorKind::InvalidData.into()),
            }
        };
        match self.0.read_at(message, place) {
            Err(error) if fiber::cause(&error).is_some() => Err(error),
            // It may have been done, or copied, and the file removed, while this fiber waited.
            Ok(None) | Err(_) if self.0.has_moved(message, place) => self.read(message),
            Ok(None) => Err(io::ErrorKind::InvalidData.into()),
            read => read,
        }
    }

    fn key(&self, key: &Key) -> Option<KeyState> {
        self.0.state().index.key(key)
    }

    fn next_report(&self) -> Option<Report> {
        self.0.state().reports.pop_front()
    }
}

impl Inner {
    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// How long [`Store::run`] waits at most for something to be written.
    fn looks_again_in(&self) -> Option<Duration> {
        let state = self.state();
        if state.must_clean_up(&self.options) {
            Some(COPY_ATTEMPT_PAUSE_MIN)
        } else {
            // Room may come without anything to be written.
            state.full.then_some(COMMIT_RETRY_PAUSE)
        }
    }

    pub(super) fn segment_path(&self, number: u64) -> PathBuf {
        segment_path(&self.folder, number)
    }

    /// Reads a message where it lies; `None` if what lies there is something else.
    fn read_at(&self, message: StorePos, place: Place) -> io::Result<Option<StoredMessage>> {
        let file = self.disk.open(&self.segment_path(place.segment))?;
        let head = Head::decode(&file.read_at(0, HEAD_LEN)?);
        let frame = file.read_at(place.offset, place.len as usize)?;
        let content = match head {
            Ok(head) if record::frame_len(&frame) == Some(frame.len()) => {
                record::is_intact(&frame, head.salt)
                    .then(|| StoredMessage::decode(message, record::body(&frame)))
            }
            Ok(_) | Err(_) => None,
        };
        Ok(content.flatten())
    }

    fn has_moved(&self, message: StorePos, place: Place) -> bool {
        let state = self.state();
        state.index.messages.place(message) != Some(place)
    }
}

pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(segment_name(number) + ".log")
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:016x}")
}
