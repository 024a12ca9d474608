//! From arguments to a connected client: files for TLS, client identifier, dial, CONNECT.
//!
//! One deadline covers all of it (`--timeout`). It does not connect again when the link ends.

use std::net::SocketAddr;
use std::time::Duration;

use fiber::Instant;
use mqtt::{Client, ClientId, ClientOptions, WaitCause};
use safe_rt::{ClientTls, ClientTlsOptions, DialOptions, Identity, TlsConfigError, Trust};
use zeroize::Zeroizing;

use crate::args::{ClientIdArgs, ConnectionArgs, PasswordSource, TlsArgs};
use crate::failure::Failure;

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
    /// [`Failure::PasswordVariable`], [`Failure::Dial`] and [`Failure::ConnectTimeout`].
    pub fn dial(args: &ConnectionArgs, operation_timeout: Duration) -> Result<Self, Failure> {
        let timeout = args.timeout.unwrap_or(FOR_EVER);
        let deadline = Instant::now() + timeout;
        let options = client_options(args, timeout)?.operation_timeout(Some(operation_timeout));
        let dial = || {
            let dial = dial_options(args)?;
            log::debug!("connecting to {}", args.endpoint);
            safe_rt::dial(&args.endpoint, &dial).map_err(Failure::Dial)
        };
        let socket = match fiber::deadline(deadline, dial) {
            Ok(socket) | Err(fiber::Elapsed(socket @ Ok(_))) => socket?,
            Err(fiber::Elapsed(Err(failure))) => {
                let during = match failure {
                    Failure::Dial(error) => Some(Box::new(error)),
                    _ => None,
                };
                return Err(Failure::ConnectTimeout { timeout, during });
            }
        };
        let client = Client::over(socket, options);
        Ok(Self {
            client,
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

fn client_options(args: &ConnectionArgs, timeout: Duration) -> Result<ClientOptions, Failure> {
    let client_id = match &args.client_id {
        ClientIdArgs::Given(client_id) => client_id.clone(),
        ClientIdArgs::Prefix(prefix) => ClientId::new(format!("{prefix}{}", std::process::id()))
            .map_err(|error| Failure::Connect(error.into()))?,
        ClientIdArgs::Random => random_client_id()?,
    };
    let mut options = ClientOptions::new(client_id)
        .clean_start(args.clean_start)
        .keep_alive(args.keep_alive)
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
fn random_client_id() -> Result<ClientId, Failure> {
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

/// How the transport is made. Yields.
fn dial_options(args: &ConnectionArgs) -> Result<DialOptions, Failure> {
    let mut dial = DialOptions::new();
    if let Some(tls) = &args.tls {
        dial = dial.tls(client_tls(tls).map_err(Failure::TlsConfig)?);
    }
    if let Some(address) = args.local_address {
        dial = dial.local_address(SocketAddr::new(address, 0));
    }
    if let Some(interface) = &args.interface {
        dial = dial.interface(interface.as_str());
    }
    if let Some(proxy) = &args.proxy {
        dial = dial.proxy(proxy.clone());
    }
    Ok(dial)
}

/// Reads the files and builds the TLS configuration. Yields.
fn client_tls(args: &TlsArgs) -> Result<ClientTls, TlsConfigError> {
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
    let trust = found
        .into_iter()
        .try_fold(Trust::nobody(), |all, more| all.also(more))?;
    let mut options = ClientTlsOptions::new(trust);
    if let Some((certificate, key)) = &args.identity {
        options = options.identity(Identity::from_files(certificate, key)?);
    }
    if let Some(protocol) = &args.alpn {
        options = options.alpn([protocol]);
    }
    if let Some(version) = args.version {
        options = options.version(version);
    }
    if args.insecure {
        options = options.danger().accept_any_name();
    }
    options.build()
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
