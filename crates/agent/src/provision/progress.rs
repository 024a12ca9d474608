//! What happens on the way to an identity, for whoever watches.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::error::ProvisionError;

/// A thing that happened on the way to an identity.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// There is none: one is begun, or gone on with.
    Begun {
        /// The phase, [`State::phase`](crate::identity::State::phase).
        phase: &'a str,
    },
    /// A key was made.
    KeyMade {
        /// For which device.
        device_id: &'a str,
    },
    /// The cloud is connected.
    Connected {
        /// Where it is.
        to: String,
        /// Shown to it: a claim, a token, or the identity in use.
        with: &'static str,
    },
    /// The cloud made a certificate.
    Certified {
        /// The cloud's name for it.
        certificate_id: &'a str,
    },
    /// The certificate was not registered in time: it is asked for again.
    TooLate {
        /// The cloud's name for it.
        certificate_id: &'a str,
    },
    /// The cloud knows the device.
    Registered {
        /// What it calls it.
        name: &'a str,
    },
    /// The new identity is tried out.
    Proving {
        /// The cloud's name for the certificate.
        certificate_id: &'a str,
    },
    /// It is in use.
    InUse {
        /// The cloud's name for the certificate.
        certificate_id: &'a str,
    },
    /// What was made so far is let go, and made anew.
    LetGo {
        /// Why.
        reason: String,
    },
    /// The claim has expired; it is shown all the same.
    ClaimExpired {
        /// When, in words.
        ended: String,
    },
    /// The claim that was named cannot be used; the one that was kept is.
    KeptClaim {
        /// What is wrong with the other.
        reason: &'a str,
    },
    /// An attempt came to nothing.
    Failed {
        /// Why.
        error: &'a ProvisionError,
        /// When the next one is made.
        retry_in: Duration,
    },
}

impl Progress<'_> {
    /// Whether something is wrong.
    #[must_use]
    pub const fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::LetGo { .. } | Self::ClaimExpired { .. } | Self::Failed { .. }
        )
    }
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun { phase } => write!(f, "no identity yet, phase {phase}"),
            Self::KeyMade { device_id } => write!(f, "a key was made for {device_id}"),
            Self::Connected { to, with } => write!(f, "connected to {to} with {with}"),
            Self::Certified { certificate_id } => {
                write!(f, "the cloud made certificate {certificate_id}")
            }
            Self::TooLate { certificate_id } => {
                write!(f, "certificate {certificate_id} was not registered in time")
            }
            Self::Registered { name } => write!(f, "the cloud calls the device {name}"),
            Self::Proving { certificate_id } => write!(
                f,
                "certificate {certificate_id} is tried out by a connection"
            ),
            Self::InUse { certificate_id } => {
                write!(f, "certificate {certificate_id} is proven and in use")
            }
            Self::LetGo { reason } => f.write_str(reason),
            Self::ClaimExpired { ended } => write!(
                f,
                "the claim certificate has expired at {ended}; it is shown all the same"
            ),
            Self::KeptClaim { reason } => {
                write!(f, "{reason}; the claim certificate that was kept is used")
            }
            Self::Failed { error, retry_in } => {
                write!(f, "{error}; next attempt in {} s", retry_in.as_secs())
            }
        }
    }
}

/// Who is told; the log where it is nobody.
#[derive(Clone, Default)]
pub(super) struct Observer(Option<Tell>);

type Tell = Rc<dyn Fn(&Progress<'_>)>;

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "None" })
    }
}

impl Observer {
    pub(super) fn new(observer: impl Fn(&Progress<'_>) + 'static) -> Self {
        Self(Some(Rc::new(observer)))
    }

    pub(super) fn tell(&self, progress: &Progress<'_>) {
        if let Some(observer) = &self.0 {
            observer(progress);
            return;
        }
        match progress {
            Progress::Failed { error, .. } => {
                log::warn!("provisioning[{}]: {progress}", error.code());
            }
            trouble if trouble.is_trouble() => log::warn!("provisioning: {progress}"),
            progress => log::info!("provisioning: {progress}"),
        }
    }
}
