//! The making of the next identity, step by step.

use std::io;
use std::time::SystemTime;

use fiber::fs;
use zeroize::Zeroizing;

use super::error::StoreError;
use super::slot::{self, About, Loaded};
use super::state::{Slot, Step};
use super::{Found, ROOM_BYTES_MIN, Store, durable, seconds, trash};

impl Store {
    /// Begins an identity with a key that was made here, and the signing request for it. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`] where one is in the making, [`StoreError::NoRoom`], [`StoreError::Io`].
    pub fn begin(&self, key: &[u8], request: &[u8]) -> Result<(), StoreError> {
        let slot = self.empty_slot()?;
        slot::put(&self.0.home, slot, slot::KEY, key)?;
        slot::put(&self.0.home, slot, slot::REQUEST, request)?;
        self.update(|state| state.candidate = Some(Step::KeyReady))
    }

    /// Begins an identity whose key the cloud is to make. Yields.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    pub fn begin_without_key(&self) -> Result<(), StoreError> {
        self.empty_slot()?;
        self.update(|state| state.candidate = Some(Step::CsrSent))
    }

    /// Returns the signing request of the identity in the making; nothing where the cloud is to make
    /// the key. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn request(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.candidate_file(slot::REQUEST)
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

    /// Notes that the cloud is about to be asked for a certificate. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`].
    pub fn asking(&self) -> Result<(), StoreError> {
        match self.step()? {
            Step::KeyReady => self.update(|state| state.candidate = Some(Step::CsrSent)),
            Step::CsrSent => Ok(()),
            other => Err(StoreError::Step {
                found: other.name(),
            }),
        }
    }

    /// Keeps a certificate that the cloud gave, and the key if it made that too. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Contents`] for a certificate that is not of the key in the slot, after which
    /// everything is as before; [`StoreError::Step`], [`StoreError::Io`].
    pub fn hold(&self, held: &Held<'_>) -> Result<(), StoreError> {
        if self.step()? != Step::CsrSent {
            return Err(StoreError::Step {
                found: self.0.state.borrow().phase(),
            });
        }
        let (home, slot) = (&self.0.home, self.candidate_slot());
        let folder = slot::folder(home, slot);
        match held.key {
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
        if let Some(token) = held.token {
            slot::put(home, slot, slot::TOKEN, token)?;
        }
        let step = Step::CertHeld {
            certificate_id: held.certificate_id.to_owned(),
            got_at: seconds(held.got_at),
        };
        self.update(|state| state.candidate = Some(step))
    }

    /// Goes back to where the cloud is asked for a certificate: with the same key and the same
    /// request, if the key was made here. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`].
    pub fn ask_again(&self) -> Result<(), StoreError> {
        self.step()?;
        let step = match self.request()? {
            Some(_) => Step::KeyReady,
            None => Step::CsrSent,
        };
        self.update(|state| state.candidate = Some(step))
    }

    /// Keeps what the cloud said of the device when it took the certificate. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`].
    pub fn registered(&self, about: &About) -> Result<(), StoreError> {
        match self.step()? {
            Step::CertHeld { .. } => {}
            other => {
                return Err(StoreError::Step {
                    found: other.name(),
                });
            }
        }
        slot::put_about(&self.0.home, self.candidate_slot(), about)?;
        let certificate_id = about.certificate_id.clone();
        self.update(|state| state.candidate = Some(Step::Registered { certificate_id }))
    }

    /// Returns the identity in the making, once it is whole, and notes that it is being tried out.
    /// Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`], [`StoreError::Contents`].
    pub fn prove(&self) -> Result<Loaded, StoreError> {
        let step = self.step()?;
        let (Step::Registered { certificate_id } | Step::Proving { certificate_id }) = step else {
            return Err(StoreError::Step { found: step.name() });
        };
        let loaded = slot::load(&self.0.home, self.candidate_slot())?;
        self.update(|state| state.candidate = Some(Step::Proving { certificate_id }))?;
        Ok(loaded)
    }

    /// Takes the identity that was tried out into use; the one before stays in its slot. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`], [`StoreError::Contents`]; then the one before is in
    /// use.
    pub fn promote(&self, now: SystemTime) -> Result<Loaded, StoreError> {
        match self.step()? {
            Step::Proving { .. } => {}
            other => {
                return Err(StoreError::Step {
                    found: other.name(),
                });
            }
        }
        let slot = self.candidate_slot();
        let loaded = slot::load(&self.0.home, slot)?;
        self.update(|state| {
            state.active = Some(slot);
            state.candidate = None;
            state.active_since = Some(seconds(now));
            state.attempts = 0;
            state.last_failure = None;
        })?;
        self.0.active.replace(Some(loaded.clone()));
        self.0.found.set(Found::Known);
        // Of no use any more, and the token is a secret.
        for name in [slot::TOKEN, slot::REQUEST] {
            let path = slot::folder(&self.0.home, slot).join(name);
            if let Err(error) = durable::wipe(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                log::debug!("{}: {error}", path.display());
            }
        }
        Ok(loaded)
    }

    /// Goes back from trying out: the identity in the making is whole, and is not in use. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Step`], [`StoreError::Io`].
    pub fn not_proven(&self, reason: &str) -> Result<(), StoreError> {
        let Step::Proving { certificate_id } = self.step()? else {
            return Err(StoreError::Step {
                found: self.0.state.borrow().phase(),
            });
        };
        self.update(|state| {
            state.candidate = Some(Step::Registered { certificate_id });
            state.attempts = state.attempts.saturating_add(1);
            state.fail(reason);
        })
    }

    /// Lets the identity in the making go: the next one gets a new key. Its slot stays as it is until
    /// then, and goes to the trash. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn abandon(&self, reason: &str) -> Result<(), StoreError> {
        self.update(|state| {
            state.candidate = None;
            state.fail(reason);
        })
    }

    fn step(&self) -> Result<Step, StoreError> {
        let step = self.0.state.borrow().candidate.clone();
        step.ok_or(StoreError::Step { found: "none" })
    }

    fn candidate_slot(&self) -> Slot {
        self.0.state.borrow().candidate_slot()
    }

    fn candidate_file(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = slot::folder(&self.0.home, self.candidate_slot()).join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(path)(error)),
        }
    }

    /// Makes the slot of the next identity, after what was in it has gone to the trash.
    fn empty_slot(&self) -> Result<Slot, StoreError> {
        if let Some(step) = &self.0.state.borrow().candidate {
            return Err(StoreError::Step { found: step.name() });
        }
        let found = fs::free_space(&self.0.home).map_err(StoreError::io(&self.0.home))?;
        if found < ROOM_BYTES_MIN {
            return Err(StoreError::NoRoom { found });
        }
        let slot = self.candidate_slot();
        trash::take(&self.0.home, slot)?;
        let folder = slot::folder(&self.0.home, slot);
        durable::make_folder(&folder).map_err(StoreError::io(folder))?;
        Ok(slot)
    }
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
