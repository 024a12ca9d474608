//! A device that has lost its records, and found an identity in its slots: if that is refused, the other
//! one is tried, and then another one is got by the claim. Nothing is deleted for it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Stopped, sleep};
use mqtt::{Client, ConnectReason, EndCause, Event};
use safe_rt::{ClientTls, Phase};

use super::{Options, keep, obtain};
use crate::identity::{Loaded, Store, Unsure};

/// How often in a row an identity that was found must be refused before the other one is tried.
pub const DOUBTS_MIN: u32 = 3;
/// How long a connection must be up for its identity to count as the right one.
pub const ACCEPTED_AFTER_MIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(1);

/// Refusals of the device's certificate, counted from the events of its client. A clone is the same
/// count.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Rc<Cell<u32>>);

impl Refusals {
    /// Notes what happened to the connection. Does not yield.
    pub fn note(&self, event: &Event) {
        match event {
            Event::ConnectFailed { cause, .. } | Event::Disconnected { cause, .. }
                if is_refusal(cause) =>
            {
                self.0.set(self.0.get().saturating_add(1));
            }
            Event::Connected { .. } => self.0.set(0),
            _ => {}
        }
    }
}

/// Whether the other side refuses who shows this certificate. An outage is no refusal.
fn is_refusal(cause: &EndCause) -> bool {
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match cause {
        EndCause::Dial(error) => error.phase() == Phase::Tls && is_denied(error.io()),
        EndCause::Transport(error) => is_denied(error),
        EndCause::Refused(reason) => !matches!(reason, ConnectReason::ServerUnavailable),
        _ => false,
    }
}

/// Makes sure that the identity in use is the right one, where that is in doubt; returns at once where
/// it is not. Yields, for as long as it takes.
///
/// `client` makes its connections with `tls`, and `refusals` is told of them. Where a way to an identity
/// is known, the last resort is the claim.
///
/// # Errors
///
/// [`Stopped`].
pub fn make_sure(
    store: &Store,
    options: Option<&Options>,
    client: &Client,
    tls: &ClientTls,
    refusals: &Refusals,
) -> Result<(), Stopped> {
    let mut up_for = Duration::ZERO;
    while store.state().unsure != Unsure::No {
        sleep(LOOK)?;
        up_for = match client.is_connected() {
            true => up_for + LOOK,
            false => Duration::ZERO,
        };
        if up_for >= ACCEPTED_AFTER_MIN {
            if let Err(error) = store.accepted() {
                log::warn!("that the identity is the right one is not kept: {error}");
            }
            return Ok(());
        }
        if refusals.0.get() < DOUBTS_MIN {
            continue;
        }
        match store.try_other() {
            Ok(Some(other)) => {
                log::warn!(
                    "the identity that was found is refused; the one in slot {} is tried",
                    other.slot()
                );
                show(client, tls, &other);
                refusals.0.set(0);
            }
            Ok(None) => return by_claim(store, options, client, tls),
            Err(error) => log::warn!("the other identity cannot be tried: {error}"),
        }
    }
    Ok(())
}

/// Has the client connect with another identity, now.
fn show(client: &Client, tls: &ClientTls, identity: &Loaded) {
    match tls.set_identity(identity.identity().clone()) {
        Ok(()) => client.retry_now(),
        Err(error) => log::warn!("the identity cannot be shown: {error}"),
    }
}

/// Gets another identity; the ones that were refused stay, in their slot and in the trash.
fn by_claim(
    store: &Store,
    options: Option<&Options>,
    client: &Client,
    tls: &ClientTls,
) -> Result<(), Stopped> {
    let (Some(options), Some(active)) = (options, store.active()) else {
        log::warn!("the identity that was found is refused, and there is no way to another one");
        return Ok(());
    };
    log::warn!("each identity that was found is refused: another one is asked for");
    let old = active.identity().clone();
    obtain(store, options, &mut |candidate| {
        keep::hand_over(client, tls, &old, candidate, options)
    })?;
    if let Err(error) = store.accepted() {
        log::warn!("that the identity is the right one is not kept: {error}");
    }
    Ok(())
}
