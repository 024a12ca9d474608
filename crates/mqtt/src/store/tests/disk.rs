//! A disk that fails on demand. It can be full, fail to sync, and lose power at any call: then it has
//! what was synced, of the writes since then a first part, and of the changes of names a first part.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Random;
use crate::store::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Inode {
    /// As programs see it.
    now: Vec<u8>,
    synced: Vec<u8>,
    /// What a power cut may lose, in order.
    unsynced: Vec<Change>,
    locked: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[start..end].copy_from_slice(bytes);
            }
            Self::Len(len) => to.resize(*len as usize, 0),
        }
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Made(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Made(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Renamed(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Removed(path) => drop(names.remove(path)),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The machine is off from here on.
    Off,
    /// The call fails, a write after a part of it; what was to be synced is lost.
    Fails,
}

type Hook = Rc<dyn Fn()>;

/// What goes wrong at each call of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// Files do not sync.
    pub(super) no_sync: bool,
    /// This system error answers whoever opens a segment.
    pub(super) open: Option<i32>,
    /// Names in this folder cannot be made sure of.
    pub(super) no_names: Option<&'static str>,
    /// It is a quota that is used up.
    pub(super) is_quota: bool,
}

/// A machine; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Machine {
    state: Rc<RefCell<State>>,
    calls: Rc<Cell<usize>>,
    syncs: Rc<Cell<usize>>,
    written: Rc<Cell<u64>>,
    faults: Rc<RefCell<Vec<(usize, Fault)>>>,
    /// Every so many calls one fails.
    flaky: Rc<RefCell<Option<(usize, Random)>>>,
    capacity: Rc<Cell<Option<usize>>>,
    /// Called within each call that changes something: other fibers go on then.
    hook: Rc<RefCell<Option<Hook>>>,
    /// Called before a segment is opened.
    open_hook: Rc<RefCell<Option<Hook>>>,
    trouble: Rc<Cell<Trouble>>,
    /// A file, and a byte of it that cannot be read.
    unreadable: Rc<Cell<Option<(usize, u64)>>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

impl Machine {
    /// How many calls were made that change something.
    pub(super) fn calls(&self) -> usize {
        self.calls.get()
    }

    pub(super) fn syncs(&self) -> usize {
        self.syncs.get()
    }

    /// How many bytes were written to segments.
    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }

    /// Has a call go wrong, counted from now.
    pub(super) fn set_fault(&self, call: usize, fault: Fault) {
        let call = self.calls.get() + call;
        self.faults.borrow_mut().push((call, fault));
    }

    pub(super) fn clear_faults(&self) {
        self.faults.borrow_mut().clear();
    }

    pub(super) fn set_flaky(&self, flaky: Option<(usize, Random)>) {
        *self.flaky.borrow_mut() = flaky;
    }

    pub(super) fn set_capacity(&self, bytes: Option<usize>) {
        self.capacity.set(bytes);
    }

    pub(super) fn set_hook(&self, hook: Option<Hook>) {
        *self.hook.borrow_mut() = hook;
    }

    pub(super) fn set_open_hook(&self, hook: Option<Hook>) {
        *self.open_hook.borrow_mut() = hook;
    }

    pub(super) fn set_trouble(&self, trouble: Trouble) {
        self.trouble.set(trouble);
    }

    /// Has a byte of a file that is there be beyond reading.
    pub(super) fn set_unreadable(&self, name: &str, offset: u64) {
        let inode = self.state.borrow().names[&super::folder().join(name)];
        self.unreadable.set(Some((inode, offset)));
    }

    /// Has every byte be read again.
    pub(super) fn set_readable(&self) {
        self.unreadable.set(None);
    }

    /// The machine after the program was killed: as it was.
    pub(super) fn after_kill(&self) -> Self {
        let state = self.state.borrow();
        let mut inodes = state.inodes.clone();
        for inode in &mut inodes {
            inode.locked = false;
        }
        let after = Self::default();
        *after.state.borrow_mut() = State {
            inodes,
            names: state.names.clone(),
            synced_names: state.synced_names.clone(),
            name_changes: state.name_changes.clone(),
        };
        after
    }

    /// The machine after a power cut.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let state = self.state.borrow();
        let mut inodes = Vec::new();
        for inode in &state.inodes {
            let mut left = inode.synced.clone();
            let kept = random.below(inode.unsynced.len() + 1);
            for change in &inode.unsynced[..kept] {
                change.apply(&mut left);
            }
            if let Some(Change::Write(offset, bytes)) = inode.unsynced.get(kept) {
                let part = random.below(bytes.len() + 1);
                let part = if random.below(2) == 0 {
                    part
                } else {
                    part / SECTOR * SECTOR
                };
                if part > 0 {
                    Change::Write(*offset, bytes[..part].to_vec()).apply(&mut left);
                }
            }
            let (now, synced) = (left.clone(), left);
            let (unsynced, locked) = (Vec::new(), false);
            inodes.push(Inode {
                now,
                synced,
                unsynced,
                locked,
            });
        }
        let mut names = state.synced_names.clone();
        let kept = random.below(state.name_changes.len() + 1);
        for change in &state.name_changes[..kept] {
            change.apply(&mut names);
        }
        let after = Self::default();
        *after.state.borrow_mut() = State {
            inodes,
            synced_names: names.clone(),
            names,
            name_changes: Vec::new(),
        };
        after
    }

    /// The names in the folder, without the lock and the reserve.
    pub(super) fn names(&self) -> Vec<String> {
        let state = self.state.borrow();
        let names = state.names.keys().filter_map(|path| path.file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names
            .filter(|name| name != "lock" && name != "reserve")
            .collect()
    }

    /// The content of a file.
    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state.borrow();
        let inode = state.names[&super::folder().join(name)];
        state.inodes[inode].now.clone()
    }

    /// Puts a file there as it is, synced.
    pub(super) fn put(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state.borrow_mut();
        let inode = Inode {
            now: content.clone(),
            synced: content,
            ..Inode::default()
        };
        state.inodes.push(inode);
        let (path, number) = (super::folder().join(name), state.inodes.len() - 1);
        state.names.insert(path.clone(), number);
        state.synced_names.insert(path, number);
    }

    pub(super) fn used(&self) -> usize {
        let state = self.state.borrow();
        let inodes = state.names.values().map(|inode| &state.inodes[*inode]);
        inodes.map(|inode| inode.now.len()).sum()
    }

    /// Counts a call that changes something; an error if it goes wrong.
    fn call(&self) -> io::Result<()> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let hook = self.hook.borrow().clone();
        if let Some(hook) = hook {
            hook();
        }
        for (at, fault) in &*self.faults.borrow() {
            match fault {
                Fault::Off if call >= *at => return Err(io::Error::other("off")),
                Fault::Fails if call == *at => return Err(io::ErrorKind::Interrupted.into()),
                Fault::Off | Fault::Fails => {}
            }
        }
        let mut flaky = self.flaky.borrow_mut();
        if let Some((every, random)) = &mut *flaky
            && random.below(*every) == 0
        {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }

    fn change_name(&self, change: NameChange) {
        let mut state = self.state.borrow_mut();
        change.apply(&mut state.names);
        state.name_changes.push(change);
    }

    fn handle(&self, inode: usize) -> Rc<dyn DiskFile> {
        Rc::new(Handle {
            machine: self.clone(),
            inode,
            holds_lock: Cell::new(false),
        })
    }
}

impl Disk for Machine {
    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state.borrow();
        let names = state.names.keys().filter_map(|path| path.file_name());
        Ok(names.map(ToOwned::to_owned).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Rc<dyn DiskFile>> {
        if path.extension().is_some_and(|ending| ending == "log") {
            let hook = self.open_hook.borrow().clone();
            if let Some(hook) = hook {
                hook();
            }
            if let Some(error) = self.trouble.get().open {
                return Err(io::Error::from_raw_os_error(error));
            }
        }
        let inode = self.state.borrow().names.get(path).copied();
        inode
            .map(|inode| self.handle(inode))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, path: &Path) -> io::Result<Rc<dyn DiskFile>> {
        if let Ok(file) = self.open(path) {
            return Ok(file);
        }
        self.call()?;
        let number = {
            let mut state = self.state.borrow_mut();
            state.inodes.push(Inode::default());
            state.inodes.len() - 1
        };
        self.change_name(NameChange::Made(path.to_owned(), number));
        Ok(self.handle(number))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        self.change_name(NameChange::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        if !self.state.borrow().names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_name(NameChange::Removed(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        if self.trouble.get().no_names.map(Path::new) == Some(path) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = self.state.borrow_mut();
        state.synced_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        let free = self
            .capacity
            .get()
            .map(|bytes| bytes.saturating_sub(self.used()));
        Ok(free.map_or(u64::MAX, |free| free as u64))
    }

    fn random(&self) -> u32 {
        self.calls.get() as u32
    }
}

#[derive(Debug)]
struct Handle {
    machine: Machine,
    inode: usize,
    holds_lock: Cell<bool>,
}

impl Handle {
    fn inode<T>(&self, body: impl FnOnce(&mut Inode) -> T) -> T {
        body(&mut self.machine.state.borrow_mut().inodes[self.inode])
    }

    fn change(&self, change: Change) {
        self.inode(|inode| {
            change.apply(&mut inode.now);
            inode.unsynced.push(change);
        });
    }
}

impl DiskFile for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.inode(|inode| inode.now.len() as u64))
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if let Some((inode, at)) = self.machine.unreadable.get()
            && inode == self.inode
            && (offset..offset + len as u64).contains(&at)
        {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.inode(|inode| {
            let rest = inode.now.get(offset as usize..).unwrap_or_default();
            Ok(rest[..len.min(rest.len())].to_vec())
        })
    }

    fn write_at(&self, offset: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        let called = self.machine.call();
        if called.is_err() {
            bytes.truncate(bytes.len() / 2);
        }
        let free = self.machine.free_space(Path::new(""))?;
        let is_full = (bytes.len() as u64) > free;
        bytes.truncate(usize::try_from(free).unwrap_or(usize::MAX));
        let written = &self.machine.written;
        written.set(written.get() + bytes.len() as u64);
        self.change(Change::Write(offset, bytes));
        called?;
        if is_full {
            return Err(if self.machine.trouble.get().is_quota {
                io::ErrorKind::QuotaExceeded.into()
            } else {
                io::ErrorKind::StorageFull.into()
            });
        }
        Ok(())
    }

    fn set_size(&self, len: u64) -> io::Result<()> {
        self.machine.call()?;
        self.change(Change::Len(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let called = self.machine.call().and_then(|()| {
            let fails = self.machine.trouble.get().no_sync;
            let error = || Err(io::ErrorKind::Interrupted.into());
            if fails { error() } else { Ok(()) }
        });
        self.machine.syncs.set(self.machine.syncs.get() + 1);
        self.inode(|inode| {
            if called.is_ok() {
                for change in std::mem::take(&mut inode.unsynced) {
                    change.apply(&mut inode.synced);
                }
            } else {
                // The system believes that it is written, and the next sync has nothing to do.
                inode.unsynced.clear();
            }
        });
        called
    }

    fn try_lock(&self) -> io::Result<bool> {
        let was_locked = self.inode(|inode| std::mem::replace(&mut inode.locked, true));
        self.holds_lock.set(!was_locked);
        Ok(!was_locked)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.holds_lock.get() {
            self.inode(|inode| inode.locked = false);
        }
    }
}
