//! An HTTP proxy to connect through: what it is called, and what it is told about us.
//!
//! Its password is in no text of this module but the request itself.

mod connect;
mod environment;
mod error;

use core::fmt;
use core::str::FromStr;

use zeroize::Zeroizing;

pub(super) use self::connect::connect_on;
pub use self::connect::{PROXY_HEAD_BYTES_MAX, PROXY_HEADERS_MAX};
pub use self::environment::ProxyEnvironment;
pub use self::error::{ProxyError, ProxyUrlError};

use crate::endpoint::HostPort;

/// Longest user name and longest password of a proxy, in bytes, before they are percent-decoded.
pub const PROXY_CREDENTIAL_BYTES_MAX: usize = 1024;

/// An HTTP proxy that connects on (`CONNECT`, RFC 9110 section 9.3.6), with the user name and the
/// password it wants, if any (RFC 7617).
///
/// It is written `http://[user:password@]host:port`; special characters of user and password are
/// percent-encoded. What travels to the proxy itself is plain text, so the password can be read on
/// that way; what TLS protects stays protected. The texts of this type leave the user and the
/// password out.
///
/// # Examples
/// ```
/// use safe_rt::{DialOptions, Proxy};
///
/// let proxy: Proxy = "http://meter:p%40ss@proxy.example:3128".parse()?;
/// assert_eq!(proxy.to_string(), "http://...@proxy.example:3128");
/// let options = DialOptions::new().proxy(proxy);
/// # drop(options);
/// # Ok::<(), safe_rt::ProxyUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    at: HostPort,
    /// `user:password` in Base64.
    credentials: Option<Zeroizing<String>>,
}

impl Proxy {
    /// Returns where it is.
    pub(super) const fn at(&self) -> &HostPort {
        &self.at
    }

    /// Returns the value of `Proxy-Authorization` behind `Basic `.
    fn credentials(&self) -> Option<&str> {
        self.credentials.as_ref().map(|text| text.as_str())
    }
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    /// Parses `[http://][user:password@]host:port`, one slash at the end tolerated.
    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => return Err(ProxyUrlError::scheme(scheme)),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user_info, authority) = match rest.rsplit_once('@') {
            Some((user_info, authority)) => (Some(user_info), authority),
            None => (None, rest),
        };
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(ProxyUrlError::Path);
        }
        let at = HostPort::parse(authority, None)
            .map_err(|error| ProxyUrlError::place(&error))?
            .ok_or(ProxyUrlError::NoPort)?;
        let credentials = user_info.map(encode_credentials).transpose()?;
        Ok(Self { at, credentials })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = match self.credentials {
            Some(_) => "...@",
            None => "",
        };
        write!(f, "http://{hidden}{}", self.at)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Makes of `user[:password]`, percent-encoded, what basic authentication sends (RFC 7617
/// section 2).
fn encode_credentials(text: &str) -> Result<Zeroizing<String>, ProxyUrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let mut both = percent_decoded(user)?;
    if both.contains(&b':') {
        return Err(ProxyUrlError::ColonInUser);
    }
    both.push(b':');
    both.extend_from_slice(&percent_decoded(password)?);
    if both.iter().any(u8::is_ascii_control) {
        return Err(ProxyUrlError::ControlCharacter);
    }
    Ok(base64(&both))
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn percent_decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, ProxyUrlError> {
    if text.len() > PROXY_CREDENTIAL_BYTES_MAX {
        return Err(ProxyUrlError::CredentialTooLong);
    }
    // Twice the room, so that nothing is moved about when a colon and the password follow.
    let mut decoded = Zeroizing::new(Vec::with_capacity(2 * PROXY_CREDENTIAL_BYTES_MAX + 1));
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                let (high, low) = digit()
                    .zip(digit())
                    .ok_or(ProxyUrlError::BadPercentEncoding)?;
                u8::try_from(high * 16 + low).map_err(|_| ProxyUrlError::BadPercentEncoding)?
            }
            byte => byte,
        });
    }
    Ok(decoded)
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> Zeroizing<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    for chunk in bytes.chunks(3) {
        let [first, second, third] = [0, 1, 2].map(|at| chunk.get(at).copied().unwrap_or_default());
        let bits = u32::from_be_bytes([0, first, second, third]);
        for place in 0..4 {
            if place > chunk.len() {
                text.push('=');
            } else {
                let index = bits >> (18 - 6 * place) & 0x3f;
                text.push(char::from(ALPHABET[index as usize]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
