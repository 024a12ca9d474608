//! Readings as calls of the agent.

use std::fmt;
use std::time::Duration;

use super::Agent;
use crate::service::batch::ReadingError;
use crate::service::{NotTaken, Readings};

/// How long the last readings may wait for room in the queue, at a stop.
pub(crate) const READINGS_KEEP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a reading was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// No topic for readings was given.
    NoTopic,
    /// It is none.
    Reading(ReadingError),
    /// A message of readings finds no room in the queue, and the next one is full.
    NoRoom,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTopic => f.write_str("no topic for readings was given"),
            Self::Reading(error) => error.fmt(f),
            Self::NoRoom => f.write_str("there is no room for readings"),
        }
    }
}

impl std::error::Error for RecordError {}

impl Agent {
    /// Takes a reading with the present time, which is sent with others as
    /// [`AgentBuilder::readings`](crate::AgentBuilder::readings) says, or `[telemetry]` of the
    /// configuration. Yields while a message that is full by it finds no room in the queue, within the
    /// ambient deadline, else the client's operation timeout; a reading that was taken stays so whatever ends that.
    ///
    /// Until its message is in the queue a reading is in memory alone: see
    /// [`service::batch`](crate::service::batch). [`Agent::flush_readings`] ends that, as a stop in
    /// order does.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: nothing was taken.
    pub fn record(
        &self,
        name: &str,
        value: impl Into<serde_json::Value>,
    ) -> Result<(), RecordError> {
        let readings = self.0.services.readings();
        let readings = readings.ok_or(RecordError::NoTopic)?;
        readings.record(name, value).map_err(|error| match error {
            NotTaken::Reading(error) => RecordError::Reading(error),
            NotTaken::NoRoom => RecordError::NoRoom,
        })
    }

    /// Puts all readings into the queue that were taken so far, however few they are. Yields as
    /// [`Agent::record`] does.
    ///
    /// # Errors
    ///
    /// [`RecordError::NoRoom`]: some found none; they are kept, and tried again.
    pub fn flush_readings(&self) -> Result<(), RecordError> {
        let left: usize = self.0.services.all_readings().map(Readings::flush).sum();
        if left > 0 {
            return Err(RecordError::NoRoom);
        }
        Ok(())
    }

    /// Readings that were taken and could never be sent.
    pub(crate) fn readings_lost(&self) -> u64 {
        self.0.services.all_readings().map(Readings::lost).sum()
    }

    /// What was measured goes into the queue while there is one.
    pub(super) fn keep_readings(&self) {
        let flush = || -> usize { self.0.services.all_readings().map(Readings::flush).sum() };
        let left = fiber::shield(READINGS_KEEP_TIMEOUT, flush).unwrap_or_else(|elapsed| elapsed.0);
        if left > 0 {
            log::error!("{left} readings found no room in the queue, and are lost");
        }
    }
}
