//! Whom to believe: authorities, pins, and lists of what was revoked.

mod crl;
mod error;
mod pin;
mod system;

use core::fmt;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use self::system::{Places, SystemRoots};
use super::check::{AskChain, ClientVerifier, Demands, ServerVerifier};
use super::config::{TlsConfigError, read};
use super::danger::Danger;
use super::pem;
use super::verify::Noting;

pub use self::crl::{CRLS_MAX, Revocation};
pub use self::error::TrustError;
pub use self::pin::{PINS_MAX, Pin};
pub use self::system::SYSTEM_ROOTS_AGE_MAX;

pub(super) use self::crl::{Crls, Signatory};

/// Most authorities that one [`Trust`] holds, those of the system aside.
pub const AUTHORITIES_MAX: usize = 1024;
/// Most files of certificates that are read of one folder.
pub const TRUST_FILES_MAX: usize = 1024;
/// A file of so many bytes is taken apart where it was read: that takes about as long as handing it to another
/// thread does.
const PARSED_IN_PLACE_MAX: usize = 16 * 1024;

/// Whose certificates are believed: authorities, pinned keys, and what was revoked of either.
///
/// - With **authorities** (PEM texts, files, folders, or the system's own) a certificate must lead
///   to one of them, be within its dates and, on the client's side, be for the host that was asked
///   for.
/// - With **pins** and no authorities the peer must have one of the pinned keys, and nothing else is
///   asked: neither who issued its certificate nor name and dates, which are the words of whoever
///   has the key (as in RFC 7671 section 5.1).
/// - With both, both must hold: a valid chain to an authority with a pinned key in it, the peer's
///   own, an issuer's, or the authority's.
/// - With **revocation lists** no certificate of the chain may be on one; see [`Revocation`] for
///   what must be covered.
///
/// Values are combined with [`also`](Self::also), and cheap to clone.
///
/// # Examples
/// ```
/// use safe_rt::{Pin, Trust};
///
/// # let made = rcgen::generate_simple_self_signed(vec!["device".to_owned()])?.cert.pem();
/// # let (authority, certificate) = (made.as_bytes(), made.as_bytes());
/// // Either an authority of our own or one of the system's.
/// let either = Trust::from_pem(authority)?.also(Trust::system())?;
/// // One server, with a certificate that it made by itself.
/// let pinned = Trust::pins([Pin::of_certificate(certificate)?])?;
/// # drop((either, pinned));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    system: Option<SystemRoots>,
    pins: Vec<Pin>,
    crls: Crls,
    /// How a chain is asked for them, where there are any: a program without has nothing of it.
    ask: Option<AskChain>,
}

impl Trust {
    /// Believes nobody, which no configuration can be built with: where others are added to.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            roots: Arc::new(RootCertStore::empty()),
            system: None,
            pins: Vec::new(),
            crls: Crls::default(),
            ask: None,
        }
    }

    /// Takes every certificate of a PEM text as an authority.
    ///
    /// Certificates that cannot be an authority are passed over and counted in the log, because
    /// bundles hold odd ones.
    ///
    /// # Errors
    /// [`TlsConfigError::TrustPem`], or [`TlsConfigError::NoUsableAuthority`] if all were odd.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsConfigError> {
        let (roots, passed_over) = parse(pem)?;
        if passed_over > 0 {
            log::warn!("{passed_over} certificate(s) to be trusted cannot be read and are ignored");
        }
        if roots.len() > AUTHORITIES_MAX {
            return Err(TrustError::TooManyAuthorities.into());
        }
        Ok(Self {
            roots: Arc::new(roots),
            ..Self::nobody()
        })
    }

    /// Reads the PEM file at `path`; waits, without stopping other fibers.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and [`TlsConfigError::File`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        let path = path.as_ref();
        let pem = read(path)?;
        parse_aside(path, pem.len(), move || Self::from_pem(&pem))
    }

    /// Reads several PEM files, each of which must hold an authority; waits, without stopping other
    /// fibers.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file), and [`TrustError`] if it is too much.
    pub fn from_files<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, TlsConfigError> {
        paths.into_iter().try_fold(Self::nobody(), |trust, path| {
            trust.also(Self::from_file(path)?)
        })
    }

    /// Reads the PEM files of a folder, but not of folders in it: those whose names end in `.pem`,
    /// `.crt` or `.cer`, or are what `openssl rehash` gives. Waits, without stopping other fibers.
    ///
    /// A file without an authority is passed over with a line in the log.
    ///
    /// # Errors
    /// [`TlsConfigError::File`], or [`TrustError`] if there is no authority or too many.
    pub fn from_folder(path: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        let path = path.as_ref();
        let names = fiber::fs::list(path).map_err(|source| TlsConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        let names: Vec<_> = names.iter().filter(|name| is_certificate(name)).collect();
        if names.len() > TRUST_FILES_MAX {
            return Err(TrustError::TooManyFiles(path.to_owned()).into());
        }
        let mut trust = Self::nobody();
        for name in names {
            match Self::from_file(path.join(name)) {
                Ok(found) => trust = trust.also(found)?,
                Err(TlsConfigError::File { path, source }) => match fiber::cause(&source) {
                    Some(_) => return Err(TlsConfigError::File { path, source }),
                    None => log::warn!("{} is passed over: {source}", path.display()),
                },
                Err(error) => {
                    let name = path.join(name);
                    log::warn!("{} is passed over: {error}", name.display());
                }
            }
        }
        if trust.roots.is_empty() {
            return Err(TrustError::NoAuthorityInFolder(path.to_owned()).into());
        }
        Ok(trust)
    }

    /// Believes the authorities of the operating system, which are read when the first handshake
    /// needs them, or by [`load`](Self::load): off the thread, while other fibers run, under the
    /// handshake's deadline. Clones share what was read.
    ///
    /// Where `SSL_CERT_FILE` or `SSL_CERT_DIR` are set in the environment, what they name is read
    /// instead: a file, and folders with a colon between them. After [`SYSTEM_ROOTS_AGE_MAX`] they
    /// are read again; where that fails or takes long, the ones from before go on to serve. Finding none
    /// is [`TrustError::NoSystemRoots`], and finding only what cannot be read [`TlsConfigError::File`].
    #[must_use]
    pub fn system() -> Self {
        Self {
            system: Some(SystemRoots::new(Places::of_system)),
            ..Self::nobody()
        }
    }

    /// Believes whoever has one of these keys; see [`Trust`] for what that replaces.
    ///
    /// # Errors
    /// [`TrustError::TooManyPins`], or [`TrustError::Nobody`] if there are none.
    pub fn pins(pins: impl IntoIterator<Item = Pin>) -> Result<Self, TlsConfigError> {
        let pins: Vec<_> = pins.into_iter().take(PINS_MAX + 1).collect();
        if pins.is_empty() {
            return Err(TrustError::Nobody.into());
        }
        Self::nobody().also(Self {
            pins,
            ask: Some(Demands::ask_all),
            ..Self::nobody()
        })
    }

    /// Puts two together: the authorities of either, the pins of either, the lists of both. What was
    /// chosen with [`revocation`](Self::revocation) and
    /// [`allow_expired_crls`](Self::allow_expired_crls) stays as it is in `self`.
    ///
    /// # Errors
    /// [`TrustError`], if it is too much of something.
    pub fn also(mut self, other: Self) -> Result<Self, TlsConfigError> {
        if self.roots.is_empty() {
            self.roots = other.roots;
        } else if !other.roots.is_empty() {
            let roots = Arc::make_mut(&mut self.roots);
            merge(roots, &other.roots);
            if roots.len() > AUTHORITIES_MAX {
                return Err(TrustError::TooManyAuthorities.into());
            }
        }
        self.system = self.system.or(other.system);
        for pin in other.pins {
            if !self.pins.contains(&pin) {
                self.pins.push(pin);
            }
        }
        if self.pins.len() > PINS_MAX {
            return Err(TrustError::TooManyPins.into());
        }
        self.crls.extend(other.crls)?;
        self.ask = self.ask.or(other.ask);
        Ok(self)
    }

    /// Refuses what the revocation lists of a PEM text name, or the one list that a DER file is.
    ///
    /// Where several lists of one issuer are given, the one counts for a certificate that is signed with
    /// the key that signed the certificate, so that an authority that renews its key has a list for
    /// either, and of these the newest.
    ///
    /// # Errors
    /// [`TrustError`], if a list is damaged or too much.
    pub fn crl_pem(mut self, text: &[u8]) -> Result<Self, TlsConfigError> {
        self.crls.read(text)?;
        self.ask = Some(Demands::ask_all);
        Ok(self)
    }

    /// Reads revocation lists of the file at `path`, PEM or DER; waits, without stopping other
    /// fibers.
    ///
    /// # Errors
    /// As [`crl_pem`](Self::crl_pem), and [`TlsConfigError::File`].
    pub fn crl_file(self, path: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        let path = path.as_ref();
        let text = read(path)?;
        parse_aside(path, text.len(), move || self.crl_pem(&text))
    }

    /// Chooses which certificates must be covered by a revocation list, if there are any.
    #[must_use]
    pub const fn revocation(mut self, revocation: Revocation) -> Self {
        self.crls.revocation = revocation;
        self
    }

    /// Uses revocation lists also after the time at which the next one was promised, with a warning
    /// in the log at each handshake. Otherwise they are refused then: whoever keeps new lists from a
    /// device must not be able to bring back a revoked certificate.
    #[must_use]
    pub const fn allow_expired_crls(mut self) -> Self {
        self.crls.allow_expired = true;
        self
    }

    /// Reads the system's authorities now, also if they were read before; without them it does
    /// nothing. Waits under the ambient deadline, without stopping other fibers. Configurations that
    /// use this value or a clone of it use what was found from their next handshake on.
    ///
    /// # Errors
    /// [`TrustError::NoSystemRoots`], or what reading failed with, [`TlsConfigError::File`] among it;
    /// what was read before then stays.
    pub fn load(&self) -> Result<(), TlsConfigError> {
        match &self.system {
            Some(system) => system.reload(),
            None => Ok(()),
        }
    }

    /// Returns the authorities to be used now, those of the system among them, which may have to be
    /// read first: then it waits.
    pub(super) fn authorities(&self) -> Result<Authorities, TlsConfigError> {
        Ok(Authorities {
            system: self.system.as_ref().map(SystemRoots::get).transpose()?,
        })
    }

    /// Returns whether [`authorities`](Self::authorities) may wait.
    pub(super) const fn may_wait(&self) -> bool {
        self.system.is_some()
    }

    /// Whether an authority has this name, encoded and without tag and length.
    pub(super) fn has_authority(&self, name: &[u8]) -> bool {
        self.roots
            .roots
            .iter()
            .any(|root| root.subject.as_ref() == name)
    }

    /// Whether a revocation list of its issuer names this certificate.
    pub(super) fn has_revoked(&self, certificate: &CertificateDer<'_>) -> bool {
        self.crls.names(certificate)
    }

    /// Returns how a client is to check its servers.
    pub(super) fn server_verifier(
        &self,
        authorities: &Authorities,
        danger: Option<Danger>,
    ) -> Result<Arc<Noting<ServerVerifier>>, TlsConfigError> {
        let mut roots = Arc::clone(&self.roots);
        match &authorities.system {
            Some(system) if roots.is_empty() => roots = Arc::clone(system),
            Some(system) => merge(Arc::make_mut(&mut roots), system),
            None => {}
        }
        let trust = Self {
            roots: Arc::clone(&roots),
            ..self.clone()
        };
        let (pins, crls) = (self.pins.clone(), self.crls.clone());
        let verifier = ServerVerifier::new(roots, pins, crls, self.ask, danger);
        Ok(Noting::new(Arc::new(verifier), trust))
    }

    /// Returns how a server is to check its clients.
    pub(super) fn client_verifier(&self) -> Result<Arc<Noting<ClientVerifier>>, TlsConfigError> {
        self.check()?;
        if self.system.is_some() {
            return Err(TrustError::SystemRootsForClients.into());
        }
        let roots = Arc::clone(&self.roots);
        let verifier = ClientVerifier::new(roots, self.pins.clone(), self.crls.clone(), self.ask)?;
        Ok(Noting::new(Arc::new(verifier), self.clone()))
    }

    /// Checks that there is somebody to believe.
    pub(super) fn check(&self) -> Result<(), TlsConfigError> {
        let authorities = self.system.is_some() || !self.roots.is_empty();
        if !authorities && self.pins.is_empty() {
            return Err(TrustError::Nobody.into());
        }
        if !authorities && !self.crls.is_empty() {
            return Err(TrustError::CrlsWithoutAuthorities.into());
        }
        Ok(())
    }
}

/// The authorities that are not part of a [`Trust`] itself.
pub(super) struct Authorities {
    system: Option<Arc<RootCertStore>>,
}

impl Authorities {
    /// Those of a trust that needs no others, or that nobody is going to ask.
    pub(super) const fn none() -> Self {
        Self { system: None }
    }

    /// Returns whether both are the same reading.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (&self.system, &other.system) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities", self.roots.len())?;
        if self.system.is_some() {
            f.write_str(", the system's")?;
        }
        if !self.pins.is_empty() {
            write!(f, ", {} pins", self.pins.len())?;
        }
        if !self.crls.is_empty() {
            write!(f, ", {} revocation lists", self.crls.len())?;
        }
        f.write_str(")")
    }
}

/// Takes apart what a file of so many bytes holds: some have a megabyte, during which other fibers run.
fn parse_aside<T: Send + 'static>(
    path: &Path,
    len: usize,
    parse: impl FnOnce() -> Result<T, TlsConfigError> + Send + 'static,
) -> Result<T, TlsConfigError> {
    if len <= PARSED_IN_PLACE_MAX {
        return parse();
    }
    fiber::offload(parse).map_err(|error| TlsConfigError::File {
        path: path.to_owned(),
        source: error.into(),
    })?
}

/// Reads the authorities of a PEM text, at least one, and counts what cannot be one.
fn parse(pem: &[u8]) -> Result<(RootCertStore, usize), TlsConfigError> {
    let certificates = pem::certificates(pem).map_err(TlsConfigError::TrustPem)?;
    let mut roots = RootCertStore::empty();
    let (taken, passed_over) = roots.add_parsable_certificates(certificates);
    if taken == 0 {
        return Err(TlsConfigError::NoUsableAuthority(passed_over));
    }
    Ok((roots, passed_over))
}

/// Adds the authorities of `other` that `roots` does not have.
fn merge(roots: &mut RootCertStore, other: &RootCertStore) {
    for root in &other.roots {
        if !roots.roots.contains(root) {
            roots.roots.push(root.clone());
        }
    }
}

/// Returns whether a file of a folder is to be read.
fn is_certificate(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    matches!(extension, Some("pem" | "crt" | "cer")) || is_hash(name)
}

/// Returns whether a name is one that `openssl rehash` gives a certificate: the hash of its subject
/// and a number.
fn is_hash(name: &OsStr) -> bool {
    let Some((hash, number)) = name.to_str().and_then(|name| name.split_once('.')) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && digits(number)
}
