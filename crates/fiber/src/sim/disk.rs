//! The disk of a simulated machine. It keeps what was synced; of the rest a power cut leaves
//! anything a disk might: a prefix, a torn write, some sectors and not others, or nothing.
//!
//! Not here: permissions, links, and directories that get lost (they are kept at once).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::core::Core;
use crate::park::WaitReason;
use crate::sim::host::Host;
use crate::sim::net::system;
use crate::sim::rng::Rng;
use crate::sim::state::State;
use crate::world::offload::{Lane, OffloadError};

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;
/// Time of one operation unless set otherwise, at most.
const DISK_LATENCY_DEFAULT: Duration = Duration::from_millis(10);

/// A write that a power cut may lose.
enum Write {
    At(usize, Vec<u8>),
    Len(usize),
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::At(offset, bytes) => put(to, *offset, bytes),
            Self::Len(len) => to.resize(*len, 0),
        }
    }
}

fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

#[derive(Default)]
struct Node {
    data: Vec<u8>,
    durable: Vec<u8>,
    writes: Vec<Write>,
}

/// A change of names that a power cut may undo.
enum Change {
    Made(PathBuf, u64),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Change {
    /// The folder that must be synced to keep it.
    fn folder(&self) -> &Path {
        match self {
            Self::Made(path, _) | Self::Renamed(_, path) | Self::Removed(path) => parent(path),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Made(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Renamed(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Removed(path) => {
                names.remove(path);
            }
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// One machine's disk.
pub(crate) struct Disk {
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    changes: Vec<Change>,
    folders: BTreeSet<PathBuf>,
    latency: RangeInclusive<Duration>,
    capacity: Option<u64>,
    /// Per million.
    failing_syncs: u32,
}

impl Disk {
    fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            next_node: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            folders: BTreeSet::from([PathBuf::from("/"), PathBuf::new()]),
            latency: Duration::from_micros(20)..=DISK_LATENCY_DEFAULT,
            capacity: None,
            failing_syncs: 0,
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    pub(crate) fn find(&self, path: &Path) -> io::Result<u64> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(crate) fn make(&mut self, path: &Path) -> io::Result<u64> {
        if let Ok(node) = self.find(path) {
            return Ok(node);
        }
        if self.folders.contains(path) {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !self.folders.contains(parent(path)) {
            return Err(ErrorKind::NotFound.into());
        }
        let node = self.next_node;
        self.next_node += 1;
        self.nodes.insert(node, Node::default());
        self.change(Change::Made(path.to_owned(), node));
        Ok(node)
    }

    fn node(&mut self, node: u64) -> io::Result<&mut Node> {
        self.nodes
            .get_mut(&node)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(crate) fn whole(&mut self, node: u64) -> io::Result<Vec<u8>> {
        Ok(self.node(node)?.data.clone())
    }

    pub(crate) fn len(&mut self, node: u64) -> io::Result<u64> {
        Ok(self.node(node)?.data.len() as u64)
    }

    pub(crate) fn read_at(&mut self, node: u64, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let data = &self.node(node)?.data;
        let begin = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(data.len());
        let end = begin.saturating_add(len).min(data.len());
        Ok(data[begin..end].to_vec())
    }

    fn room(&self) -> usize {
        let Some(capacity) = self.capacity else {
            return usize::MAX;
        };
        let used: usize = self.nodes.values().map(|node| node.data.len()).sum();
        usize::try_from(capacity)
            .unwrap_or(usize::MAX)
            .saturating_sub(used)
    }

    pub(crate) fn append(&mut self, node: u64, mut bytes: Vec<u8>) -> io::Result<u64> {
        let room = self.room();
        let is_full = bytes.len() > room;
        bytes.truncate(room);
        let node = self.node(node)?;
        let offset = node.data.len();
        put(&mut node.data, offset, &bytes);
        node.writes.push(Write::At(offset, bytes));
        if is_full {
            return Err(system(libc::ENOSPC));
        }
        Ok(offset as u64)
    }

    pub(crate) fn set_len(&mut self, node: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| system(libc::EFBIG))?;
        if len.saturating_sub(self.node(node)?.data.len()) > self.room() {
            return Err(system(libc::ENOSPC));
        }
        let node = self.node(node)?;
        node.data.resize(len, 0);
        node.writes.push(Write::Len(len));
        Ok(())
    }

    pub(crate) fn sync(&mut self, node: u64, rng: &Rng) -> io::Result<()> {
        let fails = rng.chance(self.failing_syncs);
        let node = self.node(node)?;
        for write in node.writes.drain(..) {
            // After a failure the system takes the rest for written, as Linux does: it is seen
            // until the power goes, and the next sync keeps none of it.
            if !fails || rng.below(2) == 0 {
                write.apply(&mut node.durable);
            }
        }
        if fails {
            return Err(system(libc::EIO));
        }
        Ok(())
    }

    pub(crate) fn sync_folder(&mut self, folder: &Path, rng: &Rng) -> io::Result<()> {
        if !self.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        if rng.chance(self.failing_syncs) {
            return Err(system(libc::EIO));
        }
        let names = &mut self.durable_names;
        self.changes.retain(|change| {
            let is_here = change.folder() == folder;
            if is_here {
                change.apply(names);
            }
            !is_here
        });
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.find(from)?;
        if !self.folders.contains(parent(to)) {
            return Err(ErrorKind::NotFound.into());
        }
        self.change(Change::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.change(Change::Removed(path.to_owned()));
        Ok(())
    }

    pub(crate) fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        if self.names.contains_key(path) || !self.folders.contains(parent(path)) {
            return Err(ErrorKind::NotFound.into());
        }
        if !self.folders.insert(path.to_owned()) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok(())
    }

    pub(crate) fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        if !self.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let paths = self.names.keys().chain(&self.folders);
        let inside = paths.filter(|path| path.parent() == Some(folder));
        let mut names: Vec<_> = inside.filter_map(|path| path.file_name()).collect();
        names.sort_unstable();
        Ok(names.into_iter().map(ToOwned::to_owned).collect())
    }

    /// What a power cut leaves.
    fn cut(&mut self, rng: &Rng) {
        for node in self.nodes.values_mut() {
            let writes = std::mem::take(&mut node.writes);
            if rng.below(2) == 0 {
                keep_prefix(&writes, &mut node.durable, rng);
            } else {
                keep_sectors(&writes, &mut node.durable, rng);
            }
            node.data.clone_from(&node.durable);
        }
        // Of the changes in one folder a prefix stays, whatever becomes of those in others.
        let mut kept: BTreeMap<PathBuf, bool> = BTreeMap::new();
        for change in self.changes.drain(..) {
            let goes_on = kept.entry(change.folder().to_owned()).or_insert(true);
            *goes_on = *goes_on && rng.below(3) > 0;
            if *goes_on {
                change.apply(&mut self.durable_names);
            }
        }
        self.names.clone_from(&self.durable_names);
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.nodes.retain(|node, _| named.contains(node));
    }
}

/// The first writes stay, the next one is torn, the rest is lost.
fn keep_prefix(writes: &[Write], to: &mut Vec<u8>, rng: &Rng) {
    let whole = rng.index(writes.len() + 1);
    for write in &writes[..whole] {
        write.apply(to);
    }
    if let Some(Write::At(offset, bytes)) = writes.get(whole) {
        put(to, *offset, &bytes[..rng.index(bytes.len() + 1)]);
    }
}

/// Each sector of each write stays or is lost.
fn keep_sectors(writes: &[Write], to: &mut Vec<u8>, rng: &Rng) {
    for write in writes {
        match write {
            Write::At(offset, bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let sector_end = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
                    let end = bytes.len().min(at + sector_end);
                    if rng.below(2) == 0 {
                        put(to, offset + at, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            Write::Len(_) if rng.below(2) == 0 => write.apply(to),
            Write::Len(_) => {}
        }
    }
}

/// The disks of all machines.
#[derive(Default)]
pub(crate) struct Disks(RefCell<BTreeMap<u32, Disk>>);

impl Disks {
    fn with<T>(&self, host: u32, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(self.0.borrow_mut().entry(host).or_insert_with(Disk::new))
    }

    pub(crate) fn cut(&self, host: u32, rng: &Rng) {
        self.with(host, |disk| disk.cut(rng));
    }
}

impl State {
    /// Does something on the disk of the running fiber's machine. Yields until it is done; done it
    /// is even when the fiber stops waiting.
    pub(crate) fn on_disk<T: 'static>(
        &self,
        core: &Core,
        work: impl FnOnce(&mut Disk, &Rng) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        core.check()?;
        let token = core.prepare()?;
        let host = self.current_host(core);
        let nanos = self
            .disks
            .with(host, |disk| self.chances.nanos(&disk.latency));
        let slot = Rc::new(RefCell::new(None));
        let answer = Rc::clone(&slot);
        let queued = self.offload(core, Lane::Files, nanos, move |state, core| {
            let done = state.disks.with(host, |disk| work(disk, &state.chances));
            *answer.borrow_mut() = Some(done);
            core.unpark(token);
        });
        if !queued {
            return Err(OffloadError::Full.into());
        }
        loop {
            core.park(WaitReason::Offload)?;
            if let Some(done) = slot.borrow_mut().take() {
                return done;
            }
        }
    }
}

impl Host {
    fn set_disk(&self, set: impl FnOnce(&mut Disk)) {
        self.state.disks.with(self.number, set);
    }

    /// Sets how long each operation of the machine's disk takes, drawn from this range (default
    /// 20 µs to 10 ms). There is one at a time.
    pub fn set_disk_latency(&self, latency: RangeInclusive<Duration>) {
        self.set_disk(|disk| disk.latency = latency);
    }

    /// Sets how many bytes the files of the machine may hold together (default no limit). What
    /// does not fit fails with [`io::ErrorKind::StorageFull`], after as much of it as did fit.
    pub fn set_disk_capacity(&self, bytes: Option<u64>) {
        self.set_disk(|disk| disk.capacity = bytes);
    }

    /// Sets how many syncs of files and folders fail, per million. Of what such a sync of a file
    /// was about nothing is sure, and no later sync makes it so.
    pub fn set_failing_syncs(&self, per_million: u32) {
        self.set_disk(|disk| disk.failing_syncs = per_million);
    }
}
