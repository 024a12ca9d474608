//! What the handshake of a client says beyond what it must: headers of the program's own, such as
//! the credentials of a gateway in front of the broker. Values may be secrets: no text shows them.

use core::fmt;

use zeroize::Zeroizing;

use crate::dial::DialOptions;

/// Most bytes of the headers given for one handshake, names and values together.
pub const WS_HEADERS_BYTES_MAX: usize = 8 * 1024;

/// How to ask for a WebSocket.
///
/// # Examples
/// ```
/// use safe_rt::WsOptions;
///
/// let options = WsOptions::new().header("Authorization", "Bearer 1234")?;
/// assert!(!format!("{options:?}").contains("1234"));
/// assert!(WsOptions::new().header("Host", "elsewhere").is_err());
/// # Ok::<(), safe_rt::WsHeaderError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WsOptions {
    /// Names and values; the latter are overwritten when they are dropped.
    headers: Vec<(String, Zeroizing<String>)>,
}

/// Why a header cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WsHeaderError {
    /// The name is empty or has a character that no name has (RFC 9110 section 5.1).
    BadName,
    /// The value has a character other than visible ASCII, blank and tab.
    BadValue,
    /// The handshake sets this header by itself.
    Reserved,
    /// All headers together have more than [`WS_HEADERS_BYTES_MAX`] bytes.
    TooLong,
}

impl fmt::Display for WsHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => f.write_str("the name of a header is empty or has a wrong character"),
            Self::BadValue => f.write_str(
                "the value of a header has a character other than visible ASCII, blank and tab",
            ),
            Self::Reserved => f.write_str("the WebSocket handshake sets this header by itself"),
            Self::TooLong => write!(
                f,
                "headers for the WebSocket handshake have more than {WS_HEADERS_BYTES_MAX} bytes"
            ),
        }
    }
}

impl std::error::Error for WsHeaderError {}

/// Set by the handshake, or of a message with a body, which it is not; in lower case.
const RESERVED: [&str; 5] = [
    "host",
    "upgrade",
    "connection",
    "content-length",
    "transfer-encoding",
];
/// What begins with this is the handshake's own as well.
const RESERVED_PREFIX: &str = "sec-websocket-";

impl WsOptions {
    /// Starts without headers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            headers: Vec::new(),
        }
    }

    /// Sends this header with the handshake, for example `Authorization`. A second one of the same
    /// name is sent as well.
    ///
    /// # Errors
    /// The name or the value cannot be sent, or is not the program's to choose.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, WsHeaderError> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(WsHeaderError::BadName);
        }
        if !value
            .bytes()
            .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        {
            return Err(WsHeaderError::BadValue);
        }
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower.starts_with(RESERVED_PREFIX) {
            return Err(WsHeaderError::Reserved);
        }
        let value = Zeroizing::new(value.to_owned());
        self.headers.push((name.to_owned(), value));
        let len: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if len > WS_HEADERS_BYTES_MAX {
            return Err(WsHeaderError::TooLong);
        }
        Ok(self)
    }

    /// Returns the headers in the order they were given.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Returns how to ask for a WebSocket where a program chose nothing.
pub(crate) const fn default_options() -> Option<WsOptions> {
    Some(WsOptions::new())
}

impl DialOptions {
    /// Asks for a WebSocket in this way; an endpoint whose scheme is neither `ws` nor `wss` then is an
    /// error ([`DialRefusal::WsForOther`](crate::DialRefusal::WsForOther)).
    #[must_use]
    pub fn ws(mut self, ws: WsOptions) -> Self {
        self.set_ws(ws);
        self
    }
}

impl fmt::Debug for WsOptions {
    /// Shows the names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("WsOptions")
            .field("headers", &names)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_would_change_the_handshake_is_refused() {
        let table = [
            ("Authorization", "Basic dTpw", None),
            ("X-Tenant", "", None),
            ("", "x", Some(WsHeaderError::BadName)),
            ("X Tenant", "x", Some(WsHeaderError::BadName)),
            ("X:", "x", Some(WsHeaderError::BadName)),
            ("X", "a\r\nHost: b", Some(WsHeaderError::BadValue)),
            ("X", "caf\u{e9}", Some(WsHeaderError::BadValue)),
            ("HOST", "x", Some(WsHeaderError::Reserved)),
            ("Sec-WebSocket-Protocol", "x", Some(WsHeaderError::Reserved)),
            ("Content-Length", "1", Some(WsHeaderError::Reserved)),
        ];
        for (name, value, expected) in table {
            let found = WsOptions::new().header(name, value).err();
            assert_eq!(found, expected, "{name}: {value}");
        }
        let long = "x".repeat(WS_HEADERS_BYTES_MAX - 1);
        let options = WsOptions::new().header("X", &long).expect("all of it");
        let error = options.header("Y", "").expect_err("one byte more");
        assert_eq!(error, WsHeaderError::TooLong);
    }
}
