//! The disk of a simulated machine: files and folders as a system shows them, and of each what is
//! sure to be there after a power cut, which `cut.rs` is about.
//!
//! Not here: permissions, links, and times.

mod cut;
mod files;
mod knobs;
mod names;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use self::cut::{Change, Write};
pub(crate) use self::files::SimFile;
use crate::core::Core;
use crate::park::WaitReason;
use crate::sim::rng::Rng;
use crate::sim::sockets::system;
use crate::sim::state::State;
use crate::world::offload::{Lane, OffloadError};

/// Time of one operation unless set otherwise, at most.
const DISK_LATENCY_DEFAULT: Duration = Duration::from_millis(10);
/// The folder that is always there.
const ROOT: u64 = 0;

/// A file.
#[derive(Default)]
struct Node {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// What may be lost of it, in order.
    writes: Vec<Write>,
    /// It is the place of a Unix listener.
    socket: Option<RawFd>,
    /// Who has it open, and which of them has it locked.
    handles: BTreeSet<u64>,
    locked_by: Option<u64>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    File(u64),
    Folder(u64),
}

/// A name in a folder.
type Slot = (u64, OsString);

/// One machine's disk.
pub(crate) struct Disk {
    host: u32,
    /// How often the machine crashed: a handle from before leads nowhere.
    crashes: u32,
    nodes: BTreeMap<u64, Node>,
    next: u64,
    names: BTreeMap<Slot, Entry>,
    durable_names: BTreeMap<Slot, Entry>,
    /// What may be undone of the names, in order.
    changes: Vec<Change>,
    latency: RangeInclusive<Duration>,
    sync_latency: RangeInclusive<Duration>,
    capacity: Option<u64>,
    is_read_only: bool,
    /// Per million.
    failing_syncs: u32,
    failing_writes: u32,
    failing_reads: u32,
}

impl Disk {
    fn new(host: u32) -> Self {
        Self {
            host,
            crashes: 0,
            nodes: BTreeMap::new(),
            next: ROOT + 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            latency: Duration::from_micros(20)..=DISK_LATENCY_DEFAULT,
            sync_latency: Duration::ZERO..=Duration::ZERO,
            capacity: None,
            is_read_only: false,
            failing_syncs: 0,
            failing_writes: 0,
            failing_reads: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn node(&mut self, node: u64) -> io::Result<&mut Node> {
        self.nodes
            .get_mut(&node)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(crate) fn check_writable(&self) -> io::Result<()> {
        if self.is_read_only {
            return Err(system(libc::EROFS));
        }
        Ok(())
    }

    /// Bytes that still fit. What has neither a name nor a user takes no room.
    pub(crate) fn room(&self) -> u64 {
        let Some(capacity) = self.capacity else {
            return u64::MAX;
        };
        let named: BTreeSet<u64> = self
            .names
            .values()
            .filter_map(|entry| match entry {
                Entry::File(node) => Some(*node),
                Entry::Folder(_) => None,
            })
            .collect();
        let used = self
            .nodes
            .iter()
            .filter(|(number, node)| named.contains(number) || !node.handles.is_empty());
        let used: usize = used.map(|(_, node)| node.data.len()).sum();
        capacity.saturating_sub(used as u64)
    }
}

/// The disks of all machines.
#[derive(Default)]
pub(crate) struct Disks(RefCell<BTreeMap<u32, Disk>>);

impl Disks {
    pub(crate) fn with<T>(&self, host: u32, work: impl FnOnce(&mut Disk) -> T) -> T {
        let mut disks = self.0.borrow_mut();
        work(disks.entry(host).or_insert_with(|| Disk::new(host)))
    }

    /// The programs of the machine end: nobody has anything open.
    pub(crate) fn close_all(&self, host: u32) {
        self.with(host, |disk| {
            disk.crashes += 1;
            for node in disk.nodes.values_mut() {
                node.handles.clear();
                node.locked_by = None;
            }
        });
    }

    /// The machine's power goes.
    pub(crate) fn cut(&self, host: u32, rng: &Rng) {
        self.with(host, |disk| disk.cut(rng));
    }
}

/// How long an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Usual,
    Sync,
}

impl State {
    /// Does something on a machine's disk, the running fiber's unless said otherwise. Yields until
    /// it is done; done it is even when the fiber stops waiting. What is `kept` is dropped only
    /// after that: dropping a file is work of the disk as well.
    pub(crate) fn on_disk<T: 'static, K: 'static>(
        &self,
        core: &Core,
        (host, pace): (Option<u32>, Pace),
        kept: K,
        work: impl FnOnce(&mut Disk, &Rng, &K) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        core.may_switch()?;
        core.check()?;
        let token = core.prepare()?;
        let host = host.unwrap_or_else(|| self.current_host(core));
        let nanos = self.disks.with(host, |disk| {
            let nanos = self.chances.nanos(&disk.latency);
            match pace {
                Pace::Usual => nanos,
                Pace::Sync => nanos.saturating_add(self.chances.nanos(&disk.sync_latency)),
            }
        });
        let slot = Rc::new(RefCell::new(None));
        let answer = Rc::clone(&slot);
        let queued = self.offload(core, Lane::Files, nanos, move |state, core| {
            let done = state
                .disks
                .with(host, |disk| work(disk, &state.chances, &kept));
            drop(kept);
            *answer.borrow_mut() = Some(done);
            core.unpark(token);
        });
        if queued.is_none() {
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
