//! What this side knows when a connection fails, for the text of the error.

use std::sync::Arc;
use std::time::SystemTime;

use super::error::{TlsError, TlsErrorKind};
use super::identity::Identity;
use super::verify::{self, Certificate, Chain};
use super::x509::quoted;
use crate::clock::{ClockFloor, ClockVerdict};

/// Bytes of what a peer sends first that are kept to say what it speaks.
pub(super) const FIRST_BYTES_MAX: usize = 16;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a configuration says of this side; all its connections share it.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) side: Side,
    /// The application protocols that it offers or supports.
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) identity: Option<Identity>,
    pub(super) floor: ClockFloor,
}

/// What a peer sent first, as far as it was kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirstBytes {
    bytes: [u8; FIRST_BYTES_MAX],
    len: usize,
}

/// What goes with one error.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) side: Side,
    /// The names of the protocols in [`Own::alpn`], as text.
    pub(super) alpn: String,
    /// What this side shows of itself.
    pub(super) ours: Option<Certificate>,
    /// What the clock of this device showed, and the earliest time that it can be.
    pub(super) wall: SystemTime,
    pub(super) earliest: SystemTime,
    pub(super) verdict: ClockVerdict,
    /// What the peer presented, if that was refused.
    pub(super) chain: Option<Box<Chain>>,
    pub(super) first: FirstBytes,
}

impl Own {
    /// Completes an error with what is known here. Takes the note of the certificate check on this
    /// fiber, so it is called before anything else runs.
    pub(super) fn explain(&self, error: TlsError, first: FirstBytes) -> TlsError {
        let (wall, floor) = (fiber::wall_time(), &self.floor);
        let protocols = self.alpn.iter();
        let protocols = protocols.map(|protocol| quoted(&String::from_utf8_lossy(protocol)));
        let is_refused = error.kind() == TlsErrorKind::CertificateRefused;
        let ours = self.identity.as_ref().filter(|_| is_refused);
        error.with_evidence(Arc::new(Evidence {
            side: self.side,
            alpn: protocols.collect::<Vec<_>>().join(", "),
            ours: ours
                .and_then(Identity::certificate)
                .and_then(Certificate::of),
            wall,
            earliest: floor.earliest(),
            verdict: floor.check(wall),
            chain: verify::take_note(),
            first,
        }))
    }
}

/// What bytes look like that are no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Http,
    Mqtt,
    Ssh,
    Unknown,
}

impl FirstBytes {
    /// Keeps what there is room for.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether something came, and it cannot be a record: one begins with its type, 20 to 24, and the
    /// 3 of its version (RFC 8446 section 5.1).
    pub(super) fn is_no_tls(&self) -> bool {
        match self.as_slice() {
            [] => false,
            [kind] => !(20..=24).contains(kind),
            [kind, version, ..] => !(20..=24).contains(kind) || *version != 3,
        }
    }

    /// Guesses what the peer speaks.
    pub(super) fn language(&self) -> Language {
        const METHODS: [&[u8]; 6] = [
            b"GET ",
            b"POST ",
            b"PUT ",
            b"HEAD ",
            b"OPTIONS ",
            b"CONNECT ",
        ];
        let bytes = self.as_slice();
        let contains = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        if bytes.starts_with(b"HTTP/") || METHODS.iter().any(|method| bytes.starts_with(method)) {
            Language::Http
        } else if bytes.starts_with(b"SSH-") {
            Language::Ssh
        } else if bytes.starts_with(&[0x20, 2])
            || bytes.first() == Some(&0x10)
                && (contains(b"\0\x04MQTT") || contains(b"\0\x06MQIsdp"))
        {
            // CONNACK, and CONNECT of any version with its protocol name (MQTT3-3.1.2.1).
            Language::Mqtt
        } else {
            Language::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> FirstBytes {
        let mut first = FirstBytes::default();
        first.keep(bytes);
        first
    }

    #[test]
    fn what_a_peer_speaks_is_told_by_its_first_bytes() {
        let table: [(&[u8], Language, bool); 13] = [
            (b"HTTP/1.1 400 Bad Request", Language::Http, true),
            (b"GET / HTTP/1.1", Language::Http, true),
            (b"CONNECT broker:8883", Language::Http, true),
            (b"SSH-2.0-OpenSSH_9.9", Language::Ssh, true),
            (b"\x10\x0e\0\x04MQTT\x04\x02", Language::Mqtt, true),
            (b"\x10\xff\x01\0\x06MQIsdp\x03", Language::Mqtt, true),
            (b"\x20\x02\0\x05", Language::Mqtt, true),
            (b"\x10\x0e\0\x04OTHER", Language::Unknown, true),
            (b"\x16\x03\x01", Language::Unknown, false),
            (b"\x16", Language::Unknown, false),
            (b"\x16GET /", Language::Unknown, true),
            (b"", Language::Unknown, false),
            (b"\0", Language::Unknown, true),
        ];
        for (bytes, language, is_no_tls) in table {
            let first = first(bytes);
            assert_eq!(first.language(), language, "{bytes:?}");
            assert_eq!(first.is_no_tls(), is_no_tls, "{bytes:?}");
        }
    }

    #[test]
    fn the_first_bytes_are_kept_however_they_come() {
        let bytes: Vec<u8> = (0..40).collect();
        for step in 1..40 {
            let mut kept = FirstBytes::default();
            bytes.chunks(step).for_each(|chunk| kept.keep(chunk));
            assert_eq!(kept.as_slice(), &bytes[..FIRST_BYTES_MAX]);
        }
    }
}
