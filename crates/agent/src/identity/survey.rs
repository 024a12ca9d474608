//! All that a state folder holds of identities, for who looks and changes nothing.

use std::path::Path;

use fiber::fs;
use safe_rt::CertificateFacts;

use super::claim;
use super::error::StoreError;
use super::finding::Opened;
use super::slot::{self, Loaded};
use super::state::{Slot, State};
use super::{Found, IDENTITY, trash};

/// What is in one of the two places of an identity.
#[derive(Debug)]
#[non_exhaustive]
pub enum Contents {
    /// Nothing.
    Empty,
    /// Something in the making: there is no certificate yet.
    Begun,
    /// An identity that was read.
    Whole(Box<Loaded>),
    /// Something that cannot be read, or does not fit together.
    Unreadable(StoreError),
}

/// All that a state folder holds of identities.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// What is known.
    pub state: State,
    /// The identity in use.
    pub active: Option<Loaded>,
    /// How the records were.
    pub found: Found,
    /// What is in the two places, in their order.
    pub slots: [(Slot, Contents); 2],
    /// What the claim that is kept says of itself, if there is one that is whole.
    pub claim: Option<CertificateFacts>,
    /// How many identities are in the trash.
    pub trash: usize,
}

impl Survey {
    /// Looks into a state folder, which need not be there: nothing is locked, made or written. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where the disk does not say what is there.
    pub fn of(folder: &Path) -> Result<Self, StoreError> {
        let home = folder.join(IDENTITY);
        let Opened {
            state,
            active,
            found,
        } = Opened::beside(folder)?;
        let claim = claim::kept(&home);
        let claim = claim.and_then(|claim| CertificateFacts::of_pem(&claim.chain).ok());
        Ok(Self {
            state,
            active,
            found,
            slots: [Slot::A, Slot::B].map(|slot| (slot, contents(&home, slot))),
            claim,
            trash: trash::count(&home)?,
        })
    }
}

fn contents(home: &Path, slot: Slot) -> Contents {
    let names = match fs::list(slot::folder(home, slot)) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Contents::Unreadable(StoreError::io(slot::folder(home, slot))(error)),
    };
    if names.is_empty() {
        return Contents::Empty;
    }
    if !names.iter().any(|name| name == slot::CHAIN) {
        return Contents::Begun;
    }
    match slot::load(home, slot) {
        Ok(loaded) => Contents::Whole(Box::new(loaded)),
        Err(error) => Contents::Unreadable(error),
    }
}
