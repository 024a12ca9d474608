//! What a device program may safely wait on: sockets, TLS, dialling, DNS.
//!
//! Every wait in this crate parks the calling fiber and nobody else, obeys the ambient deadline of
//! [`fiber::timeout`] and [`fiber::deadline`] and, where none is set, a named default. Errors name
//! the [`Phase`] that failed, the address and the cause.
//!
//! - [`Socket`]: one connected byte stream over TCP, a Unix socket, an in-memory pipe, TLS or a
//!   WebSocket.
//! - [`dial`]: from an [`Endpoint`] to a socket: name, addresses, TCP, TLS, WebSocket, under one
//!   deadline.
//! - [`timer`]: closures that are called once, or again and again.
//! - [`Signals`]: named signals with typed payloads, between the services of one program.
//! - [`Resolver`]: names looked up beside the fibers, remembered with bounds; the last good address.
//! - [`Socket`]: one connected byte stream over TCP, a Unix socket, TLS or an in-memory pipe.
//! - [`dial`]: from an [`Endpoint`] to a socket: name, addresses, TCP, [`Proxy`], TLS, under one
//!   deadline; [`dial_traced`] shows the phases, [`Error::remedy`] says what to do.
//! - [`Backoff`]: how long to wait before dialling again.
//! - [`Listener`]: the server side; [`Listener::serve`] goes on whatever is short.
//! - [`LocalListener`]: a socket at a path, for programs of the same user.
//! - [`stats`]: what was dialled on this thread, and where it failed.
//! - [`ClockFloor`]: whether the wall clock can be right, and what certificates are judged by if not.
//! - `ClientTls` and `ServerTls` (feature `tls`, on by default): TLS 1.2 and 1.3.
//! - `Identity`: a certificate chain and its key, from PEM, encrypted PEM (feature `encrypted-pem`)
//!   or a `Signer` that has the key elsewhere.
//! - `SSLKEYLOGFILE` (feature `keylog`, off by default): the secrets of TLS connections for reading
//!   recorded traffic on a bench.
//! - `WsOptions` (feature `ws`): MQTT over WebSocket.
//!
//! # Examples
//! ```
//! use std::io::{Read, Write};
//! use safe_rt::{DialOptions, Endpoint, Listener, Scheme, ServeOptions};
//!
//! fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
//!     let address = listener.local_addr()?;
//!     fiber::spawn(move || {
//!         listener.serve(&ServeOptions::new(), |socket| {
//!             (&socket).write_all(b"hello")?;
//!             socket.close()
//!         })
//!     })?;
//!
//!     let endpoint = Endpoint::new(Scheme::Mqtt, &address.to_string())?;
//!     let socket = safe_rt::dial(&endpoint, &DialOptions::new())?;
//!     let mut text = String::new();
//!     (&socket).read_to_string(&mut text)?;
//!     assert_eq!(text, "hello");
//!     Ok(())
//! })
//! .expect("the runtime ran")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//!
//! It does not reconnect by itself, and it knows nothing of MQTT beyond the schemes and their ports.

#![forbid(unsafe_code)]

// The tests' PKI names this crate as the tests outside it do.
#[cfg(test)]
extern crate self as safe_rt;

mod address;
mod backoff;
mod clock;
mod contain;
mod debug_is_text;
mod dial;
mod dns;
mod endpoint;
mod error;
mod events;
mod listener;
mod local;
mod log_gate;
mod remedy;
mod serve;
mod socket;
mod stats;
mod tcp_options;
pub mod timer;
mod traffic;
mod utc;

#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
#[cfg(feature = "ws")]
mod ws;
#[cfg(not(feature = "ws"))]
#[path = "no_ws.rs"]
mod ws;

pub use backoff::{
    BACKOFF_BASE_DEFAULT, BACKOFF_CAP_DEFAULT, BACKOFF_FLAP_WINDOW, BACKOFF_FLAPS_MAX,
    BACKOFF_FLOOR_DEFAULT, BACKOFF_LONG_BASE_DEFAULT, BACKOFF_LONG_CAP_DEFAULT,
    BACKOFF_STABLE_AFTER_DEFAULT, Backoff, BackoffOptions, Class,
};
pub use clock::{CLOCK_FLOOR_SPAN_MAX, ClockFloor, ClockVerdict};
pub use dial::{
    Connecting, DIAL_TIMEOUT_DEFAULT, DialOptions, DialRefusal, HANDSHAKE_TIMEOUT_DEFAULT,
    INTERFACE_BYTES_MAX, PROXY_CREDENTIAL_BYTES_MAX, PROXY_HEAD_BYTES_MAX, PROXY_HEADERS_MAX,
    Proxy, ProxyEnvironment, ProxyError, ProxyUrlError, Step, TCP_KEEP_ALIVE_IDLE_DEFAULT,
    TCP_KEEP_ALIVE_INTERVAL_DEFAULT, TCP_KEEP_ALIVE_PROBES_DEFAULT, TcpKeepAlive, begin_dial, dial,
    dial_traced,
};
pub use dns::{
    ADDRESSES_MAX, ANSWER_LIFETIME_DEFAULT, ANSWER_LIFETIME_MAX, ANSWER_LIFETIME_MIN, DnsError,
    FAILED_WINDOW, LAST_GOOD_MAX, LOOK_UP_TIMEOUT_DEFAULT, LOOK_UPS_MAX, NAMES_MAX,
    NEGATIVE_LIFETIME_MAX, Resolver, resolve,
};
pub use endpoint::{
    Endpoint, EndpointError, HOST_LEN_MAX, LABEL_LEN_MAX, Scheme, TARGET_LEN_MAX, UNIX_PATH_LEN_MAX,
};
pub use error::{Error, Phase};
pub use events::{
    NextSignal, SIGNAL_DEPTH_MAX, SIGNAL_LISTENERS_MAX, SIGNAL_NAMES_MAX, SignalError, SignalName,
    Signals, Watch,
};
pub use listener::{ACCEPT_PAUSE, Incoming, Listener, ListenerStats};
pub use local::LocalListener;
pub use serve::{SERVE_CONNECTIONS_DEFAULT, ServeOptions};
pub use socket::{CLOSE_TIMEOUT_DEFAULT, Readiness, Socket};
pub use stats::{Stats, stats};
pub use traffic::Traffic;
pub use utc::Utc;

#[cfg(feature = "dns")]
pub use dns::{
    ALIASES_MAX, ASK_ROUNDS_MAX, ASK_TIMEOUT_DEFAULT, OTHER_FAMILY_GRACE, RECORDS_MAX,
    RESPONSE_BYTES_MAX, SERVERS_MAX, ServersError, UDP_RESPONSE_BYTES_MAX,
};
#[cfg(feature = "tls")]
pub use tls::{
    ALPN_PROTOCOLS_MAX, AUTHORITIES_MAX, CRLS_MAX, CertificateFacts, ClientTls, ClientTlsOptions,
    Danger, DangerOptions, Identity, PEM_BYTES_MAX, PINS_MAX, PemContents, PemError, Pin,
    RECORD_PLAINTEXT_MAX, Revocation, SERVER_SESSIONS_MAX, SESSION_AGE_MAX, SESSIONS_MAX,
    SYSTEM_ROOTS_AGE_MAX, ServerTls, ServerTlsOptions, SignatureScheme, Signer,
    TRANSPORT_READS_MAX, TRUST_FILES_MAX, TlsConfigError, TlsError, TlsErrorKind, TlsVersion,
    Trust, TrustError,
};

#[cfg(feature = "encrypted-pem")]
pub use tls::{PBKDF2_ITERATIONS_MAX, Password, SCRYPT_BYTES_MAX, SCRYPT_PASSES_MAX};

#[cfg(feature = "ws")]
pub use ws::{
    WS_CLOSE_TIMEOUT, WS_FRAME_BYTES_MAX, WS_HEAD_BYTES_MAX, WS_HEADERS_BYTES_MAX,
    WS_TRANSPORT_READS_MAX, WsError, WsErrorKind, WsHeaderError, WsOptions, WsServerOptions,
};
