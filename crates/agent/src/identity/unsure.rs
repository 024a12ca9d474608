//! An identity that was found in its slot while both records were lost: whether it is the right one is
//! known once it was accepted. Nothing is deleted for it.

use super::Store;
use super::error::StoreError;
use super::slot::{self, Loaded};
use super::state::Unsure;

impl Store {
    /// Notes that the identity in use was accepted: it is the right one. Yields; writes only where that
    /// was in doubt.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn accepted(&self) -> Result<(), StoreError> {
        if self.0.state.borrow().unsure == Unsure::No {
            return Ok(());
        }
        self.operation()?.update(|state| state.unsure = Unsure::No)
    }

    /// Where the identity in use was found in its slot, and is refused: takes the other one into use, if
    /// that was proven once under the same client identifier, and was not tried yet. Both stay. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn try_other(&self) -> Result<Option<Loaded>, StoreError> {
        let mut operation = self.operation()?;
        let state = operation.state();
        let (Unsure::Found, Some(active), None) = (state.unsure, state.active, &state.candidate)
        else {
            return Ok(None);
        };
        let name = self.active().and_then(|active| name_of(&active));
        let other = match slot::load(operation.home(), active.other()) {
            Ok(other) if other.is_proven() && name_of(&other) == name => other,
            Ok(_) => return Ok(None),
            Err(error) if error.is_damage() => return Ok(None),
            Err(error) => return Err(error),
        };
        operation.update(|state| {
            state.active = Some(other.slot());
            state.unsure = Unsure::OtherRefused;
        })?;
        self.0.active.replace(Some(other.clone()));
        Ok(Some(other))
    }
}

fn name_of(identity: &Loaded) -> Option<String> {
    Some(identity.about()?.client_id.clone())
}
