//! Opening: from what lies in the folder to what is known. Nothing that lies there is a reason not
//! to open.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::batch::Batch;
use super::disk::{Disk, DiskFile};
use super::error::{OpenError, Report};
use super::file::{segment_name, segment_path};
use super::index::{Index, Item, Place};
use super::options::StoreOptions;
use super::record::{self, Record};
use super::segment::{self, Found, HEAD_LEN, Head, HeadError, Scan};
use super::state::State;

/// How many positions are passed over at each opening, so that none is given again that a record
/// had which is lost: far more than ever wait to be written.
const POSITIONS_SKIPPED: u64 = 1 << 24;

/// How many files are kept beside; the oldest go first.
const ASIDE_FILES_MAX: usize = 8;

/// The longest segment that is read: longer than any that was written.
pub(super) const SEGMENT_READ_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The highest number of a file that is taken for one of the store's: far more than are ever made.
const NUMBER_MAX: u64 = 1 << 56;

/// How much is read at once of a file that cannot be read whole: what a disk can read or cannot.
const SECTOR_BYTES: usize = 4_096;

/// `ENFILE` and `EMFILE`, which have no kind.
const TOO_MANY_FILES: [i32; 2] = [23, 24];

/// Makes the folder and locks it.
pub(super) fn lock(disk: &dyn Disk, folder: &Path) -> Result<Rc<dyn DiskFile>, OpenError> {
    disk.create_dir_all(folder)?;
    // A folder is as sure as what is above it, and an earlier opening may have failed here.
    for above in folder.ancestors().skip(1) {
        let here = Path::new(".");
        let above = if above == Path::new("") { here } else { above };
        match disk.sync_dir(above) {
            // What this program may not even read it did not make; nor is there anything to make sure
            // of where nothing changes, as in an image that is only read.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::Unsupported
                        | io::ErrorKind::ReadOnlyFilesystem
                ) => {}
            synced => synced?,
        }
    }
    let lock = disk.create(&folder.join("lock"))?;
    if lock.try_lock()? {
        Ok(lock)
    } else {
        Err(OpenError::InUse)
    }
}

/// Reads everything in the folder.
pub(super) fn recover(
    disk: &dyn Disk,
    folder: &Path,
    options: &StoreOptions,
) -> Result<State, OpenError> {
    let mut opening = Opening {
        disk,
        folder,
        index: Index::default(),
        reports: Vec::new(),
        skipped: 0,
        unsure: Batch::default(),
    };
    let mut segments = Vec::new();
    let mut aside = Vec::new();
    let mut last_number = 0;
    for name in disk.list(folder)? {
        let Some((number, ending)) = name.to_str().and_then(parse_name) else {
            continue;
        };
        last_number = last_number.max(number);
        match ending {
            "log" => segments.push(number),
            "damaged" => aside.push(folder.join(&name)),
            // Those are for the program that wrote them.
            "newer" => {}
            // Not finished when the program or the power ended.
            "tmp" => drop(disk.remove(&folder.join(&name))),
            _ => {}
        }
    }
    segments.sort_unstable();
    for number in &segments {
        let is_last = segments.last() == Some(number);
        // To go on without it would be to forget it, and to remove what says that it is over.
        opening.read(*number, is_last)?;
    }
    for path in aside.iter().rev().skip(ASIDE_FILES_MAX) {
        // Should it stay, the next opening removes it.
        let _ = disk.remove(path);
    }
    let names = disk.sync_dir(folder);
    let mut state = opening.finish(last_number + 1, options);
    match names {
        Ok(()) => state.folder_dirty = false,
        Err(error) => match fiber::cause(&error) {
            Some(stopped) => return Err(OpenError::Io(stopped.into())),
            None => {
                state.found_unsure();
                state.report(Report::SyncFailed(error.kind()));
            }
        },
    }
    Ok(state)
}

fn parse_name(name: &str) -> Option<(u64, &str)> {
    let (digits, ending) = name.split_once('.')?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    let is_ours = number <= NUMBER_MAX && segment_name(number) == digits;
    is_ours.then_some((number, ending))
}

/// Tells whether an error is one of this moment, and says nothing about the file.
pub(super) fn is_passing(error: &io::Error) -> bool {
    fiber::cause(error).is_some()
        || matches!(
            error.kind(),
            io::ErrorKind::OutOfMemory
                | io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::Other
        )
        || error
            .raw_os_error()
            .is_some_and(|error| TOO_MANY_FILES.contains(&error))
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    index: Index,
    reports: Vec<Report>,
    skipped: u64,
    /// What the disk is not sure of.
    unsure: Batch,
}

impl Opening<'_> {
    /// Reads a segment. What is wrong with it is reported; an error is that it can be neither read nor
    /// put aside for now.
    fn read(&mut self, number: u64, is_last: bool) -> io::Result<()> {
        let path = segment_path(self.folder, number);
        let (mut file, mut bytes) = match self.load(&path) {
            Ok(loaded) => loaded,
            Err(error) if is_passing(&error) => return Err(error),
            Err(_) => {
                let report = Report::Unreadable { segment: number };
                return self.put_aside(number, "damaged", report);
            }
        };
        let salt = match Head::decode(&bytes) {
            Ok(head) if head.number == number => head.salt,
            Err(HeadError::Newer { major }) => {
                let report = Report::Newer {
                    segment: number,
                    major,
                };
                return self.put_aside(number, "newer", report);
            }
            // It was being made when the power ended, and holds nothing.
            Err(HeadError::Damaged) if bytes.len() < HEAD_LEN => {
                // Should it stay, the next opening removes it.
                let _ = self.disk.remove(&path);
                return Ok(());
            }
            Ok(_) | Err(HeadError::Damaged) => {
                let report = Report::Unreadable { segment: number };
                return self.put_aside(number, "damaged", report);
            }
        };
        if let Some(repaired) = segment::repaired(&bytes, salt) {
            self.reports.push(Report::Damaged {
                segment: number,
                bytes: (bytes.len() - repaired.len()) as u64,
            });
            // Where that fails the damaged file stays in use, unless it was replaced all the same.
            let _ = self.repair(number, &bytes, &repaired);
            (file, bytes) = self.load(&path)?;
        }
        let torn_at = self.replay(number, &bytes, salt);
        let mut cut = Ok(());
        if let Some(end) = torn_at {
            self.reports.push(Report::TornTail {
                segment: number,
                bytes: (bytes.len() - end) as u64,
            });
            self.index.set_len(number, end as u64);
            cut = file.set_size(end as u64);
        }
        // The program may have ended between writing and making sure of it, and begun another segment
        // since.
        let synced = file.sync();
        if let Err(error) = &synced
            && fiber::cause(error).is_none()
        {
            self.reports.push(Report::SyncFailed(error.kind()));
            // Behind records of later segments they would mean something else.
            if is_last {
                self.write_again(&bytes, salt);
            }
        }
        // An early end of the program is the only one that counts.
        match cut.and(synced) {
            Err(error) if fiber::cause(&error).is_some() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Has all records of a segment written again.
    fn write_again(&mut self, bytes: &[u8], salt: u32) {
        for found in Scan::new(bytes, HEAD_LEN, salt) {
            if let Found::Frame { frame, .. } = found
                && let Some((at, record)) = Record::decode(record::body(frame))
            {
                let (item, subject) = (Item::of(at, &record), record.subject(at));
                self.unsure.push_frame(at, frame, item, subject);
            }
        }
        self.unsure.upto = self.index.last();
    }

    fn load(&self, path: &Path) -> io::Result<(Rc<dyn DiskFile>, Vec<u8>)> {
        let file = self.disk.open(path)?;
        let len = file.size()?;
        if len > SEGMENT_READ_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match file.read_at(0, len as usize) {
            Err(error) if !is_passing(&error) => {
                let bytes = Self::read_around(&*file, len as usize)?;
                Ok((file, bytes))
            }
            read => Ok((file, read?)),
        }
    }

    /// Reads what can be read of a file; the rest is zeros, which no record is.
    fn read_around(file: &dyn DiskFile, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        for (nth, sector) in bytes.chunks_mut(SECTOR_BYTES).enumerate() {
            match file.read_at((nth * SECTOR_BYTES) as u64, sector.len()) {
                Ok(read) if read.len() == sector.len() => sector.copy_from_slice(&read),
                Err(error) if is_passing(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(bytes)
    }

    /// Takes the records of a segment in; returns where its torn tail begins, if it has one.
    fn replay(&mut self, number: u64, bytes: &[u8], salt: u32) -> Option<usize> {
        // Before its records: they are counted in it.
        self.index.set_len(number, bytes.len() as u64);
        for found in Scan::new(bytes, HEAD_LEN, salt) {
            let (offset, frame) = match found {
                Found::Frame { offset, frame } => (offset, frame),
                Found::Gap { .. } => continue,
                Found::Torn { offset } => return Some(offset),
            };
            let place = Place {
                segment: number,
                offset: offset as u64,
                len: frame.len() as u32,
            };
            match Record::decode(record::body(frame)) {
                Some((at, record)) => {
                    self.index.apply(at, &record, Some(place));
                }
                None => self.skipped += 1,
            }
        }
        None
    }

    /// Keeps a segment beside as it is, and puts another into its place that has no damage.
    fn repair(&self, number: u64, found: &[u8], repaired: &[u8]) -> io::Result<()> {
        let path = segment_path(self.folder, number);
        let temporary = path.with_extension("tmp");
        for (path, bytes) in [
            (path.with_extension("damaged"), found),
            (temporary.clone(), repaired),
        ] {
            let file = self.disk.create(&path)?;
            file.write_at(0, bytes.to_vec())?;
            file.set_size(bytes.len() as u64)?;
            file.sync()?;
        }
        self.disk.rename(&temporary, &path)?;
        self.disk.sync_dir(self.folder)
    }

    fn put_aside(&mut self, number: u64, ending: &str, report: Report) -> io::Result<()> {
        self.reports.push(report);
        let path = segment_path(self.folder, number);
        self.disk.rename(&path, &path.with_extension(ending))
    }

    fn finish(mut self, next_number: u64, options: &StoreOptions) -> State {
        let identity = &options.identity;
        let before = self.index.identity.replace(identity.clone());
        if before.is_some_and(|before| !before.has_session_of(identity)) {
            self.index.identity_changed(self.index.last());
            self.reports.push(Report::OtherIdentity);
        }
        if self.skipped > 0 {
            self.reports.push(Report::Skipped {
                records: self.skipped,
            });
        }
        self.index.replayed(POSITIONS_SKIPPED);
        let mut state = State::new(self.index, next_number);
        if !self.unsure.is_empty() {
            state.unsure = self.unsure;
            state.found_unsure();
        }
        for report in self.reports {
            state.report(report);
        }
        state
    }
}
