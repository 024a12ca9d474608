//! Waiting for something to become true: whoever changes what others wait for tells.

use fiber::{Event, Stopped};

/// Told whenever there may be something new to see. Clones share it; one fiber waits at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct News(Event);

impl News {
    /// Lets who waits look again. Does not yield.
    pub(super) fn tell(&self) {
        self.0.set();
    }

    /// Waits until `look` finds something, and returns it. Yields until then.
    pub(super) fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> Result<T, Stopped> {
        loop {
            // Cleared before looking: what is told meanwhile is not missed.
            self.0.clear();
            if let Some(found) = look() {
                return Ok(found);
            }
            self.0.wait()?;
        }
    }
}
