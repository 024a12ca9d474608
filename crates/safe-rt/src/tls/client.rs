//! The client side of TLS: options, the finished configuration, and the handshake.
//!
//! The peer is checked against the trust that was given and against the host that was asked for,
//! a name or an address (RFC 9525); a name is sent as SNI (RFC 6066 section 3).

use core::fmt;
use std::io;
use std::sync::Arc;

use rustls::Connection;
use rustls::client::{ClientConfig, ClientConnection, Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;

use super::config::{self, SESSIONS_MAX, TlsConfigError, TlsVersion};
use super::error::{TlsError, TlsErrorKind};
use super::evidence::{FirstBytes, Own, Side};
use super::identity::Identity;
use super::replaceable::{Built, Replaceable};
use super::stream::TlsStream;
use super::trust::Trust;
use super::verify::Noting;
use crate::clock::ClockFloor;
use crate::dial::DialOptions;
use crate::error::{Error, Phase};
use crate::socket::Socket;

/// What a client wants of TLS.
///
/// # Examples
/// ```
/// use safe_rt::{ClientTlsOptions, Identity, Trust};
///
/// # let made = rcgen::generate_simple_self_signed(vec!["device".to_owned()])?;
/// # let (authority, chain, key) = (made.cert.pem(), made.cert.pem(), made.signing_key.serialize_pem());
/// let trust = Trust::from_pem(authority.as_bytes())?;
/// let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())?;
/// let tls = ClientTlsOptions::new(trust)
///     .identity(identity)
///     .alpn(["mqtt"])
///     .require_alpn()
///     .build()?;
/// # drop(tls);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientTlsOptions {
    trust: Trust,
    identity: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    require_alpn: bool,
    version: Option<TlsVersion>,
    floor: Option<ClockFloor>,
}

impl ClientTlsOptions {
    /// Starts with the trusted authorities; no identity, no ALPN, TLS 1.2 and 1.3.
    #[must_use]
    pub const fn new(trust: Trust) -> Self {
        Self {
            trust,
            identity: None,
            alpn: Vec::new(),
            require_alpn: false,
            version: None,
            floor: None,
        }
    }

    /// Presents this identity to a server that asks for one.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Offers these application protocols, the preferred one first (RFC 7301).
    #[must_use]
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_vec())
            .collect();
        self
    }

    /// Demands that one of the protocols offered is agreed on; else the handshake fails with
    /// [`TlsErrorKind::AlpnNotAgreed`].
    #[must_use]
    pub const fn require_alpn(mut self) -> Self {
        self.require_alpn = true;
        self
    }

    /// Accepts this version of TLS alone.
    #[must_use]
    pub const fn version(mut self, version: TlsVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Takes `floor`, and what it is raised to later, for the earliest time that it can be; else that
    /// is the build date, see [`ClockFloor::new`]. Certificates are judged at the wall time, or at the
    /// floor while the wall clock is behind it.
    #[must_use]
    pub fn clock_floor(mut self, floor: ClockFloor) -> Self {
        self.floor = Some(floor);
        self
    }

    /// Checks the options and builds the configuration; does not wait.
    ///
    /// # Errors
    /// Options that contradict each other or cannot be sent.
    pub fn build(mut self) -> Result<ClientTls, TlsConfigError> {
        config::check_alpn(&self.alpn)?;
        if self.require_alpn && self.alpn.is_empty() {
            return Err(TlsConfigError::AlpnDemandedButNotOffered);
        }
        // One floor for all configurations that come to be of these options.
        let floor = self.floor.get_or_insert_default().clone();
        Ok(ClientTls {
            require_alpn: self.require_alpn,
            floor,
            shared: Arc::new(Replaceable::new(self, Self::config)?),
        })
    }

    /// Builds what rustls works by, with no sessions to resume.
    fn config(&self) -> Result<Arc<Built<ClientConfig>>, TlsConfigError> {
        let provider = config::provider();
        let floor = self.floor.clone().unwrap_or_default();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(self.trust.roots(), Arc::clone(&provider))
                .build()
                .map_err(config::refused)?;
        let builder = ClientConfig::builder_with_details(provider, config::clock(floor.clone()))
            .with_protocol_versions(config::versions(self.version))
            .map_err(config::refused)?
            .dangerous()
            .with_custom_certificate_verifier(Noting::new(verifier, self.trust.clone()));
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Arc::new(Built {
            config: Arc::new(config),
            own: Arc::new(Own {
                side: Side::Client,
                alpn: self.alpn.clone(),
                identity: self.identity.clone(),
                floor,
            }),
        }))
    }
}

/// A finished client configuration: cheap to clone, shared by any number of connections.
///
/// Sessions are remembered per configuration and server (at most [`SESSIONS_MAX`]), so that a
/// reconnect with the same value can resume.
///
/// Identity and trust can be replaced while connections run: all clones use the new ones for
/// every handshake that begins afterwards. Connections that are there, and handshakes that began
/// before, go on with what they have. Sessions are forgotten with it, so that nothing is resumed
/// that was agreed on with what is gone.
#[derive(Clone)]
pub struct ClientTls {
    shared: Arc<Replaceable<ClientTlsOptions, Built<ClientConfig>>>,
    require_alpn: bool,
    floor: ClockFloor,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("alpn", &self.shared.config().config.alpn_protocols.len())
            .field("require_alpn", &self.require_alpn)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Returns the earliest time that it can be for this configuration: what
    /// [`ClientTlsOptions::clock_floor`] was given, else a floor of its own. Raising it has effect on
    /// the next handshake.
    #[must_use]
    pub const fn clock_floor(&self) -> &ClockFloor {
        &self.floor
    }

    /// Presents `identity` from now on, see [`ClientTls`]; does not wait.
    ///
    /// # Errors
    /// What [`ClientTlsOptions::build`] can find; the former identity then stays.
    pub fn set_identity(&self, identity: Identity) -> Result<(), TlsConfigError> {
        self.shared.replace(
            |options| options.identity(identity),
            ClientTlsOptions::config,
        )
    }

    /// Believes `trust` from now on, and nothing of before; see [`ClientTls`]. Does not wait.
    ///
    /// # Errors
    /// As [`set_identity`](Self::set_identity).
    pub fn set_trust(&self, trust: Trust) -> Result<(), TlsConfigError> {
        self.shared.replace(
            |options| ClientTlsOptions { trust, ..options },
            ClientTlsOptions::config,
        )
    }

    /// Runs the handshake over `transport` without setting a deadline of its own.
    pub(crate) fn handshake(&self, transport: Socket, server_name: &str) -> io::Result<TlsStream> {
        let built = self.shared.config();
        let connection = connection(&built, server_name)?;
        let stream = TlsStream::handshake(transport, connection, Arc::clone(&built.own))?;
        if self.require_alpn && stream.alpn().is_none() {
            return Err(no_protocol(&built.own));
        }
        Ok(stream)
    }
}

fn no_protocol(own: &Own) -> io::Error {
    let error = TlsError::new(TlsErrorKind::AlpnNotAgreed);
    own.explain(error, FirstBytes::default()).into()
}

/// A connection that has sent nothing yet.
fn connection(built: &Built<ClientConfig>, server_name: &str) -> io::Result<Connection> {
    let name = ServerName::try_from(server_name)
        .map_err(|_| {
            let text = format!("{server_name:?} is no name a TLS server can have");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?
        .to_owned();
    // It makes the keys of its first message.
    fiber::long_turn()?;
    let connection = ClientConnection::new(Arc::clone(&built.config), name);
    Ok(connection.map_err(TlsError::from)?.into())
}

impl Socket {
    /// Becomes the client side of TLS over `transport`: a TCP stream, a pipe, or any socket.
    ///
    /// `server_name` is the host that was asked for: a DNS name or an IP address. Waits for the
    /// handshake under the ambient deadline, else under
    /// [`HANDSHAKE_TIMEOUT_DEFAULT`](crate::HANDSHAKE_TIMEOUT_DEFAULT), while other fibers run.
    ///
    /// # Errors
    /// [`Phase::Tls`]; see [`TlsErrorKind`] for what can be found. In TLS 1.3 a refused client
    /// certificate is reported by the first read after the handshake instead.
    pub fn tls_client(
        transport: impl Into<Self>,
        tls: &ClientTls,
        server_name: &str,
    ) -> Result<Self, Error> {
        let transport = transport.into();
        crate::dial::with_default_deadline(crate::HANDSHAKE_TIMEOUT_DEFAULT, || {
            let peer = transport.peer();
            tls.handshake(transport, server_name)
                .map(Self::from_tls)
                .map_err(|source| {
                    let address = peer.map_or_else(
                        || server_name.to_owned(),
                        |peer| format!("{server_name} ({peer})"),
                    );
                    Error::new(Phase::Tls, address, source)
                })
        })
    }
}

impl DialOptions {
    /// Uses these options for endpoints whose scheme asks for TLS; a plain endpoint then is an
    /// error, so that a typing mistake cannot drop the protection.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.set_tls(tls);
        self
    }
}

impl Socket {
    /// Returns the version of TLS agreed on, if this is TLS.
    #[must_use]
    pub fn tls_version(&self) -> Option<TlsVersion> {
        self.as_tls().and_then(TlsStream::version)
    }
}
