//! Switches that turn a part of the check of a server off, each of them loud.

use core::fmt;

use super::client::ClientTlsOptions;

/// What of the check of a server is turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Danger {
    /// Every certificate is accepted, whoever issued it and for whatever name: whoever can answer
    /// in the server's place can read and change everything.
    AnyCertificate,
    /// The certificate must come from a trusted authority, but may be for any name: whoever has a
    /// certificate of that authority can answer in the server's place.
    AnyName,
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnyCertificate => "every certificate of the server is accepted",
            Self::AnyName => "the certificate of the server may be for any name",
        })
    }
}

/// The switches of [`ClientTlsOptions::danger`].
///
/// There is no other way to them: no default, no setting in the environment and no feature. Each is
/// logged as a warning when the configuration is built and at every handshake, with the address, and
/// shows in [`ClientTls::is_dangerous`](crate::ClientTls::is_dangerous) and
/// [`Socket::is_dangerous`](crate::Socket::is_dangerous). That the server has the key of the
/// certificate it presents is checked all the same.
#[derive(Clone, Debug)]
#[must_use]
pub struct DangerOptions(pub(super) ClientTlsOptions);

impl DangerOptions {
    /// Accepts every certificate: no authority, no name, no date, no pin and no revocation list is
    /// asked. For a bench, and to find out what a server presents.
    #[must_use]
    pub fn accept_any_certificate(self) -> ClientTlsOptions {
        self.0.with_danger(Danger::AnyCertificate)
    }

    /// Checks the certificate, but not that it is for the host that was asked for. For a server
    /// whose certificate cannot be replaced; a [`Pin`](crate::Pin) of it is the better answer.
    #[must_use]
    pub fn accept_any_name(self) -> ClientTlsOptions {
        self.0.with_danger(Danger::AnyName)
    }
}
