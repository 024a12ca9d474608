//! Two files that are written in turns, so that one of them is always whole.

use std::io;
use std::path::{Path, PathBuf};

use fiber::fs::{self, File};

use super::durable;
use super::error::StoreError;
use super::record::{self, RECORD_BYTES, RecordError};
use super::state::{self, State};

const NAMES: [&str; 2] = ["state.0", "state.1"];
/// What takes the place of `0` and `1` in the names of those that a later version wrote.
const LATER: [&str; 2] = ["0.later", "1.later"];

/// What is known of one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is not there.
    Missing,
    /// It was there at the start, or a write to it failed. It may read well, from what the system
    /// remembers, and be on no disk: another file takes its place, and until that is sure it stays.
    Doubtful,
    /// This program wrote it, and was told that it is sure.
    Sure,
    /// A later version of the program wrote it: it is kept beside, before another takes its place.
    Later,
}

/// The two files, and which of them is next.
pub(super) struct Journal {
    folder: PathBuf,
    next: usize,
    generation: u64,
    standing: [Standing; 2],
    /// Whether the last write failed: the disk may know more than this program goes by.
    is_unsure: bool,
}

/// What became of one of the files that could be read, or is not there.
type Found = Result<(u64, State), Option<RecordError>>;

impl Journal {
    /// Reads both files. Returns the newest state, if either of them has one. Yields.
    ///
    /// Fails where neither can be had and the disk does not say that it is not there.
    pub(super) fn open(folder: &Path) -> Result<(Self, Option<State>), StoreError> {
        let mut unreadable = None;
        let mut standing = [Standing::Doubtful; 2];
        let found = [0, 1].map(|at| {
            let path = folder.join(NAMES[at]);
            let found = read(&path).map(|(found, is_later)| {
                if let Err(None) = found {
                    standing[at] = Standing::Missing;
                }
                if is_later {
                    log::warn!("{} was written by a later version", path.display());
                    standing[at] = Standing::Later;
                }
                found
            });
            found.unwrap_or_else(|error| {
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
            standing,
            is_unsure: false,
        };
        let [first, second] = found;
        let newest = if newest == 0 { first } else { second };
        Ok((journal, newest.ok().map(|(_, state)| state)))
    }

    /// Writes a state in the place of the older of the two. Yields; it is sure when this returns.
    pub(super) fn write(&mut self, state: &State) -> Result<(), StoreError> {
        let generation = self.generation + 1;
        let bytes = record::encode(generation, &state.encode()).map_err(StoreError::Record)?;
        let written = self.write_next(&bytes);
        self.is_unsure = written.is_err();
        let (next, other) = (self.next, 1 - self.next);
        if let Err(error) = written {
            if self.standing[next] == Standing::Sure {
                self.standing[next] = Standing::Doubtful;
            }
            return Err(StoreError::io(self.path(next))(error));
        }
        self.standing[next] = Standing::Sure;
        self.generation = generation;
        self.next = other;
        Ok(())
    }

    /// How many records were written, by the newest that could be read.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether there is no record yet that could be read.
    pub(super) const fn is_new(&self) -> bool {
        self.generation == 0
    }

    /// Whether the last write failed: what the disk holds may be that, or what was before.
    pub(super) const fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    fn write_next(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Both files are made at the first write: a disk that is full later takes it all the same.
        let (next, other) = (self.next, 1 - self.next);
        if self.standing[other] == Standing::Missing {
            durable::put(&self.folder, NAMES[other], &[0; RECORD_BYTES])?;
            self.standing[other] = Standing::Doubtful;
        }
        if self.standing[next] == Standing::Sure {
            return self.overwrite(bytes);
        }
        if self.standing[next] == Standing::Later {
            let path = self.path(next);
            fs::rename(&path, path.with_extension(LATER[next]))?;
            fs::sync_dir(&self.folder)?;
            self.standing[next] = Standing::Missing;
        }
        match durable::put(&self.folder, NAMES[next], bytes) {
            // There is no room for a third file. The other one is whole.
            Err(error) if is_full(&error) && self.standing[next] == Standing::Doubtful => {
                self.overwrite(bytes)
            }
            put => put,
        }
    }

    fn path(&self, at: usize) -> PathBuf {
        self.folder.join(NAMES[at])
    }

    fn overwrite(&self, bytes: &[u8]) -> io::Result<()> {
        let file = File::open(self.path(self.next))?;
        if file.size()? != RECORD_BYTES as u64 {
            file.set_size(RECORD_BYTES as u64)?;
        }
        file.write_at(0, bytes)?;
        file.sync()?;
        // One more, to see the end.
        if file.read_at(0, RECORD_BYTES + 1)? == bytes {
            Ok(())
        } else {
            let what = "it reads otherwise than it was written";
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Reads one file, nothing of one that is not there, and says whether a later version wrote it.
fn read(path: &Path) -> io::Result<(Found, bool)> {
    // One more, to see the end.
    let bytes = match fs::read_at_most(path, RECORD_BYTES as u64 + 1) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Err(None), false)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let length = RECORD_BYTES + 2;
            return Ok((Err(Some(RecordError::Length(length))), false));
        }
        Err(error) => return Err(error),
    };
    if let Ok((generation, payload)) = record::decode(&bytes)
        && let Some(state) = State::decode(payload)
    {
        return Ok((Ok((generation, state)), false));
    }
    // Whole, and not of this version?
    Ok(match record::decode_any(&bytes) {
        Ok((_, generation, payload)) => match state::decode_in_part(payload) {
            Some(state) => (Ok((generation, state)), true),
            None => (Err(Some(RecordError::State)), true),
        },
        Err(error) => (Err(Some(error)), false),
    })
}
