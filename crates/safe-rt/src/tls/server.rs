//! The server side of TLS: options, the finished configuration, and the handshake.
//!
//! One identity is presented to every client. Clients can be asked for a certificate of their own
//! (mutual TLS), which is then checked against the authorities given for them.

use core::fmt;
use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use rustls::server::{ServerConfig, ServerConnection, WebPkiClientVerifier};

use super::config::{self, TlsConfigError, TlsVersion};
use super::error::TlsError;
use super::evidence::{Own, Side};
use super::identity::Identity;
use super::replaceable::{Built, Replaceable};
use super::sessions::{OneConnection, ServerSessions};
use super::stream::TlsStream;
use super::trust::Trust;
use crate::clock::ClockFloor;
use crate::error::Error;
use crate::listener::{Listener, server_handshake};
use crate::socket::Socket;
use crate::stats;

/// What a server wants of TLS.
#[derive(Clone, Debug)]
pub struct ServerTlsOptions {
    identity: Identity,
    client_trust: Option<Trust>,
    alpn: Vec<Vec<u8>>,
    version: Option<TlsVersion>,
    floor: Option<ClockFloor>,
}

impl ServerTlsOptions {
    /// Starts with the identity; no certificate asked of clients, no ALPN, TLS 1.2 and 1.3.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            client_trust: None,
            alpn: Vec::new(),
            version: None,
            floor: None,
        }
    }

    /// Demands of every client a certificate that `trust` believes. The authorities of the system are
    /// none to check clients by.
    #[must_use]
    pub fn require_client_certificate(mut self, trust: Trust) -> Self {
        self.client_trust = Some(trust);
        self
    }

    /// Supports these application protocols, the preferred one first. A client that offers only
    /// others is refused (RFC 7301 section 3.2); one that offers none is served.
    #[must_use]
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_vec())
            .collect();
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
    /// Options that cannot be used or sent.
    pub fn build(mut self) -> Result<ServerTls, TlsConfigError> {
        config::check_alpn(&self.alpn)?;
        #[cfg(feature = "keylog")]
        super::key_log::warn();
        // One floor for all configurations that come to be of these options.
        self.floor.get_or_insert_default();
        Ok(ServerTls(Arc::new(Replaceable::new(self, Self::config)?)))
    }

    /// Builds what rustls works by, with no sessions to resume.
    fn config(&self) -> Result<Arc<Built<ServerConfig, ServerSessions>>, TlsConfigError> {
        let floor = self.floor.clone().unwrap_or_default();
        let verifier = match &self.client_trust {
            Some(trust) => trust.client_verifier()?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config =
            ServerConfig::builder_with_details(config::provider(), config::clock(floor.clone()))
                .with_protocol_versions(config::versions(self.version))
                .map_err(config::refused)?
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(self.identity.resolver());
        config.alpn_protocols.clone_from(&self.alpn);
        #[cfg(feature = "keylog")]
        {
            config.key_log = super::key_log::file();
        }
        Ok(Arc::new(Built {
            config: Arc::new(config),
            sessions: ServerSessions::new(floor.clone()),
            own: Arc::new(Own {
                side: Side::Server,
                alpn: self.alpn.clone(),
                identity: Some(self.identity.clone()),
                floor,
            }),
        }))
    }
}

/// A finished server configuration: cheap to clone, shared by any number of connections.
///
/// Identity and trust can be replaced while connections run: all clones, those of listeners too,
/// use the new ones for every handshake that begins afterwards. Connections that are there go on
/// with what they have. Sessions are forgotten with it, so that no client resumes one that was
/// agreed on with what is gone.
///
/// A client that resumes a session, of which at most
/// [`SERVER_SESSIONS_MAX`](crate::SERVER_SESSIONS_MAX) are kept, shows its certificate not again. That
/// is allowed while the last check stands: until a certificate of the client expires, the clock is set
/// back, or the clock floor rises, and for [`SESSION_AGE_MAX`](crate::SESSION_AGE_MAX) at most.
#[derive(Clone)]
pub struct ServerTls(Arc<Replaceable<ServerTlsOptions, Built<ServerConfig, ServerSessions>>>);

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("alpn", &self.0.config().config.alpn_protocols.len())
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Presents `identity` from now on, see [`ServerTls`]; does not wait.
    ///
    /// # Errors
    /// What [`ServerTlsOptions::build`] can find; the former identity then stays.
    pub fn set_identity(&self, identity: Identity) -> Result<(), TlsConfigError> {
        self.0.replace(
            |options| ServerTlsOptions {
                identity,
                ..options
            },
            ServerTlsOptions::config,
        )
    }

    /// Demands of every new client a certificate from one of the authorities in `trust`, and
    /// believes no others; see [`ServerTls`]. Does not wait.
    ///
    /// # Errors
    /// As [`set_identity`](Self::set_identity).
    pub fn set_client_trust(&self, trust: Trust) -> Result<(), TlsConfigError> {
        self.0.replace(
            |options| options.require_client_certificate(trust),
            ServerTlsOptions::config,
        )
    }

    /// Runs the handshake over `transport` without setting a deadline of its own.
    pub(crate) fn handshake(&self, transport: Socket) -> io::Result<TlsStream> {
        let built = self.0.config();
        stats::count_handshake(|| {
            let sessions = OneConnection::new(&built.sessions);
            let mut config = ServerConfig::clone(&built.config);
            config.session_storage = Arc::clone(&sessions) as _;
            let connection = ServerConnection::new(Arc::new(config)).map_err(TlsError::from)?;
            let stream =
                TlsStream::handshake(transport, connection.into(), Arc::clone(&built.own))?;
            stream.settle(&sessions);
            Ok(stream)
        })
    }
}

impl Socket {
    /// Becomes the server side of TLS over `transport`: a TCP stream, a pipe, or any socket.
    ///
    /// Waits for the handshake under the ambient deadline, and never longer than
    /// [`HANDSHAKE_TIMEOUT_DEFAULT`](crate::HANDSHAKE_TIMEOUT_DEFAULT): a client that dawdles must
    /// not hold a connection for as long as the server runs.
    ///
    /// # Errors
    /// [`Phase::Tls`](crate::Phase::Tls); see [`TlsErrorKind`](crate::TlsErrorKind) for what can be found.
    pub fn tls_server(transport: impl Into<Self>, tls: &ServerTls) -> Result<Self, Error> {
        let transport = transport.into();
        let peer = transport.peer();
        server_handshake(transport, tls, || {
            peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string())
        })
    }
}

impl Listener {
    /// Listens at `address` for TLS connections; port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`Phase::Bind`](crate::Phase::Bind), for example when the address is in use.
    pub fn bind_tls(address: SocketAddr, tls: ServerTls) -> Result<Self, Error> {
        Self::open(address, Some(tls))
    }
}
