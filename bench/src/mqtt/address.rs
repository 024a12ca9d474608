//! Where a server is, as a value and as a word of a command line.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::{fmt, fs, io};

/// A server on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The port, on 127.0.0.1.
    pub port: u16,
    /// With TLS: the file with the certificate, in PEM, of the authority that signed the server's.
    pub authority: Option<PathBuf>,
}

impl Address {
    /// The address that a word says: `PORT`, or `PORT,FILE` with TLS.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let (port, authority) = match word.split_once(',') {
            Some((port, file)) => (port, Some(PathBuf::from(file))),
            None => (word, None),
        };
        Some(Self {
            port: port.parse().ok()?,
            authority,
        })
    }

    /// The authority's certificate, with TLS. It is read once, for all connections of a process.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn authority(&self) -> io::Result<Option<&'static [u8]>> {
        static PEM: OnceLock<Vec<u8>> = OnceLock::new();
        let Some(file) = &self.authority else {
            return Ok(None);
        };
        match PEM.get() {
            Some(pem) => Ok(Some(pem)),
            None => {
                let pem = fs::read(file)?;
                Ok(Some(PEM.get_or_init(|| pem)))
            }
        }
    }

    /// As a URL, with the scheme of either kind.
    #[must_use]
    pub fn url(&self, plain: &str, tls: &str) -> String {
        let scheme = if self.authority.is_some() { tls } else { plain };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)?;
        match &self.authority {
            Some(file) => write!(f, ",{}", file.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn a_word_says_the_address_that_made_it() {
        let at = |authority| Address {
            port: 1883,
            authority,
        };
        let plain = at(None);
        let tls = at(Some("/tmp/a,b/authority.pem".into()));
        for address in [&plain, &tls] {
            assert_eq!(Address::parse(&address.to_string()).as_ref(), Some(address));
        }
        assert_eq!(plain.url("mqtt", "mqtts"), "mqtt://127.0.0.1:1883");
        assert_eq!(tls.url("mqtt", "mqtts"), "mqtts://127.0.0.1:1883");
    }

    #[test]
    fn other_words_are_refused() {
        for word in ["", "localhost", "70000", ",authority.pem"] {
            assert_eq!(Address::parse(word), None, "{word}");
        }
    }
}
