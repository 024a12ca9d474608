//! What a power cut leaves of a disk: all that was synced, and of the rest anything a disk might: a
//! prefix, a torn write, some sectors and not others, or nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::names::reachable;
use super::{Disk, Entry, Slot};
use crate::sim::rng::Rng;

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// A write that a power cut may lose.
pub(super) enum Write {
    At(usize, Vec<u8>),
    Len(usize),
}

impl Write {
    pub(super) fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::At(offset, bytes) => put(to, *offset, bytes),
            Self::Len(len) => to.resize(*len, 0),
        }
    }
}

pub(super) fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

/// A change of names that a power cut may undo.
#[derive(Clone)]
pub(super) enum Change {
    Made(Slot, Entry),
    Moved(Slot, Slot, Entry),
    Removed(Slot),
}

impl Change {
    fn slots(&self) -> impl Iterator<Item = &Slot> {
        let (one, other) = match self {
            Self::Made(slot, _) | Self::Removed(slot) => (slot, None),
            Self::Moved(from, to, _) => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    fn is_about(&self, folder: u64) -> bool {
        self.slots().any(|(of, _)| *of == folder)
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<Slot, Entry>) {
        match self {
            Self::Made(slot, entry) => {
                names.insert(slot.clone(), *entry);
            }
            Self::Moved(from, to, entry) => {
                names.remove(from);
                names.insert(to.clone(), *entry);
            }
            Self::Removed(slot) => {
                names.remove(slot);
            }
        }
    }
}

impl Disk {
    /// Makes the changes of a folder sure, and with them those that they follow from: where a file
    /// was moved in from another folder, what made it there.
    pub(super) fn keep_changes(&mut self, folder: u64) {
        let mut slots = BTreeSet::new();
        let mut kept = vec![false; self.changes.len()];
        for (change, kept) in self.changes.iter().zip(&mut kept).rev() {
            *kept = change.is_about(folder) || change.slots().any(|slot| slots.contains(slot));
            if *kept {
                slots.extend(change.slots().cloned());
            }
        }
        let names = &mut self.durable_names;
        let mut kept = kept.into_iter();
        self.changes.retain(|change| {
            let is_kept = kept.next() == Some(true);
            if is_kept {
                change.apply(names);
            }
            !is_kept
        });
    }

    pub(super) fn cut(&mut self, rng: &Rng) {
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
        let mut over: BTreeSet<u64> = BTreeSet::new();
        for change in self.changes.drain(..) {
            let goes_on = rng.below(3) > 0;
            if goes_on && change.slots().all(|(folder, _)| !over.contains(folder)) {
                change.apply(&mut self.durable_names);
            } else {
                over.extend(change.slots().map(|(folder, _)| *folder));
            }
        }
        let folders = reachable(&self.durable_names);
        self.durable_names
            .retain(|(folder, _), _| folders.contains(folder));
        self.names.clone_from(&self.durable_names);
        let named = |number: &u64| {
            self.names
                .values()
                .any(|entry| *entry == Entry::File(*number))
        };
        self.nodes.retain(|number, _| named(number));
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
