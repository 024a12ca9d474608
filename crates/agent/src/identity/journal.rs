//! Two files that are written in turns, so that one of them is always whole.

use std::io;
use std::path::{Path, PathBuf};

use fiber::fs::{self, File};

use super::durable;
use super::error::StoreError;
use super::record::{self, RECORD_BYTES, RecordError};
use super::state::State;

const NAMES: [&str; 2] = ["state.0", "state.1"];

/// The two files, and which of them is next.
pub(super) struct Journal {
    folder: PathBuf,
    next: usize,
    generation: u64,
    /// Whether the next file must be made anew: it is not there, or a write to it failed, after
    /// which nothing is sure of what is in it.
    renew: [bool; 2],
}

/// What became of one of the files that could be read, or is not there.
type Found = Result<(u64, State), Option<RecordError>>;

impl Journal {
    /// Reads both files. Returns the newest state, if either of them has one. Yields.
    ///
    /// Fails where neither can be had and the disk does not say that it is not there.
    pub(super) fn open(folder: &Path) -> Result<(Self, Option<State>), StoreError> {
        let mut unreadable = None;
        let found = NAMES.map(|name| {
            let path = folder.join(name);
            read(&path).unwrap_or_else(|error| {
                log::warn!("{}: {error}", path.display());
                unreadable = Some(StoreError::io(path)(error));
                Err(None)
            })
        });
        if let Some(error) = unreadable
            && found.iter().all(Result::is_err)
        {
            return Err(error);
        }
        for (name, found) in NAMES.iter().zip(&found) {
            match found {
                Ok(_) | Err(None | Some(RecordError::Empty)) => {}
                Err(Some(error)) => {
                    log::info!("{name} is not whole ({error}), as after a loss of power");
                }
            }
        }
        let generation = |found: &Found| found.as_ref().map_or(0, |(generation, _)| *generation);
        let generations = [generation(&found[0]), generation(&found[1])];
        let newest = usize::from(generations[1] > generations[0]);
        let journal = Self {
            folder: folder.to_owned(),
            next: 1 - newest,
            generation: generations[newest],
            renew: [&found[0], &found[1]].map(|found| matches!(found, Err(None))),
        };
        let [first, second] = found;
        let newest = if newest == 0 { first } else { second };
        Ok((journal, newest.ok().map(|(_, state)| state)))
    }

    /// Writes a state over the older of the two. Yields; it is sure when this returns.
    pub(super) fn write(&mut self, state: &State) -> Result<(), StoreError> {
        let generation = self.generation + 1;
        let bytes = record::encode(generation, &state.encode()).map_err(StoreError::Record)?;
        // Both files are made at the first write: a disk that is full later takes it all the same.
        let other = 1 - self.next;
        if self.renew[other] {
            self.make(other, &[0; RECORD_BYTES])?;
        }
        if self.renew[self.next] {
            self.make(self.next, &bytes)?;
        } else if let Err(error) = self.overwrite(&bytes) {
            self.renew[self.next] = true;
            return Err(StoreError::io(self.path(self.next))(error));
        }
        self.generation = generation;
        self.next = 1 - self.next;
        Ok(())
    }

    fn path(&self, at: usize) -> PathBuf {
        self.folder.join(NAMES[at])
    }

    fn make(&mut self, at: usize, bytes: &[u8]) -> Result<(), StoreError> {
        durable::put(&self.folder, NAMES[at], bytes).map_err(StoreError::io(self.path(at)))?;
        self.renew[at] = false;
        Ok(())
    }

    fn overwrite(&self, bytes: &[u8]) -> io::Result<()> {
        let file = File::open(self.path(self.next))?;
        file.write_at(0, bytes)?;
        file.sync()?;
        if file.read_at(0, RECORD_BYTES)? == bytes {
            Ok(())
        } else {
            let what = "it reads otherwise than it was written";
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
    }
}

/// Reads one file; nothing of one that is not there.
fn read(path: &Path) -> io::Result<Found> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(None)),
        Err(error) => return Err(error),
    };
    Ok(match record::decode(&bytes) {
        Ok((generation, payload)) => match State::decode(payload) {
            Some(state) => Ok((generation, state)),
            None => Err(Some(RecordError::State)),
        },
        Err(error) => Err(Some(error)),
    })
}
