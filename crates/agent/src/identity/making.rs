//! The making of the next identity, step by step.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::time::{Duration, SystemTime};

use fiber::{Instant, fs};
use zeroize::Zeroizing;

use super::error::StoreError;
use super::operation::Operation;
use super::slot::{self, About, Loaded};
use super::state::{Step, Unsure};
use super::{Found, Store, seconds};

/// Longest name of a certificate, in bytes: it has its place in a state record.
pub const CERTIFICATE_ID_BYTES_MAX: usize = 256;
/// How often in a row a certificate must be refused, at the least, before the identity in the making is
/// let go.
pub const REFUSALS_MIN: u32 = 3;
/// How long the device must have been on for between the first and the last of these refusals, at the
/// least: a person, or a policy that takes its time, may come.
pub const REFUSED_FOR_MIN: Duration = Duration::from_secs(24 * 3600);

/// The identity in the making, whole and not proven. Whoever has it tries it out, and then promotes
/// it.
#[derive(Debug)]
pub struct Candidate(Loaded);

impl Deref for Candidate {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.0
    }
}

/// A certificate that could not be kept yet.
pub(super) struct Pending {
    chain: Vec<u8>,
    key: Option<Zeroizing<Vec<u8>>>,
    certificate_id: String,
    token: Option<Zeroizing<Vec<u8>>>,
    got_at: SystemTime,
}

impl Store {
    /// Begins an identity with a key that was made here, and the signing request for it. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`] where one is in the making, [`StoreError::GivenUp`],
    /// [`StoreError::NoRoom`], [`StoreError::Io`].
    pub fn begin(&self, key: &[u8], request: &[u8]) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        let slot = operation.empty_slot()?;
        slot::put(operation.home(), slot, slot::KEY, key)?;
        slot::put(operation.home(), slot, slot::REQUEST, request)?;
        operation.update(|state| {
            state.set_candidate(Some((Step::KeyReady, slot)));
            state.request_check = Some(crc32fast::hash(request));
        })
    }

    /// Begins an identity whose key the cloud is to make. Yields.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    pub fn begin_without_key(&self) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        let slot = operation.empty_slot()?;
        operation.update(|state| state.set_candidate(Some((Step::CsrSent, slot))))
    }

    /// Returns the signing request of the identity in the making; nothing where the cloud is to make
    /// the key. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] for one that is missing, or not the one that was made;
    /// [`StoreError::Io`].
    pub fn request(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(check) = self.0.state.borrow().request_check else {
            return Ok(None);
        };
        let request = self.candidate_file(slot::REQUEST)?;
        match request.filter(|request| crc32fast::hash(request) == check) {
            Some(request) => Ok(Some(request)),
            None => Err(StoreError::Damaged {
                path: self.candidate_path(slot::REQUEST),
                what: "it is not the request that was made",
            }),
        }
    }

    /// Returns what proves to the cloud that the certificate is this device's, where it gave such a
    /// thing. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn token(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.candidate_file(slot::TOKEN)?.map(Zeroizing::new))
    }

    /// Notes that the cloud is about to be asked for a certificate, whether for the first time or
    /// again. Yields. Where this fails the cloud is not asked: what it answers could not be kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::NoRoom`], [`StoreError::Io`].
    pub fn asking(&self) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        match operation.step()? {
            Step::KeyReady | Step::CsrSent => {}
            other => return Err(refused(&other)),
        }
        operation.check_room()?;
        let mut state = operation.state();
        state.candidate = Some(Step::CsrSent);
        // Also where it says so already: a disk that does not take it takes no certificate.
        operation.write(state)
    }

    /// Keeps a certificate that the cloud gave, and the key if it made that too. Yields.
    ///
    /// Where the disk fails, it is remembered for [`Store::hold_again`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Contents`] for a certificate that is not of the key in the slot, after which
    /// everything is as before; [`StoreError::TooLong`], [`StoreError::Step`], [`StoreError::Io`].
    pub fn hold(&self, held: &Held<'_>) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        let kept = keep(&mut operation, held);
        let is_pending = matches!(kept, Err(StoreError::Io { .. } | StoreError::Locked(_)));
        let owned = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        self.0.pending.replace(is_pending.then(|| Pending {
            chain: held.chain.to_vec(),
            key: held.key.map(owned),
            certificate_id: held.certificate_id.to_owned(),
            token: held.token.map(owned),
            got_at: held.got_at,
        }));
        kept
    }

    /// Keeps the certificate that the cloud gave before, if it could not be kept then. Yields. Returns
    /// whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Store::hold`].
    pub fn hold_again(&self) -> Result<bool, StoreError> {
        let Some(pending) = self.0.pending.take() else {
            return Ok(false);
        };
        self.hold(&Held {
            chain: &pending.chain,
            key: pending.key.as_ref().map(|key| key.as_slice()),
            certificate_id: &pending.certificate_id,
            token: pending.token.as_ref().map(|token| token.as_slice()),
            got_at: pending.got_at,
        })?;
        Ok(true)
    }

    /// Goes back to where the cloud is asked for a certificate: with the same key and the same
    /// request, if the key was made here. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], also for one that is registered; [`StoreError::Io`].
    pub fn ask_again(&self) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        match operation.step()? {
            Step::KeyReady | Step::CsrSent | Step::CertHeld { .. } => {}
            other => return Err(refused(&other)),
        }
        operation.update(|state| {
            state.candidate = Some(match state.request_check {
                Some(_) => Step::KeyReady,
                None => Step::CsrSent,
            });
        })
    }

    /// Keeps what the cloud said of the device when it took the certificate. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::TooLong`], [`StoreError::Io`].
    pub fn registered(&self, about: &About) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        match operation.step()? {
            Step::CertHeld { .. } => {}
            other => return Err(refused(&other)),
        }
        check_length(&about.certificate_id)?;
        slot::put_about(operation.home(), operation.candidate_slot(), about)?;
        let certificate_id = about.certificate_id.clone();
        operation.update(|state| state.candidate = Some(Step::Registered { certificate_id }))
    }

    /// Returns the identity in the making, once it is whole, and notes that it is being tried out.
    /// Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] where what the cloud said is not of this certificate,
    /// [`StoreError::Step`], [`StoreError::Io`], [`StoreError::Contents`].
    pub fn prove(&self) -> Result<Candidate, StoreError> {
        let mut operation = self.operation()?;
        let step = operation.step()?;
        let (Step::Registered { certificate_id } | Step::Proving { certificate_id }) = step else {
            return Err(refused(&step));
        };
        let loaded = slot::load(operation.home(), operation.candidate_slot())?;
        let about = loaded.about().map(|about| &about.certificate_id);
        if about != Some(&certificate_id) {
            return Err(StoreError::Damaged {
                path: self.candidate_path(slot::ABOUT),
                what: "it is not of the certificate that was registered",
            });
        }
        operation.update(|state| state.candidate = Some(Step::Proving { certificate_id }))?;
        Ok(Candidate(loaded))
    }

    /// Takes the identity that was tried out into use; the one before stays in its slot. Yields.
    ///
    /// That it was proven is noted in its slot before it is in the record: where both records are
    /// lost, no other is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], also where the candidate is not the one that is in the making now,
    /// [`StoreError::Io`], [`StoreError::Contents`]; then the one before is in use.
    // What was tried out is used up by this.
    #[allow(clippy::needless_pass_by_value)]
    pub fn promote(&self, candidate: Candidate, now: SystemTime) -> Result<Loaded, StoreError> {
        let mut operation = self.operation()?;
        match operation.step()? {
            Step::Proving { .. } => {}
            other => return Err(refused(&other)),
        }
        let slot = operation.candidate_slot();
        let loaded = slot::load(operation.home(), slot)?;
        if !loaded.is_same(&candidate) {
            return Err(StoreError::Step {
                found: "another candidate",
            });
        }
        let other = slot::proven_in(&slot::folder(operation.home(), slot.other()));
        let before = other.ok().flatten().unwrap_or(0);
        let number = operation.state().promotions.max(before).saturating_add(1);
        let loaded = slot::put_proven(operation.home(), &loaded, number)?;
        operation.update(|state| {
            state.set_candidate(None);
            state.active = Some(slot);
            state.unsure = Unsure::No;
            state.active_since = Some(seconds(now));
            state.promotions = number;
            state.last_failure = None;
        })?;
        self.0.active.replace(Some(loaded.clone()));
        self.0.found.set(Found::Known);
        slot::tidy_up(operation.home(), slot);
        Ok(loaded)
    }

    /// Goes back from trying out, which came to nothing for another reason than the certificate: the
    /// identity in the making is whole, and is not in use. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`].
    pub fn not_proven(&self, reason: &str) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        let certificate_id = proving(&operation)?;
        operation.update(|state| {
            state.candidate = Some(Step::Registered { certificate_id });
            state.attempts = state.attempts.saturating_add(1);
            state.fail(reason);
        })
    }

    /// Goes back from trying out, because the other side refused the certificate. Yields.
    ///
    /// Where that has happened [`REFUSALS_MIN`] times, and for [`REFUSED_FOR_MIN`] of the time that
    /// the device was on, the identity in the making is let go, as by [`Store::abandon`]. Returns
    /// whether it was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`].
    pub fn proof_refused(&self, reason: &str) -> Result<bool, StoreError> {
        let mut operation = self.operation()?;
        let certificate_id = proving(&operation)?;
        // By the clock that no one sets; of other starts of the program it is noted how long they
        // were refused.
        let now = Instant::now();
        let before = self.0.refused_at.replace(Some(now));
        let passed = before.map_or(Duration::ZERO, |before| before.elapsed());
        let state = operation.state();
        let refusals = state.refusals.saturating_add(1);
        let refused_for = state.refused_for.saturating_add(passed.as_secs());
        if refusals >= REFUSALS_MIN && refused_for >= REFUSED_FOR_MIN.as_secs() {
            let_go(&mut operation, reason)?;
            return Ok(true);
        }
        operation.update(|state| {
            state.candidate = Some(Step::Registered { certificate_id });
            state.attempts = state.attempts.saturating_add(1);
            state.refusals = refusals;
            state.refused_for = refused_for;
            state.fail(reason);
        })?;
        Ok(false)
    }

    /// Lets the identity in the making go: the next one gets a new key. Its slot stays as it is until
    /// then, and goes to the trash. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn abandon(&self, reason: &str) -> Result<(), StoreError> {
        let_go(&mut self.operation()?, reason)
    }

    fn candidate_path(&self, name: &str) -> std::path::PathBuf {
        let slot = self.0.state.borrow().candidate_slot();
        slot::folder(&self.0.home, slot).join(name)
    }

    fn candidate_file(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        slot::read_if_there(&self.candidate_path(name))
    }
}

fn let_go(operation: &mut Operation<'_>, reason: &str) -> Result<(), StoreError> {
    operation.update(|state| {
        state.set_candidate(None);
        state.fail(reason);
    })?;
    operation.shared.pending.replace(None);
    operation.shared.refused_at.set(None);
    Ok(())
}

fn keep(operation: &mut Operation<'_>, held: &Held<'_>) -> Result<(), StoreError> {
    let state = operation.state();
    if state.candidate != Some(Step::CsrSent) {
        let found = state.phase();
        return Err(StoreError::Step { found });
    }
    check_length(held.certificate_id)?;
    let (home, slot) = (operation.home(), state.candidate_slot());
    let folder = slot::folder(home, slot);
    // One that was made here is not replaced, whatever is sent.
    match held.key.filter(|_| state.request_check.is_none()) {
        Some(key) => {
            slot::check_pair(&folder, held.chain, key)?;
            slot::put(home, slot, slot::KEY, key)?;
        }
        None => {
            let path = folder.join(slot::KEY);
            let key = fs::read(&path).map(Zeroizing::new);
            slot::check_pair(&folder, held.chain, &key.map_err(StoreError::io(path))?)?;
        }
    }
    slot::put(home, slot, slot::CHAIN, held.chain)?;
    // Nothing of a certificate before stays beside it.
    for name in [slot::TOKEN, slot::ABOUT] {
        match held.token.filter(|_| name == slot::TOKEN) {
            Some(token) => slot::put(home, slot, name, token)?,
            None => match fs::remove(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io(folder.join(name))(error));
                }
                Ok(()) => fs::sync_dir(&folder).map_err(StoreError::io(&folder))?,
                Err(_) => {}
            },
        }
    }
    let step = Step::CertHeld {
        certificate_id: held.certificate_id.to_owned(),
        got_at: seconds(held.got_at),
    };
    operation.update(|state| state.candidate = Some(step))
}

fn proving(operation: &Operation<'_>) -> Result<String, StoreError> {
    match operation.step()? {
        Step::Proving { certificate_id } => Ok(certificate_id),
        other => Err(refused(&other)),
    }
}

const fn refused(step: &Step) -> StoreError {
    StoreError::Step { found: step.name() }
}

const fn check_length(certificate_id: &str) -> Result<(), StoreError> {
    let found = certificate_id.len();
    if found > CERTIFICATE_ID_BYTES_MAX {
        return Err(StoreError::TooLong { found });
    }
    Ok(())
}

/// A certificate that the cloud gave.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// The chain, PEM, leaf first.
    pub chain: &'a [u8],
    /// The key, PEM, if the cloud made it.
    pub key: Option<&'a [u8]>,
    /// The cloud's name for the certificate.
    pub certificate_id: &'a str,
    /// What proves that it is this device's.
    pub token: Option<&'a [u8]>,
    /// When it came.
    pub got_at: SystemTime,
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.certificate_id)
    }
}
