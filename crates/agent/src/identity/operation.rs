//! One change of what is kept: no other one of this program, and none of another, is at it meanwhile.

use std::io;
use std::path::Path;

use fiber::MutexGuard;
use fiber::fs::{self, File};

use super::error::StoreError;
use super::finding::Opened;
use super::journal::Journal;
use super::slot::{self, Loaded};
use super::state::{Slot, State, Step};
use super::{Found, LOCK, ROOM_BYTES_MIN, Shared, Store, durable, keeping, trash};

/// The right to change what is kept, for as long as it is there. Each step is checked and made under
/// it.
pub(super) struct Operation<'a> {
    pub(super) shared: &'a Shared,
    journal: MutexGuard<'a, Journal>,
}

impl Store {
    /// Waits for other operations, and makes sure that the disk says what this program goes by.
    pub(super) fn operation(&self) -> Result<Operation<'_>, StoreError> {
        let journal = self.0.journal.lock().map_err(StoreError::Locked)?;
        let mut operation = Operation {
            shared: &self.0,
            journal,
        };
        if operation.shared.lock.borrow().is_none() {
            operation.take_over()?;
        }
        if operation.journal.is_unsure() {
            // What the disk has may be ahead: nothing in a slot is changed before it has not.
            operation.write(operation.state())?;
        }
        Ok(operation)
    }
}

impl Operation<'_> {
    pub(super) fn home(&self) -> &Path {
        &self.shared.home
    }

    pub(super) fn state(&self) -> State {
        self.shared.state.borrow().clone()
    }

    pub(super) fn step(&self) -> Result<Step, StoreError> {
        let step = self.shared.state.borrow().candidate.clone();
        step.ok_or(StoreError::Step { found: "none" })
    }

    pub(super) fn candidate_slot(&self) -> Slot {
        self.shared.state.borrow().candidate_slot()
    }

    /// Changes the state: writes the record, and then goes by it.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let mut state = self.state();
        change(&mut state);
        if state == *self.shared.state.borrow() && self.shared.found.get() == Found::Known {
            return Ok(());
        }
        self.write(state)
    }

    /// Writes the record, whether it says something new or not.
    pub(super) fn write(&mut self, mut state: State) -> Result<(), StoreError> {
        state.boot_id = boot_id().or(state.boot_id);
        self.journal.write(&state)?;
        self.shared.state.replace(state);
        Ok(())
    }

    /// Fails where there is no room for what an identity needs.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        let found = fs::free_space(self.home()).map_err(StoreError::io(self.home()))?;
        if found < ROOM_BYTES_MIN {
            return Err(StoreError::NoRoom { found });
        }
        Ok(())
    }

    /// Makes the slot of the next identity, after what was in it has gone to the trash.
    pub(super) fn empty_slot(&mut self) -> Result<Slot, StoreError> {
        if let Ok(step) = self.step() {
            return Err(StoreError::Step { found: step.name() });
        }
        if self.shared.state.borrow().given_up {
            return Err(StoreError::GivenUp);
        }
        self.check_room()?;
        self.settle_fallback()?;
        let slot = self.candidate_slot();
        trash::take(self.home(), slot)?;
        let folder = slot::folder(self.home(), slot);
        durable::make_folder(&folder).map_err(StoreError::io(folder))?;
        self.shared.pending.replace(None);
        self.shared.refused_at.set(None);
        Ok(slot)
    }

    /// Where the identity before is used because the one in use could not be read: goes back to that
    /// if it can be read now, and else gives its slot away.
    fn settle_fallback(&mut self) -> Result<(), StoreError> {
        let (noted, used) = (
            self.shared.state.borrow().active,
            self.shared.active.borrow().as_ref().map(Loaded::slot),
        );
        let (Some(noted), Some(used)) = (noted, used) else {
            return Ok(());
        };
        if noted == used {
            return Ok(());
        }
        match slot::load(self.home(), noted) {
            Ok(loaded) => drop(self.shared.active.replace(Some(loaded))),
            Err(error) => {
                log::warn!("the identity that was in use is given up for {used}: {error}");
                self.update(|state| state.active = Some(used))?;
            }
        }
        self.shared.found.set(Found::Known);
        Ok(())
    }

    /// Locks the state folder, and reads it anew: others may have been at it.
    fn take_over(&mut self) -> Result<(), StoreError> {
        let lock = lock(&self.shared.folder, self.home())?;
        let (journal, state) = Journal::open(&self.shared.folder)?;
        let opened = Opened::read(self.home(), state)?;
        *self.journal = journal;
        self.shared.state.replace(opened.state);
        self.shared.active.replace(opened.active);
        self.shared.found.set(opened.found);
        self.shared.lock.replace(Some(lock));
        self.settle();
        Ok(())
    }

    /// Finishes what an end of the program or a loss of power left. What fails is done at the next
    /// start.
    pub(super) fn settle(&mut self) {
        let is_new = self.journal.is_new() && self.state() != State::default();
        if is_new
            && self.shared.found.get() != Found::Fallback
            && let Err(error) = self.write(self.state())
        {
            log::warn!("the state that was found again is not kept: {error}");
            return;
        }
        let state = self.state();
        if state.given_up
            && let Err(error) = keeping::finish_giving_up(self.home())
        {
            log::warn!("an identity that was given up is still in its slot: {error}");
        }
        if let Some(active) = state.active {
            slot::tidy_up(self.home(), active);
        }
    }
}

/// Makes sure that nobody else can read what is secret.
fn keep_private(home: &Path) {
    durable::keep_private(home);
    let claim = home.join(super::claim::CLAIM);
    let keys = [Slot::A, Slot::B].map(|slot| slot::folder(home, slot).join(slot::KEY));
    for path in keys.iter().chain([&claim]) {
        durable::keep_private(path);
    }
}

/// Makes the folders, and locks them for this program.
pub(super) fn lock(folder: &Path, home: &Path) -> Result<File, StoreError> {
    let path = home.join(LOCK);
    let locked = make_folders(folder, home).and_then(|()| {
        keep_private(home);
        let file = File::create(&path)?;
        let is_ours = file.try_lock()?;
        Ok((file, is_ours))
    });
    match locked {
        Ok((file, true)) => Ok(file),
        Ok((_, false)) => Err(StoreError::InUse {
            path: folder.to_owned(),
        }),
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

/// Makes the state folder and those above it, and each of them sure.
fn make_folders(folder: &Path, home: &Path) -> io::Result<()> {
    let above: Vec<&Path> = folder.ancestors().skip(1).collect();
    for path in above.into_iter().rev() {
        if !path.as_os_str().is_empty() && !durable::exists(path) {
            durable::make_folder(path)?;
        }
    }
    durable::make_folder(folder)?;
    durable::make_folder(home)
}

/// Which boot this is; nothing where the system does not say.
fn boot_id() -> Option<String> {
    let bytes = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let id = String::from_utf8(bytes).ok()?;
    Some(id.trim().to_owned()).filter(|id| id.len() == 36)
}
