//! From a configuration to who the device is: its identifier, and the certificate that it shows.
//!
//! What the configuration says comes first. What it leaves open is in the state folder, or is made
//! there, or is asked for at the cloud (feature `provision`).

#[cfg(feature = "provision")]
use std::time::{Duration, UNIX_EPOCH};

use fiber::signal::{Signal, Signals};
use fiber::{FiberBuilder, Instant, Selected, Stopped};
use mqtt::{Client, ClientId};
use safe_rt::ClientTls;

use crate::config::Config;
use crate::failure::Failure;
use crate::identity::{self, Loaded, Store};
use crate::out;
#[cfg(feature = "provision")]
use crate::provision;
use crate::service::Beside;

/// The identity of a running device, and what renews it. The state folder is this program's for as
/// long as there is this.
pub struct Attached {
    store: Store,
    /// How the identity is renewed, where that was said.
    #[cfg(feature = "provision")]
    options: Option<provision::Options>,
    /// Renewals that are asked for.
    #[cfg(feature = "provision")]
    renewals: provision::Renewals,
    /// The identity in the store is the one that is shown; not where the configuration names another.
    is_shown: bool,
    /// How often the identity was refused in a row.
    #[cfg(feature = "provision")]
    refusals: provision::Refusals,
}

impl Attached {
    /// Returns the store that the identity is in.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Returns whether the identity in the store is shown, and not one that the configuration names.
    pub(crate) const fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Returns how the identity is renewed, if it is.
    #[cfg(feature = "provision")]
    #[must_use]
    pub const fn options(&self) -> Option<&provision::Options> {
        self.options.as_ref()
    }

    /// Returns how a renewal is asked for, if the identity is one that can be renewed.
    #[cfg(feature = "provision")]
    #[must_use]
    pub fn renewals(&self) -> Option<&provision::Renewals> {
        (self.is_shown && self.options.is_some()).then_some(&self.renewals)
    }
}

/// Fills in who the device is. Yields: at once where an identity is there or none is asked for; else
/// for as long as it takes to get one, see [`provision::ensure_identity`].
///
/// Returns nothing where the configuration says everything and the state folder is not needed.
///
/// # Errors
///
/// [`Failure::Identity`], [`Failure::Provision`], [`Failure::Config`] for a topic that is none with the
/// identifier in it, and [`Failure::Stopped`].
pub fn attach(config: &mut Config) -> Result<Option<Attached>, Failure> {
    let is_needed = config.provision.is_some() || config.device.id.is_none();
    if !is_needed {
        // Something else may have put an identity there, such as `agent provision`.
        let wants_one = config.cloud.identity.is_none() && config.cloud.endpoint.scheme().is_tls();
        if wants_one && let Ok((_, Some(active))) = identity::look(&config.state.dir) {
            config.cloud.identity = Some(active.identity().clone());
        }
        return Ok(None);
    }
    let store = Store::open(&config.state.dir).map_err(identity_failure)?;
    let attached = Attached {
        #[cfg(feature = "provision")]
        options: provision::options_of(config)?,
        #[cfg(feature = "provision")]
        renewals: provision::Renewals::default(),
        #[cfg(feature = "provision")]
        refusals: provision::Refusals::default(),
        // Certificate and key that the configuration names need no cloud.
        is_shown: config.cloud.identity.is_none(),
        store,
    };
    let active = if attached.is_shown {
        attached.active()?
    } else {
        None
    };
    let called = active
        .as_ref()
        .and_then(|active| active.about())
        .and_then(|about| ClientId::new(&*about.client_id).ok());
    if let Some(active) = active {
        config.cloud.identity = Some(active.identity().clone());
    }
    let id = match (config.device.id.clone(), called) {
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => {
            let id = attached.store.device_id().map_err(identity_failure)?;
            ClientId::new(id).map_err(|error| Failure::Connect(error.into()))?
        }
    };
    config
        .set_device_id(&id)
        .map_err(|error| Failure::DeviceTopic { id, error })?;
    Ok(Some(attached))
}

/// How [`attach_until`] ended.
pub(crate) enum Attaching {
    /// It is known who the device is.
    Done(Box<(Config, Option<Attached>)>),
    /// A signal came before.
    Signal(Signal),
    /// The deadline came before.
    Deadline,
}

/// As [`attach`], until a signal comes or the deadline. SIGUSR1 prints what the fibers do.
pub(crate) fn attach_until(
    mut config: Box<Config>,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<Attaching, Failure> {
    let attach = move || {
        let attached = attach(&mut config)?;
        Ok(Attaching::Done(Box::new((*config, attached))))
    };
    let fiber = FiberBuilder::new().name("identity").spawn(attach);
    let mut attaching = fiber.map_err(Failure::Spawn)?;
    let ended = loop {
        let found = fiber::select(&[signals, &attaching], deadline);
        match found.map_err(Failure::Signals)? {
            Selected::Ready(0) => match signals.try_recv() {
                Some(Signal::User1) => out::fibers(&fiber::fibers()),
                // There is nothing yet that a new configuration could count for.
                Some(Signal::Hangup) | None => {}
                Some(signal) => break Attaching::Signal(signal),
            },
            Selected::Ready(_) => return attaching.join().map_err(Failure::Join)?,
            Selected::Deadline => break Attaching::Deadline,
        }
    };
    attaching.cancel();
    // What was reached is kept; there is nothing to be said about how it ended.
    drop(attaching.join());
    Ok(ended)
}

impl Attached {
    /// Whether what the device shows of itself may change while it runs. Does not yield.
    #[must_use]
    pub fn is_renewed(&self) -> bool {
        #[cfg(feature = "provision")]
        let is_asked_for = self.options.is_some();
        #[cfg(not(feature = "provision"))]
        let is_asked_for = false;
        self.is_shown && is_asked_for && self.store.active().is_some()
    }

    /// Keeps the identity renewed on the agent's connection, where it is one that was provisioned.
    /// Yields until it is stopped; returns where there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    #[cfg(feature = "provision")]
    pub(crate) fn keep(
        &self,
        client: &Client,
        tls: &ClientTls,
        services: &Beside,
    ) -> Result<(), Stopped> {
        if !self.is_shown || self.store.active().is_none() {
            return Ok(());
        }
        let options = self.options.as_ref();
        provision::make_sure(&self.store, options, client, tls, &self.refusals)?;
        let Some(options) = options else {
            return Ok(());
        };
        if let Some(passed) = self.store.state().last_good {
            let passed = UNIX_EPOCH + Duration::from_secs(passed);
            tls.clock_floor().raise(passed);
        }
        let (store, orders) = (&self.store, &self.renewals);
        match provision::keep_renewed_beside(store, options, client, tls, orders, services)? {}
    }

    /// Notes what happened to the agent's connection. Does not yield.
    #[cfg(feature = "provision")]
    pub(crate) fn note(&self, event: &mqtt::Event) {
        self.refusals.note(event);
    }

    #[cfg(not(feature = "provision"))]
    pub(crate) const fn note(&self, _: &mqtt::Event) {}

    /// Keeps nothing: this program was built without `provision`.
    ///
    /// # Errors
    ///
    /// None.
    #[cfg(not(feature = "provision"))]
    pub(crate) fn keep(
        &self,
        _client: &Client,
        _tls: &ClientTls,
        _services: &Beside,
    ) -> Result<(), Stopped> {
        Ok(())
    }

    #[cfg(feature = "provision")]
    fn active(&self) -> Result<Option<Loaded>, Failure> {
        match &self.options {
            Some(options) => Ok(Some(provision::ensure_identity(&self.store, options)?)),
            None => Ok(self.store.active()),
        }
    }

    #[cfg(not(feature = "provision"))]
    fn active(&self) -> Result<Option<Loaded>, Failure> {
        Ok(self.store.active())
    }
}

fn identity_failure(error: identity::StoreError) -> Failure {
    Failure::Identity(Box::new(error))
}
