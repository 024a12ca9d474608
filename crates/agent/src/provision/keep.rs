//! Keeping an identity: a new one is made before it ends, and takes over on the connection that the
//! device has.
//!
//! ```text
//!   candidate ─► the client shows it from now on ─► DISCONNECT ─► CONNECT
//!                                                                   │ CONNACK, SUBACK, PUBACK, 10 s
//!   the one before again ◄─ not within 30 s, or not for 10 s ◄──────┴──────► in use
//! ```

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use fiber::{Elapsed, Instant, Stopped, sleep, timeout};
use mqtt::Client;
use safe_rt::{ClientTls, ClockVerdict, Identity};

use super::proof::{self, ProofError};
use super::{
    BLOCKED_MAX, Options, PROOF_TIMEOUT, Renewals, attempt, believed_now, random, renewal_time,
};
use crate::identity::{Loaded, Store};

/// How often it is looked whether a renewal is due: a clock may jump.
pub const RENEW_CHECK_MAX: Duration = Duration::from_secs(3600);
/// The least time between two renewals, and between two attempts.
pub const RENEW_PAUSE_MIN: Duration = Duration::from_secs(10);
/// How long what is under way may hold back the hand-over.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often what is in the trash is looked at.
const TRASH_CHECK_PAUSE: Duration = Duration::from_secs(24 * 3600);
const POLL: Duration = Duration::from_millis(20);

/// Renews the identity of a connected device when its time has come, again and again. Yields; ends
/// when it is stopped. An identity that has expired is renewed too.
///
/// `client` makes its connections with `tls` and stays connected by itself. For a renewal it leaves
/// and comes back with the new identity: its session, its subscriptions and what waits are kept. What
/// fails leaves the identity in use as it is, and is tried again after 4 per cent of its life, or when
/// `orders` say so. Once a day what was replaced more than a week ago is wiped.
///
/// # Errors
///
/// [`Stopped`].
pub fn keep_renewed(
    store: &Store,
    options: &Options,
    client: &Client,
    tls: &ClientTls,
    orders: &Renewals,
) -> Result<Infallible, Stopped> {
    keep_renewed_beside(store, options, client, tls, orders, &Alone)
}

/// Others who have a say in the connection.
pub(crate) trait Others {
    /// Waits until a connection may be made. Yields.
    fn wait(&self) -> Result<(), Stopped>;

    /// The connection is theirs again.
    fn go_on(&self);
}

/// Nobody else.
struct Alone;

impl Others for Alone {
    fn wait(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn go_on(&self) {}
}

/// As [`keep_renewed`], where others have the client come and go, too.
pub(crate) fn keep_renewed_beside(
    store: &Store,
    options: &Options,
    client: &Client,
    tls: &ClientTls,
    orders: &Renewals,
    others: &dyn Others,
) -> Result<Infallible, Stopped> {
    let mut wiped_at = None;
    loop {
        if is_time_sure(options, client) {
            note_time(store);
            if wiped_at.is_none_or(|at: Instant| at.elapsed() >= TRASH_CHECK_PAUSE) {
                wiped_at = Some(Instant::now());
                wipe_old(store);
            }
        }
        let Some(active) = store.active() else {
            // Given up, by whoever may do that.
            orders.sleep(RENEW_CHECK_MAX)?;
            if orders.is_ordered() {
                orders.begin();
                orders.end(Some("there is no identity".to_owned()));
            }
            continue;
        };
        let now = believed_now(options);
        let left = due(&active, options)
            .and_then(|due| due.duration_since(now).ok())
            .unwrap_or_default();
        if !left.is_zero() && !orders.is_ordered() {
            orders.sleep(left.min(RENEW_CHECK_MAX))?;
            continue;
        }
        others.wait()?;
        log::info!("provisioning: the certificate is to be renewed");
        orders.begin();
        let old = active.identity().clone();
        let renewed = attempt(store, options, &mut |candidate| {
            hand_over(client, tls, &old, candidate, options)
        });
        others.go_on();
        let mut pause = jittered(life(&active) / 25);
        orders.end(renewed.as_ref().err().map(|error| {
            let code = error.code();
            format!("{code}: {error}")
        }));
        if let Err(error) = renewed {
            if let Some(asked) = error.retry_after() {
                pause = pause.max(asked.min(BLOCKED_MAX));
            }
            log::warn!(
                "provisioning[{}]: {error}; the identity in use stays, next attempt in {} s",
                error.code(),
                pause.as_secs()
            );
        }
        orders.sleep(pause)?;
    }
}

/// When a certificate is to be renewed; nothing for one that does not say when it ends.
fn due(active: &Loaded, options: &Options) -> Option<SystemTime> {
    let facts = active.facts();
    let device = active.about().map_or("", |about| &about.client_id);
    Some(renewal_time(
        device,
        facts.not_before()?,
        facts.not_after()?,
        options.renew_from,
        options.renew_until,
    ))
}

fn life(active: &Loaded) -> Duration {
    let facts = active.facts();
    let times = facts.not_before().zip(facts.not_after());
    let life = times.and_then(|(from, until)| until.duration_since(from).ok());
    life.unwrap_or_default()
}

/// Three quarters of a time to five quarters, within bounds.
fn jittered(time: Duration) -> Duration {
    let part = u32::try_from(random() % 501).unwrap_or(0);
    let time = time.min(BLOCKED_MAX);
    (time * 3 / 4 + time / 1_000 * part).max(RENEW_PAUSE_MIN)
}

/// Whether the clock can be believed: a server whose certificate was checked by it has answered.
fn is_time_sure(options: &Options, client: &Client) -> bool {
    let verdict = options.floor.check(fiber::wall_time());
    client.is_connected() && matches!(verdict, ClockVerdict::Plausible)
}

fn note_time(store: &Store) {
    if let Err(error) = store.passed(fiber::wall_time()) {
        log::debug!("the time is not kept: {error}");
    }
}

/// Wipes what has been in the trash for long enough. Yields.
pub(super) fn wipe_old(store: &Store) {
    match store.wipe_old_trash(fiber::wall_time()) {
        Ok(0) => {}
        Ok(wiped) => log::info!("identities that were replaced, and are wiped now: {wiped}"),
        Err(error) => log::warn!("what is in the trash cannot be wiped: {error}"),
    }
}

/// Has the client come back with the candidate, and proves it; else with the identity before.
pub(super) fn hand_over(
    client: &Client,
    tls: &ClientTls,
    old: &Identity,
    candidate: &Loaded,
    options: &Options,
) -> Result<(), ProofError> {
    let show = |identity: &Identity| {
        let shown = tls.set_identity(identity.clone());
        shown.map_err(ProofError::Tls)
    };
    show(candidate.identity())?;
    let proven = leave(client).and_then(|()| prove(client, candidate, options));
    if let Err(error) = &proven {
        log::warn!("the identity before is shown again: {error}");
        show(old)?;
        let left = leave(client);
        come_back(client);
        left?;
    }
    proven
}

/// Leaves the connection in order; the client makes no other one until it is told to.
fn leave(client: &Client) -> Result<(), ProofError> {
    client.rest_until(Instant::now() + 2 * HAND_OVER_TIMEOUT);
    let left = timeout(HAND_OVER_TIMEOUT, || -> Result<(), Stopped> {
        while client.is_connected() {
            sleep(POLL)?;
        }
        Ok(())
    });
    match left {
        Ok(left) => left.map_err(ProofError::Stopped),
        Err(Elapsed(_)) => Err(ProofError::Late),
    }
}

/// Has the client make its next connection now.
fn come_back(client: &Client) {
    client.pause_until(Instant::now());
    client.retry_now();
}

fn prove(client: &Client, candidate: &Loaded, options: &Options) -> Result<(), ProofError> {
    let called = candidate.about().map(|about| about.client_id.clone());
    let id = match &options.device_id {
        Some(id) => id.as_str().to_owned(),
        None => called.unwrap_or_default(),
    };
    let topic = options.proof.topic.replace("{id}", &id);
    come_back(client);
    let exercised = timeout(PROOF_TIMEOUT, || {
        client.wait_connected().map_err(ProofError::Connect)?;
        proof::exercise(client, &topic)
    });
    match exercised {
        Ok(exercised) | Err(Elapsed(exercised @ Ok(()))) => exercised?,
        Err(Elapsed(Err(_))) => return Err(ProofError::Late),
    }
    // A link that ends is made again after a pause that is longer than this one.
    let stayed = timeout(options.proof.up_for, || -> Result<(), Stopped> {
        while client.is_connected() {
            sleep(POLL)?;
        }
        Ok(())
    });
    match stayed {
        Err(Elapsed(_)) => Ok(()),
        Ok(Ok(())) => Err(ProofError::NotUp),
        Ok(Err(stopped)) => Err(ProofError::Stopped(stopped)),
    }
}
