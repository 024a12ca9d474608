//! From arguments to a connected client: files for TLS, client identifier, dial, CONNECT.
//!
//! One deadline covers all of it (`--timeout`). When the link ends another one is made where somebody
//! asks for it.

use std::net::SocketAddr;
use std::time::Duration;

use fiber::Instant;
use mqtt::{Client, ClientId, ClientOptions, WaitCause};
use safe_rt::{ClientTlsOptions, DialOptions, Endpoint, Identity, Socket, TlsConfigError, Trust};
use zeroize::Zeroizing;

use crate::args::{ClientIdArgs, ConnectionArgs, PasswordSource, TlsArgs};
use crate::failure::Failure;
use crate::own::Own;

/// How long a connection may take unless `--timeout` says otherwise.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Largest packet that is taken from the broker, in bytes; a larger one ends the connection.
pub const RECEIVED_PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long leaving may take: what is still to be sent, then DISCONNECT.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Stands for "for ever" where a number is needed; a century.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Random bytes of a client identifier; two characters each.
const ID_RANDOM_LEN: usize = 9;
/// With the random part, the 23 letters and digits that every broker must take (MQTT3-3.1.3-5).
const ID_PREFIX: &str = "agent";

/// A client over a transport that is connected, before CONNECT.
#[derive(Debug)]
pub struct Link {
    client: Client,
    /// Where the transport leads to, and how one is made.
    endpoint: Endpoint,
    dial: DialOptions,
    /// By when CONNECT must be answered.
    deadline: Instant,
    timeout: Duration,
}

impl Link {
    /// Makes the connection to the broker, TLS included, and sends nothing of MQTT yet. Yields;
    /// limited by `--timeout` and by the ambient deadline.
    ///
    /// `operation_timeout` is the limit of the client's later calls.
    ///
    /// # Errors
    ///
    /// [`Failure::TlsConfig`], [`Failure::Randomness`], [`Failure::PasswordFile`],
    /// [`Failure::PasswordVariable`], [`Failure::Dial`] and [`Failure::ConnectTimeout`]; for the agent's
    /// own connection also [`Failure::Config`], [`Failure::Identity`] and [`Failure::TlsForPlain`].
    pub fn dial(args: &ConnectionArgs, operation_timeout: Duration) -> Result<Self, Failure> {
        let own = args.own.as_ref().map(Own::find).transpose()?;
        Self::dial_by(own.flatten(), args, operation_timeout)
    }

    /// As [`Link::dial`], where it is known whether the agent's own connection is meant.
    pub(crate) fn dial_by(
        own: Option<Own>,
        args: &ConnectionArgs,
        operation_timeout: Duration,
    ) -> Result<Self, Failure> {
        let timeout = args.timeout.unwrap_or(FOR_EVER);
        let deadline = Instant::now() + timeout;
        let dial = || make(own, args, timeout);
        let (socket, way) = in_time(fiber::deadline(deadline, dial), timeout)?;
        let options = way.options.operation_timeout(Some(operation_timeout));
        let client = Client::over(socket, options);
        Ok(Self {
            client,
            endpoint: way.endpoint,
            dial: way.dial,
            deadline,
            timeout,
        })
    }

    /// Sends CONNECT and waits for the broker to accept it (MQTT3-3.1). Yields; limited as
    /// [`Link::dial`].
    ///
    /// # Errors
    ///
    /// [`Failure::Connect`] and [`Failure::ConnectTimeout`].
    pub fn connect(&self) -> Result<(), Failure> {
        match fiber::deadline(self.deadline, || self.client.connect()) {
            Ok(Ok(session_present)) | Err(fiber::Elapsed(Ok(session_present))) => {
                let session = if session_present { "kept" } else { "new" };
                log::debug!("connected; the session is a {session} one");
                Ok(())
            }
            Err(fiber::Elapsed(Err(_))) => Err(self.timed_out()),
            Ok(Err(mqtt::Error::Wait(WaitCause::ConnectionLost(end)))) if is_late(&end) => {
                Err(self.timed_out())
            }
            Ok(Err(error)) => Err(Failure::Connect(error)),
        }
    }

    /// Makes another connection in the place of one that has ended, and has the broker accept it; what
    /// the client is subscribed to it asks for again. Yields; limited by `--timeout` for the transport and
    /// once more for CONNECT, and by the ambient deadline.
    ///
    /// # Errors
    ///
    /// As [`Link::dial`] and [`Link::connect`].
    pub fn connect_again(&self) -> Result<(), Failure> {
        let dial = || safe_rt::dial(&self.endpoint, &self.dial).map_err(Failure::Dial);
        let socket = in_time(fiber::timeout(self.timeout, dial), self.timeout)?;
        self.client.attach(socket).map_err(Failure::Connect)?;
        // The client has the same limit for this.
        match self.client.connect() {
            Ok(_) => Ok(()),
            Err(mqtt::Error::Wait(WaitCause::ConnectionLost(end))) if is_late(&end) => {
                Err(self.timed_out())
            }
            Err(error) => Err(Failure::Connect(error)),
        }
    }

    /// Returns the client.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    const fn timed_out(&self) -> Failure {
        Failure::ConnectTimeout {
            timeout: self.timeout,
            during: None,
        }
    }
}

/// Leaves in order, within [`LEAVE_TIMEOUT`]. Yields.
///
/// Everything that matters was waited for before, so that what is left undone is only logged.
pub fn leave(client: &Client) {
    match client.close(LEAVE_TIMEOUT) {
        Ok(remaining) if remaining.unacknowledged == 0 => log::debug!("left the broker"),
        Ok(remaining) => {
            log::debug!("left {} messages unacknowledged", remaining.unacknowledged);
        }
        Err(stopped) => log::debug!("leaving was cut short: {stopped}"),
    }
}

/// Whether the session itself gave up waiting for CONNACK, at the same time as our deadline.
fn is_late(end: &mqtt::EndCause) -> bool {
    matches!(
        end,
        mqtt::EndCause::Dead(mqtt::session::CloseCause::ConnAckTimeout)
    )
}

/// What was made in time; an error that says which time is over, where it is.
fn in_time<T>(
    made: Result<Result<T, Failure>, fiber::Elapsed<Result<T, Failure>>>,
    timeout: Duration,
) -> Result<T, Failure> {
    match made {
        Ok(made) | Err(fiber::Elapsed(made @ Ok(_))) => made,
        Err(fiber::Elapsed(Err(failure))) => {
            let during = match failure {
                Failure::Dial(error) => Some(Box::new(error)),
                _ => None,
            };
            Err(Failure::ConnectTimeout { timeout, during })
        }
    }
}

/// Makes the connection. Yields.
fn make(
    own: Option<Own>,
    args: &ConnectionArgs,
    timeout: Duration,
) -> Result<(Socket, Box<Way>), Failure> {
    let mut way = Box::new(match own {
        Some(own) => own.way(args)?,
        None => Way::of(args)?,
    });
    log::debug!("connecting to {}", way.endpoint);
    // What cannot be read is no reason to disturb the broker.
    way.options = settle(way.options, args, timeout)?;
    let socket = safe_rt::dial(&way.endpoint, &way.dial).map_err(Failure::Dial)?;
    Ok((socket, way))
}

/// Where the broker is and how it is reached.
pub(crate) struct Way {
    pub(crate) endpoint: Endpoint,
    pub(crate) dial: DialOptions,
    /// The client's options as far as they come from there.
    pub(crate) options: ClientOptions,
}

impl Way {
    /// That of the options alone. Yields.
    fn of(args: &ConnectionArgs) -> Result<Self, Failure> {
        let client_id = match given_client_id(args)? {
            Some(client_id) => client_id,
            None => random_client_id()?,
        };
        let mut dial = from_here(DialOptions::new(), args);
        if let Some(tls) = &args.tls {
            let trust = trust(tls).map_err(Failure::TlsConfig)?;
            let mut options = ClientTlsOptions::new(trust);
            if let Some((certificate, key)) = &tls.identity {
                let identity = Identity::from_files(certificate, key);
                options = options.identity(identity.map_err(Failure::TlsConfig)?);
            }
            if let Some(protocol) = &tls.alpn {
                options = options.alpn([protocol]);
            }
            let built = restrict(options, tls).build();
            dial = dial.tls(built.map_err(Failure::TlsConfig)?);
        }
        if let Some(proxy) = &args.proxy {
            dial = dial.proxy(proxy.clone());
        }
        Ok(Self {
            endpoint: args.endpoint.clone(),
            dial,
            options: ClientOptions::new(client_id).keep_alive(args.keep_alive),
        })
    }
}

/// The client identifier that was asked for, if one was.
pub(crate) fn given_client_id(args: &ConnectionArgs) -> Result<Option<ClientId>, Failure> {
    match &args.client_id {
        ClientIdArgs::Given(client_id) => Ok(Some(client_id.clone())),
        ClientIdArgs::Prefix(prefix) => {
            let id = ClientId::new(format!("{prefix}{}", std::process::id()));
            id.map(Some).map_err(|error| Failure::Connect(error.into()))
        }
        ClientIdArgs::Random => Ok(None),
    }
}

/// Adds what the options say of the client whatever the way. Yields.
fn settle(
    options: ClientOptions,
    args: &ConnectionArgs,
    timeout: Duration,
) -> Result<ClientOptions, Failure> {
    let mut options = options
        .clean_start(args.clean_start)
        .connect_timeout(timeout)
        .maximum_packet_size(RECEIVED_PACKET_BYTES_MAX);
    if let Some(window) = args.window {
        options = options
            .window(window.get())
            .exactly_once_window(window.get());
    }
    if let Some(credentials) = &args.credentials {
        let password = match &credentials.password {
            Some(source) => Some(password(source)?.to_vec()),
            None => None,
        };
        options = options.credentials(credentials.user_name.clone(), password);
    }
    if let Some(will) = &args.will {
        options = options.will(will.clone());
    }
    Ok(options)
}

/// Gets hold of the password. Yields.
fn password(source: &PasswordSource) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match source {
        PasswordSource::Given(password) => Ok(Zeroizing::new(password.0.clone())),
        PasswordSource::File(path) => {
            let read = fiber::fs::read(path.as_path());
            let mut bytes = Zeroizing::new(read.map_err(|source| Failure::PasswordFile {
                path: path.clone(),
                source,
            })?);
            // Editors end the last line; nobody means that to be part of it.
            for end in [b'\n', b'\r'] {
                if bytes.last() == Some(&end) {
                    bytes.pop();
                }
            }
            Ok(bytes)
        }
        PasswordSource::Environment(name) => match std::env::var_os(name) {
            Some(value) => Ok(Zeroizing::new(value.into_encoded_bytes())),
            None => Err(Failure::PasswordVariable(name.clone())),
        },
    }
}

/// Makes a client identifier that no other client has.
pub(crate) fn random_client_id() -> Result<ClientId, Failure> {
    let mut random = [0; ID_RANDOM_LEN];
    fiber::random::fill(&mut random).map_err(Failure::Randomness)?;
    Ok(client_id_of(random))
}

fn client_id_of(random: [u8; ID_RANDOM_LEN]) -> ClientId {
    let hexadecimal = random.iter().map(|byte| format!("{byte:02x}"));
    let id: String = std::iter::once(ID_PREFIX.to_owned())
        .chain(hexadecimal)
        .collect();
    ClientId::new(id).expect("letters and digits make a client identifier")
}

/// Adds from where on this machine the connection is made.
pub(crate) fn from_here(mut dial: DialOptions, args: &ConnectionArgs) -> DialOptions {
    if let Some(address) = args.local_address {
        dial = dial.local_address(SocketAddr::new(address, 0));
    }
    if let Some(interface) = &args.interface {
        dial = dial.interface(interface.as_str());
    }
    dial
}

/// Reads the authorities that were given. Yields.
pub(crate) fn trust(args: &TlsArgs) -> Result<Trust, TlsConfigError> {
    let mut found = Vec::new();
    if let Some(path) = &args.cafile {
        found.push(Trust::from_file(path)?);
    }
    if let Some(path) = &args.capath {
        found.push(Trust::from_folder(path)?);
    }
    if args.system {
        found.push(Trust::system());
    }
    found
        .into_iter()
        .try_fold(Trust::nobody(), |all, more| all.also(more))
}

/// Adds which versions are spoken, and whether any name will do.
pub(crate) fn restrict(mut options: ClientTlsOptions, args: &TlsArgs) -> ClientTlsOptions {
    if let Some(version) = args.version {
        options = options.version(version);
    }
    if args.insecure {
        options = options.danger().accept_any_name();
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_client_id_is_one_that_every_broker_takes() {
        let (one, two) = (random_client_id().unwrap(), random_client_id().unwrap());
        assert_ne!(one, two);
        for id in [one, two] {
            assert_eq!(id.len(), 23, "{id}");
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        }
    }
}
