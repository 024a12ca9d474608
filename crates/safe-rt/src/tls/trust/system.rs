//! The authorities of the operating system: where they are, and when they are read.
//!
//! Files are read by way of [`fiber::fs`] and taken apart off the thread, so that only the fibers
//! that need them wait, each under its own deadline, and so that a simulated machine has those of its
//! simulated disk. One fiber reads; the others wait for it, or go on with what was read before: where
//! files cannot be read, or not in time, what is known goes on to serve.

use core::time::Duration;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fiber::{Elapsed, FiberBuilder, Instant};
use rustls::RootCertStore;

use super::{Trust, TrustError, merge, parse, parse_aside};
use crate::tls::config::{TlsConfigError, read};

/// How old the system's authorities may be before a handshake has them read again: a device runs
/// for longer than some of them are believed.
pub const SYSTEM_ROOTS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a handshake waits for the authorities to be read again, before it goes on with the ones
/// from before.
const SYSTEM_ROOTS_REREAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one reading may take, before another fiber takes it over.
const SYSTEM_ROOTS_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a fiber looks whether another one has read them.
const SYSTEM_ROOTS_PAUSE: Duration = Duration::from_millis(10);

/// Files that hold all authorities of a system; the first that exists is taken.
const BUNDLES: [&str; 8] = [
    // Debian and what comes of it, Alpine, Arch, Gentoo, OpenWrt, Yocto.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, Red Hat, Amazon Linux.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    // Buildroot and LibreELEC.
    "/etc/pki/tls/cacert.pem",
    // macOS, OpenBSD.
    "/etc/ssl/cert.pem",
    // FreeBSD.
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Folders that hold one authority per file, for systems without such a file.
const FOLDERS: [&str; 3] = [
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    // Android.
    "/system/etc/security/cacerts",
];

/// The authorities of the system, read when they are needed; clones are one.
#[derive(Clone)]
pub(super) struct SystemRoots(Arc<Shared>);

struct Shared {
    /// Where to look, asked whenever they are read.
    places: fn() -> Places,
    /// How they are had: a program that asks for none has nothing of it.
    get: fn(&SystemRoots) -> Result<Arc<RootCertStore>, TlsConfigError>,
    state: Mutex<State>,
}

struct State {
    /// What was read last, and when.
    roots: Option<(Arc<RootCertStore>, Instant)>,
    /// The number of the reading that is under way, and when it began.
    reading: Option<(u64, Instant)>,
    /// How many were begun.
    readings: u64,
}

/// The right to read, given back at the end. It must not be dropped under the lock.
struct Reading {
    roots: SystemRoots,
    number: u64,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.roots.state();
        // Another fiber may have taken it over.
        if matches!(state.reading, Some((number, _)) if number == self.number) {
            state.reading = None;
        }
    }
}

impl SystemRoots {
    pub(super) fn new(places: fn() -> Places) -> Self {
        Self(Arc::new(Shared {
            places,
            get: Self::known_or_read,
            state: Mutex::new(State {
                roots: None,
                reading: None,
                readings: 0,
            }),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under it can leave it half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the authorities; waits if they have to be read.
    pub(super) fn get(&self) -> Result<Arc<RootCertStore>, TlsConfigError> {
        (self.0.get)(self)
    }

    fn known_or_read(&self) -> Result<Arc<RootCertStore>, TlsConfigError> {
        loop {
            let known = self.state().roots.clone();
            if let Some((known, at)) = known {
                // While they are read again, the ones from before serve.
                return Ok(match self.begin_if(at.elapsed() >= SYSTEM_ROOTS_AGE_MAX) {
                    Some(reading) => self.read_again(reading, known),
                    None => known,
                });
            }
            if let Some(_reading) = self.begin_if(true) {
                return Ok(self.keep(self.find()?));
            }
            pause()?;
        }
    }

    /// Reads the authorities, whatever was read before; waits.
    pub(super) fn reload(&self) -> Result<(), TlsConfigError> {
        let _reading = loop {
            if let Some(reading) = self.begin_if(true) {
                break reading;
            }
            pause()?;
        };
        self.keep(self.find()?);
        Ok(())
    }

    /// Begins to read if that is `wanted` and nobody else does, or one who began too long ago: its
    /// fiber may be gone without a trace.
    fn begin_if(&self, wanted: bool) -> Option<Reading> {
        let mut state = self.state();
        let taken = match state.reading {
            Some((_, began)) => began.elapsed() < SYSTEM_ROOTS_READ_TIMEOUT,
            None => false,
        };
        if !wanted || taken {
            return None;
        }
        state.readings += 1;
        let number = state.readings;
        state.reading = Some((number, Instant::now()));
        Some(Reading {
            roots: self.clone(),
            number,
        })
    }

    /// Has them read by a fiber of its own and waits a little for it: files that do not come must not
    /// cost the connection. Returns what is known then.
    fn read_again(&self, reading: Reading, known: Arc<RootCertStore>) -> Arc<RootCertStore> {
        let read = move || {
            let roots = &reading.roots;
            let outcome = fiber::timeout(SYSTEM_ROOTS_READ_TIMEOUT, || roots.find());
            match outcome.unwrap_or_else(|Elapsed(outcome)| outcome) {
                Ok(found) => drop(roots.keep(found)),
                Err(error) => {
                    log::warn!("the system's authorities stay as they were read before: {error}");
                    // Tried again when they have aged once more, and not at every handshake; but
                    // soon, where it was for want of time.
                    if fiber::cause(&error).is_none() {
                        roots.still_good();
                    }
                }
            }
        };
        match FiberBuilder::new().name("system authorities").spawn(read) {
            Ok(mut handle) => {
                // However the wait ends, what is known serves; the fiber reads on.
                let _ = fiber::timeout(SYSTEM_ROOTS_REREAD_TIMEOUT, || handle.join());
            }
            Err(error) => log::warn!("the system's authorities cannot be read again now: {error}"),
        }
        self.known().unwrap_or(known)
    }

    /// Lets what is known age anew.
    fn still_good(&self) {
        if let Some((_, at)) = &mut self.state().roots {
            *at = Instant::now();
        }
    }

    fn find(&self) -> Result<RootCertStore, TlsConfigError> {
        find_in((self.0.places)())
    }

    fn known(&self) -> Option<Arc<RootCertStore>> {
        self.state()
            .roots
            .as_ref()
            .map(|(roots, _)| Arc::clone(roots))
    }

    /// Keeps what was found. The same ones stay the same value, so that sessions live on.
    fn keep(&self, found: RootCertStore) -> Arc<RootCertStore> {
        let kept = match self.known() {
            Some(known) if known.roots == found.roots => known,
            _ => {
                log::debug!("{} authorities of the system are trusted", found.len());
                Arc::new(found)
            }
        };
        self.state().roots = Some((Arc::clone(&kept), Instant::now()));
        kept
    }
}

fn pause() -> Result<(), TlsConfigError> {
    fiber::sleep(SYSTEM_ROOTS_PAUSE).map_err(|stopped| TlsConfigError::File {
        path: BUNDLES[0].into(),
        source: stopped.into(),
    })
}

/// Where to look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Everything is wanted that is found, and not only the first.
    all: bool,
}

impl Places {
    /// Where this system has them.
    pub(super) fn of_system() -> Self {
        Self::new(
            std::env::var_os("SSL_CERT_FILE"),
            std::env::var_os("SSL_CERT_DIR"),
        )
    }

    /// Returns what the environment names, else where systems have them.
    fn new(file: Option<OsString>, folders: Option<OsString>) -> Self {
        let folders: Vec<_> = folders
            .iter()
            .flat_map(std::env::split_paths)
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect();
        let file = file.filter(|file| !file.is_empty());
        if file.is_some() || !folders.is_empty() {
            return Self {
                files: file.into_iter().map(PathBuf::from).collect(),
                folders,
                all: true,
            };
        }
        Self {
            files: BUNDLES.map(PathBuf::from).to_vec(),
            folders: FOLDERS.map(PathBuf::from).to_vec(),
            all: false,
        }
    }
}

/// Reads the authorities that are there.
fn find_in(places: Places) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    // What is there and cannot be read is what to repair, if it comes to nothing.
    let mut unreadable = None;
    type Source = fn(&Path) -> Result<Arc<RootCertStore>, TlsConfigError>;
    let files = places.files.iter().map(|path| (path, from_file as Source));
    let folders = places
        .folders
        .iter()
        .map(|path| (path, from_folder as Source));
    for (path, source) in files.chain(folders) {
        match source(path) {
            Ok(found) => merge(&mut roots, &found),
            Err(error) if fiber::cause(&error).is_some() => return Err(error),
            Err(error) if is_absent(&error) && !places.all => {}
            Err(error) => {
                log::warn!("the system's authorities at {}: {error}", path.display());
                if matches!(error, TlsConfigError::File { .. }) && !is_absent(&error) {
                    unreadable.get_or_insert(error);
                }
            }
        }
        if !places.all && !roots.is_empty() {
            break;
        }
    }
    if let Some(error) = unreadable.filter(|_| roots.is_empty()) {
        return Err(error);
    }
    if roots.is_empty() {
        let looked_at = [places.files, places.folders].concat();
        return Err(TrustError::NoSystemRoots { looked_at }.into());
    }
    Ok(roots)
}

fn from_file(path: &Path) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let text = read(path)?;
    // Whatever of a system's own file cannot be read is the system's business.
    let (roots, _) = parse_aside(path, text.len(), move || parse(&text))?;
    Ok(Arc::new(roots))
}

fn from_folder(path: &Path) -> Result<Arc<RootCertStore>, TlsConfigError> {
    Ok(Trust::from_folder(path)?.roots)
}

fn is_absent(error: &TlsConfigError) -> bool {
    match error {
        TlsConfigError::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
