//! The names of a disk: which lead where, and how they are made, moved and removed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;
use std::path::{Component, Path};

use super::cut::Change;
use super::{Disk, Entry, Node, ROOT, Slot};
use crate::sim::rng::Rng;
use crate::sim::sockets::system;

/// Where a path leads.
struct Place {
    /// The folders passed, from the root on; the last one is the parent.
    folders: Vec<u64>,
    /// The last name; none for the root itself.
    name: Option<OsString>,
}

impl Place {
    fn slot(self) -> io::Result<Slot> {
        let parent = *self.folders.last().unwrap_or(&ROOT);
        let name = self.name.ok_or_else(|| system(libc::EEXIST))?;
        Ok((parent, name))
    }
}

impl Disk {
    /// Follows a path up to its last name, which need not be there. A path without a root begins
    /// at it.
    fn place(&self, path: &Path) -> io::Result<Place> {
        let mut place = Place {
            folders: vec![ROOT],
            name: None,
        };
        for component in path.components() {
            let name = match component {
                Component::Prefix(_) | Component::RootDir | Component::CurDir => continue,
                Component::ParentDir => None,
                Component::Normal(name) => Some(name.to_owned()),
            };
            if let Some(folder) = place.name.take() {
                let parent = *place.folders.last().unwrap_or(&ROOT);
                match self.names.get(&(parent, folder)) {
                    Some(Entry::Folder(number)) => place.folders.push(*number),
                    Some(Entry::File(_)) => return Err(ErrorKind::NotADirectory.into()),
                    None => return Err(ErrorKind::NotFound.into()),
                }
            }
            if name.is_none() && place.folders.len() > 1 {
                place.folders.pop();
            }
            place.name = name;
        }
        Ok(place)
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let place = self.place(path)?;
        if place.name.is_none() {
            return Ok(Entry::Folder(*place.folders.last().unwrap_or(&ROOT)));
        }
        let found = self.names.get(&place.slot()?);
        found.copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn folder(&self, path: &Path) -> io::Result<u64> {
        match self.entry(path)? {
            Entry::Folder(number) => Ok(number),
            Entry::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn is_empty(&self, folder: u64) -> bool {
        self.names.keys().all(|(parent, _)| *parent != folder)
    }

    /// The file of a path.
    pub(crate) fn find(&self, path: &Path) -> io::Result<u64> {
        match self.entry(path)? {
            Entry::File(node) if self.nodes[&node].socket.is_some() => Err(system(libc::ENXIO)),
            Entry::File(node) => Ok(node),
            Entry::Folder(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(crate) fn is_folder(&self, path: &Path) -> io::Result<bool> {
        Ok(matches!(self.entry(path)?, Entry::Folder(_)))
    }

    /// The file of a path, which is made if it is not there.
    pub(crate) fn make(&mut self, path: &Path) -> io::Result<u64> {
        match self.find(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let slot = self.place(path)?.slot()?;
        self.check_writable()?;
        let node = self.number();
        self.nodes.insert(node, Node::default());
        self.change(Change::Made(slot, Entry::File(node)));
        Ok(node)
    }

    pub(crate) fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        let slot = self.place(path)?.slot()?;
        if self.names.contains_key(&slot) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.check_writable()?;
        let folder = self.number();
        self.change(Change::Made(slot, Entry::Folder(folder)));
        Ok(())
    }

    pub(crate) fn make_folders(&mut self, path: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for folder in above {
            match self.folder(folder) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => self.make_folder(folder)?,
                // What the system says about the file that is in the way.
                Err(_) if folder == path => return Err(ErrorKind::AlreadyExists.into()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let entry = self.entry(from)?;
        let from = self.place(from)?.slot()?;
        let place = self.place(to)?;
        if let Entry::Folder(number) = entry
            && place.folders.contains(&number)
        {
            return Err(system(libc::EINVAL));
        }
        let to = place.slot()?;
        match (entry, self.names.get(&to)) {
            (_, Some(other)) if *other == entry => return Ok(()),
            (Entry::File(_), Some(Entry::Folder(_))) => return Err(ErrorKind::IsADirectory.into()),
            (Entry::Folder(_), Some(Entry::File(_))) => {
                return Err(ErrorKind::NotADirectory.into());
            }
            (Entry::Folder(_), Some(Entry::Folder(number))) if !self.is_empty(*number) => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        self.check_writable()?;
        self.change(Change::Moved(from, to, entry));
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if let Entry::Folder(_) = self.entry(path)? {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.check_writable()?;
        let slot = self.place(path)?.slot()?;
        self.change(Change::Removed(slot));
        Ok(())
    }

    pub(crate) fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.folder(path)?;
        if !self.is_empty(folder) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.check_writable()?;
        let slot = self.place(path)?.slot()?;
        self.change(Change::Removed(slot));
        Ok(())
    }

    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let folder = self.folder(path)?;
        let inside = self.names.keys().filter(|(parent, _)| *parent == folder);
        Ok(inside.map(|(_, name)| name.clone()).collect())
    }

    pub(crate) fn sync_folder(&mut self, path: &Path, rng: &Rng) -> io::Result<()> {
        let folder = self.folder(path)?;
        if rng.chance(self.failing_syncs) {
            return Err(system(libc::EIO));
        }
        self.keep_changes(folder);
        Ok(())
    }

    /// Makes the file of a Unix listener.
    pub(crate) fn make_socket(&mut self, path: &Path, fd: RawFd) -> io::Result<()> {
        if self.entry(path).is_ok() {
            return Err(ErrorKind::AddrInUse.into());
        }
        let node = self.make(path)?;
        self.node(node)?.socket = Some(fd);
        Ok(())
    }

    /// The listener of a path, if it is one's.
    pub(crate) fn socket_at(&self, path: &Path) -> io::Result<Option<RawFd>> {
        match self.entry(path)? {
            Entry::File(node) => Ok(self.nodes[&node].socket),
            Entry::Folder(_) => Ok(None),
        }
    }
}

/// The folders that names lead to from the root.
pub(super) fn reachable(names: &BTreeMap<Slot, Entry>) -> Vec<u64> {
    let mut found = vec![ROOT];
    let mut next = 0;
    while let Some(&folder) = found.get(next) {
        let inside = names.iter().filter(|((parent, _), _)| *parent == folder);
        let folders = inside.filter_map(|(_, entry)| match entry {
            Entry::Folder(number) => Some(*number),
            Entry::File(_) => None,
        });
        found.extend(folders);
        next += 1;
    }
    found
}
