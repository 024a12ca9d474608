//! The client side of TLS: options, the finished configuration, and the handshake.
//!
//! The peer is checked against the trust that was given and against the host that was asked for,
//! a name or an address (RFC 9525); a name is sent as SNI (RFC 6066 section 3).

use core::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::Connection;
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::pki_types::ServerName;

use super::config::{self, TlsConfigError, TlsVersion};
use super::danger::{Danger, DangerOptions};
use super::error::{TlsError, TlsErrorKind};
use super::evidence::{FirstBytes, Own, Side};
use super::facts::CertificateFacts;
use super::identity::Identity;
use super::replaceable::{Built, Replaceable};
use super::sessions::{ClientSessions, OneConnection};
use super::stream::TlsStream;
use super::trust::{Authorities, Trust};
use crate::clock::ClockFloor;
use crate::dial::DialOptions;
use crate::error::{Error, Phase};
use crate::socket::Socket;
use crate::stats;

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
    danger: Option<Danger>,
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
            danger: None,
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

    /// Leads to the switches that turn a part of the check of the server off. Each is logged.
    pub const fn danger(self) -> DangerOptions {
        DangerOptions(self)
    }

    pub(super) const fn with_danger(mut self, danger: Danger) -> Self {
        self.danger = Some(danger);
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
        if let Some(danger) = self.danger {
            log::warn!("a TLS configuration is dangerous: {danger}");
        }
        #[cfg(feature = "keylog")]
        super::key_log::warn();
        // One floor for all configurations that come to be of these options.
        let floor = self.floor.get_or_insert_default().clone();
        Ok(ClientTls {
            require_alpn: self.require_alpn,
            danger: self.danger,
            floor,
            shared: Arc::new(Replaceable::new(self, Prepared::new)?),
        })
    }

    /// Builds what rustls works by, with no sessions to resume.
    fn config(
        &self,
        authorities: &Authorities,
    ) -> Result<Arc<Built<ClientConfig, ClientSessions>>, TlsConfigError> {
        let verifier = self.trust.server_verifier(authorities, self.danger)?;
        let floor = self.floor.clone().unwrap_or_default();
        let builder =
            ClientConfig::builder_with_details(config::provider(), config::clock(floor.clone()))
                .with_protocol_versions(config::versions(self.version))
                .map_err(config::refused)?
                .dangerous()
                .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        #[cfg(feature = "keylog")]
        {
            config.key_log = super::key_log::file();
        }
        Ok(Arc::new(Built {
            config: Arc::new(config),
            sessions: ClientSessions::new(floor.clone()),
            own: Arc::new(Own {
                side: Side::Client,
                alpn: self.alpn.clone(),
                identity: self.identity.clone(),
                floor,
            }),
        }))
    }
}

/// Options, and what was built of them once the authorities were there that are to be read.
struct Prepared {
    options: ClientTlsOptions,
    /// There are authorities that are to be read.
    waits: bool,
    ready: Mutex<Ready>,
}

struct Ready {
    /// What `built` was built with.
    authorities: Authorities,
    /// Absent until they are read.
    built: Option<Arc<Built<ClientConfig, ClientSessions>>>,
}

impl Prepared {
    fn new(options: &ClientTlsOptions) -> Result<Arc<Self>, TlsConfigError> {
        let waits = options.trust.may_wait();
        let waits = match options.danger {
            // Nobody is going to be asked.
            Some(Danger::AnyCertificate) => false,
            _ => options.trust.check().map(|()| waits)?,
        };
        let authorities = Authorities::none();
        // Built also where it has to be built again, so that all that is wrong is found now.
        let built = options.config(&authorities)?;
        Ok(Arc::new(Self {
            options: options.clone(),
            waits,
            ready: Mutex::new(Ready {
                authorities,
                built: (!waits).then_some(built),
            }),
        }))
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        // Both halves are assigned at once, so a panic elsewhere leaves them whole.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what connections are made with; waits if authorities have to be read first.
    fn built(&self) -> Result<Arc<Built<ClientConfig, ClientSessions>>, TlsConfigError> {
        if !self.waits
            && let Some(built) = &self.ready().built
        {
            return Ok(Arc::clone(built));
        }
        let authorities = self.options.trust.authorities()?;
        let mut ready = self.ready();
        if let Some(built) = &ready.built
            && ready.authorities.same(&authorities)
        {
            return Ok(Arc::clone(built));
        }
        let built = self.options.config(&authorities)?;
        ready.authorities = authorities;
        ready.built = Some(Arc::clone(&built));
        Ok(built)
    }
}

/// A finished client configuration: cheap to clone, shared by any number of connections.
///
/// Sessions are remembered per configuration and server (at most [`SESSIONS_MAX`](crate::SESSIONS_MAX)), so that a
/// reconnect with the same value can resume; that checks no certificate again, and is done only while
/// the last check stands: until a certificate of the server expires, the clock is set back, or the
/// clock floor rises, and for [`SESSION_AGE_MAX`](crate::SESSION_AGE_MAX) at most.
///
/// Identity and trust can be replaced while connections run: all clones use the new ones for
/// every handshake that begins afterwards. Connections that are there, and handshakes that began
/// before, go on with what they have. Sessions are forgotten with it, so that nothing is resumed
/// that was agreed on with what is gone.
#[derive(Clone)]
pub struct ClientTls {
    shared: Arc<Replaceable<ClientTlsOptions, Prepared>>,
    require_alpn: bool,
    danger: Option<Danger>,
    floor: ClockFloor,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prepared = self.shared.config();
        let mut shown = f.debug_struct("ClientTls");
        shown.field("trust", &prepared.options.trust);
        shown.field("alpn", &prepared.options.alpn.len());
        shown.field("require_alpn", &self.require_alpn);
        if let Some(danger) = self.danger {
            shown.field("danger", &danger);
        }
        shown.finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Returns the earliest time that it can be for this configuration: what
    /// [`ClientTlsOptions::clock_floor`] was given, else a floor of its own. Raising it has effect on
    /// the next handshake, which resumes no session.
    #[must_use]
    pub const fn clock_floor(&self) -> &ClockFloor {
        &self.floor
    }

    /// Presents `identity` from now on, see [`ClientTls`]; does not wait.
    ///
    /// # Errors
    /// What [`ClientTlsOptions::build`] can find; the former identity then stays.
    pub fn set_identity(&self, identity: Identity) -> Result<(), TlsConfigError> {
        self.shared
            .replace(|options| options.identity(identity), Prepared::new)
    }

    /// Believes `trust` from now on, and nothing of before; see [`ClientTls`]. Does not wait.
    ///
    /// # Errors
    /// As [`set_identity`](Self::set_identity).
    pub fn set_trust(&self, trust: Trust) -> Result<(), TlsConfigError> {
        self.shared.replace(
            |options| ClientTlsOptions { trust, ..options },
            Prepared::new,
        )
    }

    /// Returns whether a part of the check of the server is turned off, see
    /// [`ClientTlsOptions::danger`].
    #[must_use]
    pub const fn is_dangerous(&self) -> bool {
        self.danger.is_some()
    }

    /// Returns what connections are made with; waits if authorities have to be read first.
    pub(super) fn built(&self) -> Result<Arc<Built<ClientConfig, ClientSessions>>, TlsConfigError> {
        self.shared.config().built()
    }

    /// Runs the handshake over `transport` without setting a deadline of its own.
    pub(crate) fn handshake(&self, transport: Socket, server_name: &str) -> io::Result<TlsStream> {
        stats::count_handshake(|| self.shake(transport, server_name))
    }

    fn shake(&self, transport: Socket, server_name: &str) -> io::Result<TlsStream> {
        if let Some(danger) = self.danger {
            warn_of(danger, &transport, server_name);
        }
        let name = name_of(server_name)?;
        let built = self.built().map_err(unavailable)?;
        let sessions = OneConnection::new(&built.sessions);
        let connection = connection(&built, &sessions, name)?;
        let mut stream = TlsStream::handshake(transport, connection, Arc::clone(&built.own))?;
        stream.danger = self.danger;
        if self.require_alpn && stream.alpn().is_none() {
            return Err(no_protocol(&built.own));
        }
        stream.settle(&sessions);
        Ok(stream)
    }
}

fn no_protocol(own: &Own) -> io::Error {
    let error = TlsError::new(TlsErrorKind::AlpnNotAgreed);
    own.explain(error, FirstBytes::default()).into()
}

fn warn_of(danger: Danger, transport: &Socket, server_name: &str) {
    let address = transport.peer().map(|peer| format!(" at {peer}"));
    let address = address.unwrap_or_default();
    log::warn!("a dangerous TLS handshake with {server_name}{address}: {danger}");
}

fn name_of(server_name: &str) -> io::Result<ServerName<'static>> {
    let name = ServerName::try_from(server_name).map_err(|_| {
        let text = format!("{server_name:?} is no name a TLS server can have");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })?;
    Ok(name.to_owned())
}

/// A connection that has sent nothing yet.
fn connection(
    built: &Built<ClientConfig, ClientSessions>,
    sessions: &Arc<OneConnection<ClientSessions>>,
    name: ServerName<'static>,
) -> io::Result<Connection> {
    // It makes the keys of its first message.
    fiber::long_turn()?;
    let mut config = ClientConfig::clone(&built.config);
    config.resumption = Resumption::store(Arc::clone(sessions) as _);
    let connection = ClientConnection::new(Arc::new(config), name);
    Ok(connection.map_err(TlsError::from)?.into())
}

/// Turns a configuration that cannot be used yet into the failure of the handshake that needs it.
fn unavailable(error: TlsConfigError) -> io::Error {
    let kind = match error {
        // The wait for it ended: that is what the handshake failed with.
        TlsConfigError::File { source, .. } if fiber::cause(&source).is_some() => return source,
        TlsConfigError::File { ref source, .. } => source.kind(),
        _ => io::ErrorKind::NotFound,
    };
    io::Error::new(kind, error)
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

    /// Returns what the certificates say that the peer showed, its own first; none without TLS. Of a
    /// session that was resumed they are those of the handshake that began it.
    #[must_use]
    pub fn peer_facts(&self) -> Vec<CertificateFacts> {
        self.as_tls().map(TlsStream::peer_facts).unwrap_or_default()
    }

    /// Returns whether this is TLS whose handshake resumed an earlier session, which saves the
    /// certificates and, with TLS 1.2, a round trip.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.as_tls().is_some_and(TlsStream::is_resumed)
    }

    /// Returns whether this is TLS whose server was not checked in full, because a switch of
    /// [`ClientTlsOptions::danger`] said so.
    #[must_use]
    pub fn is_dangerous(&self) -> bool {
        self.as_tls().is_some_and(|stream| stream.danger.is_some())
    }
}
