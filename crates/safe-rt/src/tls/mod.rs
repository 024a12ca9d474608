//! TLS 1.2 and 1.3 over any [`Socket`](crate::Socket): the only users of rustls.
//!
//! [`ClientTls`] and [`ServerTls`] are finished configurations, built once from options and cheap
//! to clone; [`Socket::tls_client`](crate::Socket::tls_client) and
//! [`Socket::tls_server`](crate::Socket::tls_server) run the handshake over a connected socket.
//! The cryptography is ring's, the wall clock is [`fiber::wall_time`], trust is what was given as
//! PEM, the system's own, or pinned. Nothing here falls back to plain text, and nothing turns the
//! check of a certificate off but the switches of [`DangerOptions`], which have to be asked for by
//! name and say so at every handshake.

mod check;
mod client;
mod config;
mod danger;
#[cfg(feature = "encrypted-pem")]
mod encrypted_pem;
mod error;
mod evidence;
mod facts;
mod identity;
#[cfg(feature = "keylog")]
mod key_log;
mod pem;
mod replaceable;
mod server;
mod sessions;
mod signer;
mod stream;
mod trust;
mod verify;
mod x509;

pub use client::{ClientTls, ClientTlsOptions};
pub use config::{
    ALPN_PROTOCOLS_MAX, SERVER_SESSIONS_MAX, SESSIONS_MAX, TlsConfigError, TlsVersion,
};
pub use danger::{Danger, DangerOptions};
#[cfg(feature = "encrypted-pem")]
pub use encrypted_pem::{PBKDF2_ITERATIONS_MAX, Password, SCRYPT_BYTES_MAX, SCRYPT_PASSES_MAX};
pub use error::{TlsError, TlsErrorKind};
pub use facts::CertificateFacts;
pub use identity::Identity;
pub use pem::{PEM_BYTES_MAX, PemContents, PemError};
pub use server::{ServerTls, ServerTlsOptions};
pub use sessions::SESSION_AGE_MAX;
pub use signer::{SignatureScheme, Signer};
pub use stream::{RECORD_PLAINTEXT_MAX, TRANSPORT_READS_MAX};
pub use trust::{
    AUTHORITIES_MAX, CRLS_MAX, PINS_MAX, Pin, Revocation, SYSTEM_ROOTS_AGE_MAX, TRUST_FILES_MAX,
    Trust, TrustError,
};

pub(crate) use stream::TlsStream;
