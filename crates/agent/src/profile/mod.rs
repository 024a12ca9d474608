//! Profiles of providers: one endpoint decides port, ALPN, server name, authorities and limits.
//!
//! A [`Profile`] is what is known of a provider ([`Facts`], with how each value is known) and what the
//! configuration says otherwise ([`Overrides`]). It is chosen by the host name of the endpoint, or by
//! name. It does three things:
//!
//! ```text
//!  configuration ──► Connection ──► endpoint with its port
//!                        ├────────► how to dial: authorities, ALPN, identity, proxy
//!                        └────────► the client's options: keep-alive, window, rates, limits
//! ```
//! What is beyond a limit is an error before it is sent, which names the limit and the profile; rates
//! are kept by holding messages back. Behind the feature `demo` the embedded broker can play each
//! provider: its limits and its refusals, which mostly are to hang up.

mod apply;
mod check;
mod connection;
mod facts;
mod limits;
mod note;
#[cfg(feature = "demo")]
mod play;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use safe_rt::{Endpoint, EndpointError, Scheme};

pub use apply::Applied;
pub use check::{Finding, Trouble, Wanted};
pub use connection::Connection;
pub use facts::{Alpn, Evidence, Fact, Facts, LimitFacts};
pub use limits::{Limits, Overrides, Setting};
pub use note::Note;

/// Who runs the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// `aws`: AWS IoT Core.
    Aws,
    /// `azure-eventgrid`: the MQTT broker of an Azure Event Grid namespace.
    AzureEventGrid,
    /// `hivemq`: HiveMQ Cloud.
    HiveMq,
    /// `emqx`: EMQX Cloud, serverless.
    Emqx,
    /// `plain`: any other broker, of which nothing is assumed.
    Plain,
}

impl Provider {
    /// All of them, in the order in which a host name is compared.
    pub const ALL: [Self; 5] = [
        Self::Aws,
        Self::AzureEventGrid,
        Self::HiveMq,
        Self::Emqx,
        Self::Plain,
    ];

    /// Returns its name, as `profile =` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AzureEventGrid => "azure-eventgrid",
            Self::HiveMq => "hivemq",
            Self::Emqx => "emqx",
            Self::Plain => "plain",
        }
    }

    /// Returns who the errors of its limits name.
    const fn set_by(self) -> &'static str {
        match self {
            Self::Aws => "the profile aws",
            Self::AzureEventGrid => "the profile azure-eventgrid",
            Self::HiveMq => "the profile hivemq",
            Self::Emqx => "the profile emqx",
            Self::Plain => "[limits]",
        }
    }

    /// Returns whose a host name is; [`Provider::Plain`] if it is nobody's.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|provider| Facts::of(*provider).has_host(host))
            .unwrap_or(Self::Plain)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownProvider;

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Provider::ALL.map(Provider::as_str);
        write!(f, "expected one of {}", names.join(", "))
    }
}

impl std::error::Error for UnknownProvider {}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        let mut all = Self::ALL.into_iter();
        all.find(|provider| provider.as_str() == text)
            .ok_or(UnknownProvider)
    }
}

/// Understands an endpoint as a configuration has it: an address with its scheme, or of a known
/// provider the host alone, with or without a port, which then is reached by TLS.
///
/// # Errors
/// [`EndpointError`]: what is no endpoint, and a host of nobody without a scheme.
pub fn endpoint(text: &str) -> Result<Endpoint, EndpointError> {
    let host = text.split([':', '/']).next().unwrap_or_default();
    match text.parse() {
        Err(EndpointError::NoScheme) if Provider::of_host(host) != Provider::Plain => {
            Endpoint::new(Scheme::Mqtts, text.strip_suffix('/').unwrap_or(text))
        }
        found => found,
    }
}

/// What is assumed of a broker.
///
/// # Examples
///
/// ```
/// use agent::profile::{self, Overrides, Profile, Provider};
///
/// let host = "a1b2c3-ats.iot.eu-west-1.amazonaws.com";
/// let endpoint = profile::endpoint(host)?;
/// assert_eq!(endpoint.to_string(), format!("mqtts://{host}:8883"));
/// let profile = Profile::of(&endpoint, None, Overrides::default());
/// assert_eq!(profile.provider(), Provider::Aws);
/// # Ok::<(), safe_rt::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    facts: &'static Facts,
    limits: Limits,
    overrides: Overrides,
}

impl Profile {
    /// Makes the profile of a provider, with what is said otherwise.
    #[must_use]
    pub fn new(provider: Provider, overrides: Overrides) -> Self {
        let facts = Facts::of(provider);
        let limits = Limits::new(&facts.limits, overrides);
        Self {
            facts,
            limits,
            overrides,
        }
    }

    /// Makes the profile for an endpoint that is there already: that of its host name, or `chosen`.
    #[must_use]
    pub fn of(endpoint: &Endpoint, chosen: Option<Provider>, overrides: Overrides) -> Self {
        let provider = chosen.unwrap_or_else(|| Provider::of_host(endpoint.host()));
        Self::new(provider, overrides)
    }

    /// Returns whose it is.
    #[must_use]
    pub const fn provider(&self) -> Provider {
        self.facts.provider
    }

    /// Returns what is known of the provider.
    #[must_use]
    pub const fn facts(&self) -> &'static Facts {
        self.facts
    }

    /// Returns the limits that hold, with what was said otherwise.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
}
