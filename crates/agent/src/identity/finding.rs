//! Which identity is in use, and which is in the making: by the records, and where both are lost, by
//! what the slots hold.

use std::io::ErrorKind;
use std::path::Path;

use fiber::fs;

use super::error::StoreError;
use super::journal::Journal;
use super::keeping::{self, GIVEN_UP};
use super::slot::{self, Loaded};
use super::state::{Slot, State, Step, Unsure};
use super::{Found, IDENTITY};

/// What was found in a state folder.
pub(super) struct Opened {
    pub(super) state: State,
    pub(super) active: Option<Loaded>,
    pub(super) found: Found,
}

impl Opened {
    /// Finds the identity in use beside a program that may change it meanwhile. Yields.
    ///
    /// Fails as [`Opened::read`] does.
    pub(super) fn beside(folder: &Path) -> Result<Self, StoreError> {
        let home = folder.join(IDENTITY);
        let (journal, state) = Journal::open(folder)?;
        let opened = Self::read(&home, state);
        let (now, state) = Journal::open(folder)?;
        if journal.generation() == now.generation() {
            return opened;
        }
        // Record and slot were read at different times.
        Self::read(&home, state)
    }

    /// Finds the identity in use. Yields.
    ///
    /// Fails where the disk does not say what there is, and there is no other to use.
    pub(super) fn read(home: &Path, state: Option<State>) -> Result<Self, StoreError> {
        match state {
            Some(state) => Self::of_state(home, state),
            None => Self::of_slots(home),
        }
    }

    /// By what the record says, as long as that can be read; else the one before, for as long as it
    /// cannot. The record stays as it is.
    fn of_state(home: &Path, state: State) -> Result<Self, StoreError> {
        let (mut active, mut found) = (None, Found::Known);
        if let Some(slot) = state.active {
            match slot::load(home, slot) {
                Ok(loaded) => active = Some(loaded),
                Err(error) => {
                    log::error!("the identity in use cannot be read: {error}");
                    if let Some(loaded) = before(home, &state, slot) {
                        log::warn!("the identity before it is used instead");
                        active = Some(loaded);
                        found = Found::Fallback;
                    } else if !error.is_damage() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(Self {
            state,
            active,
            found,
        })
    }

    /// By what the slots hold. Only one that was proven is taken into use, or one that somebody
    /// placed there; one in the making goes on from where that is sure.
    fn of_slots(home: &Path) -> Result<Self, StoreError> {
        let mut state = State {
            device_id: keeping::kept_device_id(home).ok().flatten(),
            ..State::default()
        };
        if slot::read_if_there(&home.join(GIVEN_UP))?.is_some() {
            log::warn!("the state is lost; the identity was given up before");
            state.given_up = true;
            return Ok(Self::recovered(state, None));
        }
        let (mut pairs, mut unreadable) = (Vec::new(), None);
        for slot in [Slot::A, Slot::B] {
            match slot::load(home, slot) {
                Ok(loaded) => pairs.push(loaded),
                Err(error) if error.is_damage() => {}
                Err(error) => unreadable = Some(error),
            }
        }
        pairs.sort_by_key(|pair| pair.facts().not_before());
        let proven = pairs.iter().filter(|pair| pair.is_proven());
        if let Some(pair) = proven.max_by_key(|pair| pair.proven_number()) {
            log::warn!(
                "the state is lost; slot {} holds an identity, which is used",
                pair.slot()
            );
            state.promotions = pair.proven_number().unwrap_or(0);
            state.unsure = Unsure::Found;
            let mut opened = Self::recovered(state, Some(pair.clone()));
            if let Some(error) = unreadable {
                // There may be a later one in it.
                log::warn!("the other slot cannot be read: {error}");
                opened.found = Found::Fallback;
            }
            return Ok(opened);
        }
        if let Some(error) = unreadable {
            return Err(error);
        }
        for pair in pairs.iter().rev() {
            if slot::is_placed(home, pair.slot())? {
                log::warn!(
                    "there is no state; slot {} holds an identity, which is used",
                    pair.slot()
                );
                return Ok(Self::recovered(state, Some(pair.clone())));
            }
        }
        let registered = pairs.iter().rev().find_map(|pair| {
            let certificate_id = pair.about()?.certificate_id.clone();
            Some((Step::Registered { certificate_id }, pair.slot()))
        });
        let candidate = match registered {
            Some(candidate) => Some((candidate, None)),
            None => key_ready(home)?.map(|(slot, check)| ((Step::KeyReady, slot), Some(check))),
        };
        if let Some(((step, slot), request_check)) = candidate {
            log::warn!(
                "the state is lost; slot {slot} holds an identity in the making, at {}",
                step.name()
            );
            state.set_candidate(Some((step, slot)));
            state.request_check = request_check;
            return Ok(Self::recovered(state, None));
        }
        let is_empty =
            [Slot::A, Slot::B]
                .iter()
                .all(|slot| match fs::list(slot::folder(home, *slot)) {
                    Ok(names) => names.is_empty(),
                    Err(error) => error.kind() == ErrorKind::NotFound,
                });
        if !is_empty {
            log::error!("the state is lost, and no slot holds an identity that fits together");
        }
        Ok(Self {
            state,
            active: None,
            found: if is_empty { Found::Known } else { Found::Lost },
        })
    }

    fn recovered(mut state: State, active: Option<Loaded>) -> Self {
        state.active = active.as_ref().map(Loaded::slot);
        Self {
            state,
            active,
            found: Found::Recovered,
        }
    }
}

/// The identity that was in use before, which was proven then; nothing that is in the making.
fn before(home: &Path, state: &State, slot: Slot) -> Option<Loaded> {
    if state.candidate.is_some() {
        return None;
    }
    let loaded = slot::load(home, slot.other()).ok()?;
    loaded.is_proven().then_some(loaded)
}

/// A slot with a key and the signing request for it, and the check of that.
fn key_ready(home: &Path) -> Result<Option<(Slot, u32)>, StoreError> {
    for slot in [Slot::A, Slot::B] {
        let folder = slot::folder(home, slot);
        let has_key = slot::read_if_there(&folder.join(slot::KEY))?.is_some();
        if has_key && let Some(request) = slot::read_if_there(&folder.join(slot::REQUEST))? {
            return Ok(Some((slot, crc32fast::hash(&request))));
        }
    }
    Ok(None)
}
