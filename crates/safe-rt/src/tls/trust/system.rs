//! The authorities of the operating system: where they are, and when they are read.
//!
//! Files are read by way of [`fiber::fs`] and taken apart off the thread, so that only the fibers
//! that need them wait, each under its own deadline, and so that a simulated machine has those of its
//! simulated disk. One fiber reads; the others wait for it, or go on with what was read before.

use core::time::Duration;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fiber::Instant;
use rustls::RootCertStore;

use super::{Trust, TrustError, merge, parse};
use crate::tls::config::{TlsConfigError, read};

/// How old the system's authorities may be before a handshake has them read again: a device runs
/// for longer than some of them are believed.
pub const SYSTEM_ROOTS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
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
    state: Mutex<State>,
}

struct State {
    /// What was read last, and when.
    roots: Option<(Arc<RootCertStore>, Instant)>,
    /// A fiber is reading.
    reading: bool,
}

/// The right to read, given back at the end.
struct Reading<'a>(&'a SystemRoots);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.state().reading = false;
    }
}

impl SystemRoots {
    pub(super) fn new(places: fn() -> Places) -> Self {
        Self(Arc::new(Shared {
            places,
            state: Mutex::new(State {
                roots: None,
                reading: false,
            }),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under it can leave it half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the authorities; waits if they have to be read.
    pub(super) fn get(&self) -> Result<Arc<RootCertStore>, TlsConfigError> {
        let reading = loop {
            let mut state = self.state();
            match &state.roots {
                // While they are read again, the ones from before serve.
                Some((roots, at)) if state.reading || at.elapsed() < SYSTEM_ROOTS_AGE_MAX => {
                    return Ok(Arc::clone(roots));
                }
                _ if !state.reading => {
                    state.reading = true;
                    break Reading(self);
                }
                _ => {}
            }
            drop(state);
            pause()?;
        };
        match (self.find(), self.known()) {
            (Ok(found), _) => Ok(self.keep(found)),
            (Err(error), Some(known)) if fiber::cause(&error).is_none() => {
                log::warn!("the system's authorities stay as they were read before: {error}");
                // Tried again when they have aged once more, and not at every handshake.
                self.state().roots = Some((Arc::clone(&known), Instant::now()));
                drop(reading);
                Ok(known)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Reads the authorities, whatever was read before; waits.
    pub(super) fn reload(&self) -> Result<(), TlsConfigError> {
        let _reading = loop {
            let mut state = self.state();
            if !state.reading {
                state.reading = true;
                break Reading(self);
            }
            drop(state);
            pause()?;
        };
        self.keep(self.find()?);
        Ok(())
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
    let parsed = fiber::offload(move || parse(&text)).map_err(|error| TlsConfigError::File {
        path: path.to_owned(),
        source: error.into(),
    })?;
    // Whatever of a system's own file cannot be read is the system's business.
    Ok(Arc::new(parsed?.0))
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
