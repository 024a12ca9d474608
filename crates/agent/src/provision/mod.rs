//! How a device gets its identity, and a new one before that ends.
//!
//! ```text
//!   key, request ─► certificate ─► registered ─► proof by a connection ─► in use
//!        the device       the cloud, asked with the claim or a token         │
//!             ▲                                                              │
//!             └────────── at 60 to 80 per cent of the certificate's life ◄───┘
//! ```
//!
//! An identity that is there is used at once and needs no cloud: [`ensure_identity`] returns without
//! a wait then. Else it goes on with what was begun, step by step, for as long as it takes. Each step
//! is kept before the next one relies on it, see [`crate::identity`]; what fails is tried again, later
//! and later, and what was made so far is used again: the same key, the same request, the same
//! certificate. An outage, a refusal, a claim that has expired or a clock that is wrong changes
//! nothing about what the device has.

mod answer;
mod aws;
mod configured;
mod doubt;
mod error;
mod http;
mod https;
mod keep;
mod key;
mod orders;
mod progress;
mod proof;
mod rehearsal;
mod renew;
mod retry_after;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fiber::{Instant, Stopped, sleep};
use mqtt::ClientId;
use safe_rt::{Backoff, BackoffOptions, ClockFloor, ClockVerdict, DialOptions, Endpoint, Trust};

use crate::args::Password;
use crate::identity::{About, Loaded, Store, StoreError};

pub use crate::config::KeyOrigin;
pub use crate::identity::BLOCKED_MAX;
pub use aws::{ANSWER_TIMEOUT, CLAIM_CONNECT_TIMEOUT};
pub(crate) use configured::options_of;
pub use doubt::{ACCEPTED_AFTER_MIN, DOUBTS_MIN, Refusals, make_sure};
pub use error::{ProvisionError, Refusal};
pub use http::{BODY_BYTES_MAX, HEAD_BYTES_MAX};
pub use https::HTTPS_TIMEOUT;
pub use keep::{HAND_OVER_TIMEOUT, RENEW_CHECK_MAX, RENEW_PAUSE_MIN, keep_renewed};
pub(crate) use keep::{Others, keep_renewed_beside};
pub use key::request_for;
pub use orders::{RenewalReport, Renewals};
pub use progress::Progress;
pub use proof::{PROOF_TIMEOUT, PROOF_TOPIC_DEFAULT, PROOF_UP_MIN, ProofError, ProofOptions};
pub use rehearsal::{RehearsalOutcome, Rehearsed, rehearse};
pub use renew::{RENEW_FROM_DEFAULT, RENEW_UNTIL_DEFAULT, renewal_time};
pub use steps::TOKEN_AGE_MAX;

use answer::Granted;
use progress::Observer;

/// Between two questions whether the device was claimed, where the cloud does not say when to ask.
pub const CLAIM_POLL_DEFAULT: Duration = Duration::from_secs(30);

/// How long a rehearsal may take, all together.
pub const REHEARSAL_TIMEOUT: Duration = Duration::from_secs(180);

/// What a cloud does for a device that has no identity.
trait Cloud {
    /// Has a certificate made for a signing request, or for a key that the cloud makes. Yields.
    fn certificate(&mut self, request: Option<&str>) -> Result<Granted, ProvisionError>;

    /// Has the certificate taken as that of this device. Yields.
    fn register(
        &mut self,
        certificate_id: &str,
        token: Option<&str>,
        request: Option<&str>,
    ) -> Result<About, ProvisionError>;

    /// Ends what there is of a connection, before another one is made. Yields.
    fn leave(&mut self);
}

/// By which contract a device gets its identity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Method {
    /// Fleet provisioning of AWS IoT by a claim certificate, over the broker of the device.
    Aws {
        /// The provisioning template.
        template: String,
        /// Where the private key is made.
        key: KeyOrigin,
    },
    /// The HTTPS contract of `docs/provisioning.md`.
    Https(HttpsService),
}

/// A service of the HTTPS contract.
#[derive(Clone, Debug)]
pub struct HttpsService {
    url: String,
    endpoint: Endpoint,
    token: Option<Password>,
    trust: Trust,
}

impl HttpsService {
    /// Takes the address of a service, `https://HOST[:PORT][/PATH]`; nothing for what is none.
    #[must_use]
    pub fn new(url: &str, trust: Trust) -> Option<Self> {
        let (endpoint, url) = https::endpoint_of(url)?;
        Some(Self {
            url,
            endpoint,
            token: None,
            trust,
        })
    }

    /// Introduces the device by this token instead of a claim certificate.
    #[must_use]
    pub fn token(mut self, token: Option<Password>) -> Self {
        self.token = token;
        self
    }
}

/// The files that a device introduces itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFiles {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// How a device gets its identity, and tries it out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The broker of the device.
    pub endpoint: Endpoint,
    /// Whom to believe; the authorities of the system at first.
    pub trust: Trust,
    /// The application protocols to offer to the broker; none at first.
    pub alpn: Vec<String>,
    /// How to get there, without TLS: through a proxy, for example.
    pub dial: DialOptions,
    /// Who the device is, where that is settled; else what the cloud calls it, and before that an id
    /// that is made once.
    pub device_id: Option<ClientId>,
    /// By which contract.
    pub method: Method,
    /// What is sent with the request: `{id}` in a value is the device id. Where there are none, it is
    /// sent as `SerialNumber`.
    pub parameters: BTreeMap<String, String>,
    /// What the device introduces itself with; without them, the claim that was kept.
    pub claim: Option<ClaimFiles>,
    /// How long to wait between attempts.
    pub backoff: BackoffOptions,
    /// What the proof asks for.
    pub proof: ProofOptions,
    /// From which part of its life on a certificate is renewed, in per cent.
    pub renew_from: u8,
    /// By which part.
    pub renew_until: u8,
    /// What certificates of the cloud are judged by while the clock is wrong.
    pub floor: ClockFloor,
    observer: Observer,
}

impl Options {
    /// Starts with the defaults, for a broker.
    #[must_use]
    pub fn new(endpoint: Endpoint, method: Method) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            endpoint,
            trust: Trust::system(),
            alpn: Vec::new(),
            dial: DialOptions::new(),
            device_id: None,
            method,
            parameters: BTreeMap::new(),
            claim: None,
            // A refusal is a person's to mend: it is asked again once a day at least.
            backoff: BackoffOptions::new()
                .base(Duration::from_secs(5))
                .cap(15 * MINUTE)
                .long_base(MINUTE)
                .long_cap(24 * 60 * MINUTE),
            proof: ProofOptions::default(),
            renew_from: RENEW_FROM_DEFAULT,
            renew_until: RENEW_UNTIL_DEFAULT,
            floor: ClockFloor::new(),
            observer: Observer::default(),
        }
    }

    /// Has the clock count as no earlier than this moment, in seconds since 1970, that is known to have
    /// passed.
    pub(super) fn know(&self, passed: Option<u64>) {
        if let Some(passed) = passed {
            self.floor.raise(UNIX_EPOCH + Duration::from_secs(passed));
        }
    }

    /// Calls the function for each step as it happens, in the place of the log. It must not wait.
    #[must_use]
    pub fn told_to(mut self, observer: impl Fn(&Progress<'_>) + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    fn tell(&self, progress: &Progress<'_>) {
        self.observer.tell(progress);
    }

    /// The parameters, with the device id in its places.
    fn parameters_for(&self, device_id: &str) -> BTreeMap<String, String> {
        if self.parameters.is_empty() {
            return [("SerialNumber".to_owned(), device_id.to_owned())].into();
        }
        let filled = self.parameters.iter();
        filled
            .map(|(name, value)| (name.clone(), value.replace("{id}", device_id)))
            .collect()
    }
}

/// Returns the identity in use, at once if there is one; else gets one, for as long as it takes.
/// Yields.
///
/// # Errors
///
/// [`Stopped`] when the wait was ended from outside; what was reached is kept.
pub fn ensure_identity(store: &Store, options: &Options) -> Result<Loaded, Stopped> {
    options.know(store.state().last_good);
    if let Some(active) = store.active() {
        return Ok(active);
    }
    let phase = store.state().phase();
    options.tell(&Progress::Begun { phase });
    obtain(store, options, &mut |candidate| {
        steps::prove_alone(options, candidate)
    })
}

/// Has another identity made in the place of the one in use, by one attempt, and proves it by a
/// connection of its own: for a device whose agent does not run. Yields.
///
/// # Errors
///
/// Why it came to nothing; what was reached is kept, and so is the identity in use.
pub fn renew_now(store: &Store, options: &Options) -> Result<Loaded, ProvisionError> {
    options.know(store.state().last_good);
    attempt(store, options, &mut |candidate| {
        steps::prove_alone(options, candidate)
    })
}

/// Begins an identity with a key that is made here, if none is in the making, and returns the signing
/// request for it; nothing where the cloud is to make the key. Yields.
///
/// # Errors
///
/// [`ProvisionError::Store`], [`ProvisionError::Key`].
pub fn begin(
    store: &Store,
    device_id: Option<&ClientId>,
) -> Result<Option<String>, ProvisionError> {
    if store.state().candidate.is_none() {
        steps::begin_here(store, &steps::name_of(store, device_id)?)?;
    }
    steps::request(store)
}

/// Gives the identity up: it goes to the trash, and so does one in the making. Where the contract has
/// that, the service is told first, and gives no reason to stop if it cannot be. Yields. Returns
/// whether the service knows.
///
/// For an authenticated order, and for a person at the device.
///
/// # Errors
///
/// [`ProvisionError::Store`].
pub fn deprovision(store: &Store, options: Option<&Options>) -> Result<bool, ProvisionError> {
    let told = match options {
        Some(options) => steps::release(store, options),
        None => Ok(false),
    };
    store.give_up()?;
    Ok(told.unwrap_or_else(|error| {
        log::warn!("the provisioning cloud does not know: {error}");
        false
    }))
}

/// Gets an identity and has it proven, for as long as it takes. Yields.
pub(crate) fn obtain(
    store: &Store,
    options: &Options,
    prove: &mut dyn FnMut(&Loaded) -> Result<(), ProofError>,
) -> Result<Loaded, Stopped> {
    let mut backoff = Backoff::new(options.backoff);
    let mut wait = blocked(store, options).max(backoff.first_delay(random()));
    loop {
        sleep(wait)?;
        let began = Instant::now();
        let error = match attempt(store, options, prove) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => error,
        };
        if matches!(error, ProvisionError::Store(StoreError::GivenUp))
            && matches!(
                options.floor.check(fiber::wall_time()),
                ClockVerdict::Plausible
            )
        {
            keep::wipe_old(store);
        }
        wait = backoff.next_delay(error.class(), began.elapsed(), random());
        if let ProvisionError::Unclaimed { .. } = error {
            wait = CLAIM_POLL_DEFAULT;
        }
        if let Some(asked) = error.retry_after() {
            wait = wait.max(asked.min(BLOCKED_MAX));
        }
        options.tell(&Progress::Failed {
            error: &error,
            retry_in: wait,
        });
    }
}

/// Goes as far as it can get. Yields. What the cloud refused is noted.
///
/// # Errors
///
/// Why it did not get to the end; what was reached is kept.
pub(crate) fn attempt(
    store: &Store,
    options: &Options,
    prove: &mut dyn FnMut(&Loaded) -> Result<(), ProofError>,
) -> Result<Loaded, ProvisionError> {
    let attempted = steps::run(store, options, prove);
    if let Err(error) = &attempted
        && error.is_answer()
    {
        let until = error
            .retry_after()
            .map(|wait| believed_now(options) + wait.min(BLOCKED_MAX));
        if let Err(error) = store.refused(&error.to_string(), until) {
            log::warn!("what the cloud refused is not kept: {error}");
        }
    }
    attempted
}

/// How long the cloud still wants to be left alone, by what was noted: not longer than
/// [`BLOCKED_MAX`], and not at all while the clock cannot be right.
fn blocked(store: &Store, options: &Options) -> Duration {
    let wall = fiber::wall_time();
    let Some(until) = store.state().blocked_until else {
        return Duration::ZERO;
    };
    if !matches!(options.floor.check(wall), ClockVerdict::Plausible) {
        return Duration::ZERO;
    }
    let until = UNIX_EPOCH + Duration::from_secs(until);
    let left = until.duration_since(wall).unwrap_or_default();
    if left > BLOCKED_MAX {
        // The clock was ahead when that was noted.
        return Duration::ZERO;
    }
    left
}

/// The time, as far as it can be believed.
fn believed_now(options: &Options) -> SystemTime {
    options.floor.judged_at(fiber::wall_time())
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the longest wait is as good as another.
    match fiber::random::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::MAX,
    }
}
