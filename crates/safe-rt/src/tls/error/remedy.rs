//! What a person can do about an error.

use std::borrow::Cow;

use rustls::{AlertDescription, Error as Cause};

use super::text::Misused;
use super::{TlsError, TlsErrorKind};
use crate::clock::ClockVerdict;
use crate::tls::evidence::{Evidence, Language, Side};
use crate::utc::Utc;

impl TlsError {
    /// Returns what a person can do about it: one or more whole sentences in one line, without what
    /// the text of the error says already. Every kind has one.
    ///
    /// # Examples
    /// ```
    /// # fn show(error: &(dyn std::error::Error + 'static)) {
    /// if let Some(error) = safe_rt::TlsError::of(error) {
    ///     eprintln!("{error}\n  what to do: {}", error.remedy());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn remedy(&self) -> Cow<'static, str> {
        let fixed = match self.kind {
            TlsErrorKind::UnknownIssuer => return self.trust_or_chain(),
            TlsErrorKind::Expired | TlsErrorKind::NotValidYet => {
                return self.clock_or_certificate();
            }
            TlsErrorKind::AlpnNotAgreed => return self.common_protocol(),
            TlsErrorKind::NameMismatch => {
                "Dial a name that the certificate is for, or have one issued for the name that was \
                 dialled (subjectAltName). If the names found are those of somebody else, the \
                 address leads to another server: check the name service, the port, and that a name \
                 is dialled and not an address, with which no SNI is sent."
            }
            TlsErrorKind::Revoked => {
                "Give the peer a new key and a new certificate: the authority has withdrawn this one, \
                 most often because its key is known to others. If that was a mistake, ask for a list \
                 without it."
            }
            TlsErrorKind::RevocationUnknown => {
                "Give this side the newest revocation list of every authority between the peer and \
                 the trusted one, and check the clock; or choose what must be covered, and whether a \
                 list may be used for longer."
            }
            TlsErrorKind::PinMismatch => {
                "If the peer was given a new key, compare it by another way and pin it in place of \
                 the old one, or beside it before the change. Else somebody answers in its place, and \
                 the connection is rightly refused."
            }
            TlsErrorKind::BadCertificate if self.misused().is_some() => return self.purpose(),
            TlsErrorKind::BadCertificate => match self.chain() {
                Some(chain) if chain.issuer_is_trusted => {
                    "If the authority was made anew, trust its new certificate in place of the old \
                     one, or have the peer's certificate issued by the one that is trusted. Else \
                     have a certificate issued that fits the purpose: for servers serverAuth, for \
                     clients clientAuth."
                }
                _ => {
                    "Have a certificate issued that fits: not damaged, signed by a common algorithm, \
                     for the purpose of its holder (serverAuth or clientAuth)."
                }
            },
            TlsErrorKind::NoCertificate => {
                "Give the client an identity: a certificate of an authority that this server trusts \
                 for clients, and its key."
            }
            TlsErrorKind::CertificateRefused => return self.identity(),
            TlsErrorKind::Alert => self.alert(),
            TlsErrorKind::Incompatible => {
                "Allow TLS 1.2 or 1.3 with a common cipher suite at the peer; older versions are not \
                 spoken here. If this side is held to one version, allow both."
            }
            TlsErrorKind::NotTls => self.port(),
            TlsErrorKind::Protocol => {
                "Try again; if it stays, look for a middle-box that changes the bytes, and update \
                 the software of the peer."
            }
            TlsErrorKind::ClosedInHandshake => match self.side() {
                Some(Side::Server) => {
                    "Look into the client's log: it may have refused this server without a word, or \
                     be a port scan or a health check."
                }
                _ => {
                    "Check that the port is one for TLS (MQTT: 8883), that a name is dialled and not \
                     an address, for some servers hang up without SNI, and that the server speaks \
                     the protocols offered by ALPN; then look into its log."
                }
            },
            TlsErrorKind::Truncated => {
                "Try again: the path or the peer's program broke. If nothing was received before it, \
                 the server may have hung up on the client's certificate without a word: look into \
                 its log."
            }
            TlsErrorKind::KeysUsedUp => "Connect again; TLS 1.3 renews its keys by itself.",
            TlsErrorKind::SignerFailed => {
                "Check what signs for this side: that the TPM, token or process is there and answers \
                 in time, and that its key is the one of the certificate."
            }
            TlsErrorKind::Internal => "Restart the program; if it stays, report it with this text.",
        };
        Cow::Borrowed(fixed)
    }

    fn trust_or_chain(&self) -> Cow<'static, str> {
        let peer = self.peer();
        let Some(chain) = self.chain() else {
            return Cow::Borrowed(
                "Trust the authority that issued the certificate, or have the peer send the \
                 intermediate certificates with its own.",
            );
        };
        let (subject, issuer) = (&chain.at.subject, &chain.at.issuer);
        Cow::Owned(if chain.issuer_is_trusted {
            format!(
                "If the authority {issuer} was made anew, trust its new certificate in place of the \
                 old one; else somebody uses its name, and the connection is rightly refused."
            )
        } else if chain.at.is_self_issued && chain.is_leaf {
            format!(
                "If this is {peer} that is meant, compare its certificate by another way and trust \
                 that itself, after which its key can vouch for every name, or pin its key alone; or \
                 give {peer} one of a trusted authority."
            )
        } else if chain.at.is_self_issued {
            format!(
                "If the authority {subject} is meant, add its certificate to the trusted ones. If \
                 nobody knows it, a proxy or firewall that inspects TLS may answer in place of \
                 {peer}: ask who runs the network."
            )
        } else {
            format!(
                "If {issuer} is an intermediate authority, have {peer} send its certificate too (in \
                 the chain file, after its own). If it is a root that is meant, add it to the \
                 trusted ones. If nobody knows it, a proxy or firewall that inspects TLS may answer \
                 in place of {peer}: ask who runs the network."
            )
        })
    }

    /// What to do about an authority's certificate that is used as another, or the reverse.
    fn purpose(&self) -> Cow<'static, str> {
        let peer = self.peer();
        Cow::Owned(match self.misused() {
            Some(Misused::Authority) => format!(
                "Go on trusting this certificate as an authority's, and issue one from it for \
                 {peer}; or make {peer}'s anew with basicConstraints=CA:FALSE (`openssl req -x509` \
                 makes an authority's unless it is told so by -addext)."
            ),
            _ => format!(
                "Have {peer}'s certificate issued by an authority; or make the one that issued it \
                 anew with basicConstraints=CA:TRUE, and have {peer} send that."
            ),
        })
    }

    fn clock_or_certificate(&self) -> Cow<'static, str> {
        let peer = self.peer();
        let is_early = self.kind == TlsErrorKind::NotValidYet;
        let Some(evidence) = &self.evidence else {
            return Cow::Borrowed(
                "Check the clock of this device, then have the certificate renewed.",
            );
        };
        let wall = Utc(evidence.wall);
        Cow::Owned(match (evidence.verdict, is_early) {
            (ClockVerdict::Behind { .. }, true) => {
                "Set the clock of this device, or wait until it is \
                 set by the network: the certificate may be in order."
                    .to_owned()
            }
            (ClockVerdict::Behind { .. }, false) => {
                format!("Have {peer}'s certificate renewed, and set the clock of this device.")
            }
            (_, true) => format!(
                "If it is not {wall}, set the clock of this device; if it is, have {peer}'s \
                 certificate issued anew, or wait until it is valid."
            ),
            (_, false) => format!(
                "Have {peer}'s certificate renewed. Only if it is not {wall} yet, set the clock of \
                 this device instead."
            ),
        })
    }

    fn common_protocol(&self) -> Cow<'static, str> {
        match self.side() {
            Some(Side::Server) => Cow::Borrowed(
                "Have the client offer a protocol of this server, or none at all; or add the \
                 client's to this server's.",
            ),
            _ => Cow::Borrowed(
                "Offer the protocol that the server documents for this port (MQTT: \"mqtt\"; AWS IoT \
                 on port 443: \"x-amzn-mqtt-ca\"), or demand none. A server that knows no ALPN at \
                 all chooses none.",
            ),
        }
    }

    fn identity(&self) -> Cow<'static, str> {
        let alert = match &self.cause {
            Some(Cause::AlertReceived(alert)) => Some(*alert),
            _ => None,
        };
        let Some(evidence) = &self.evidence else {
            return Cow::Borrowed(
                "Give this side an identity that the peer accepts, or register the one it has.",
            );
        };
        Cow::Borrowed(match (evidence.side, evidence.ours.is_some(), alert) {
            (Side::Client, false, _) => {
                "Give this client an identity: a certificate that the server accepts, and its key."
            }
            (Side::Client, true, Some(AlertDescription::CertificateRequired)) => {
                "The server got no certificate though there is one: check that the key and the \
                 certificate are of a sort that it takes, then look into its log."
            }
            (_, true, Some(AlertDescription::CertificateExpired)) => {
                "Compare the dates with the time: renew the certificate if it has expired, else have \
                 the clock of the peer set."
            }
            (_, true, Some(AlertDescription::CertificateRevoked)) => {
                "Get a new certificate: this one was withdrawn."
            }
            (Side::Client, true, Some(AlertDescription::UnknownCA)) => {
                "Have the server trust the issuer for clients, or use a certificate of an authority \
                 that it trusts; if intermediates lie between, put them into the chain file, after \
                 the certificate."
            }
            (Side::Client, true, Some(AlertDescription::AccessDenied)) => {
                "The certificate is known, but its holder is not let in: register or activate the \
                 device at the server."
            }
            (Side::Client, true, _) => {
                "Check that this certificate is registered and active at the server, at this region \
                 and account, and that its chain is complete; then look into the server's log."
            }
            (Side::Server, ..) => {
                "Give the client the certificate of the authority that issued this server's, and \
                 send the intermediates with it; check the name that the client dials and its clock."
            }
        })
    }

    fn alert(&self) -> &'static str {
        match &self.cause {
            Some(Cause::AlertReceived(AlertDescription::UnrecognisedName)) => {
                "Dial the name by which the server is known there; an address or an alias is not \
                 enough."
            }
            Some(Cause::AlertReceived(AlertDescription::HandshakeFailure)) => {
                match self.evidence.as_deref() {
                    Some(Evidence {
                        side: Side::Client, ..
                    }) => {
                        "Check whether the server demands a client certificate, which some tell by \
                         this alert alone, and which versions and ciphers of TLS it allows; its log \
                         says more."
                    }
                    _ => {
                        "Check which versions and ciphers of TLS the peer allows; its log says more."
                    }
                }
            }
            _ => "Look into the log of the peer: it knows more than this alert.",
        }
    }

    fn port(&self) -> &'static str {
        let language = self
            .evidence
            .as_ref()
            .map(|evidence| evidence.first.language());
        match (self.side(), language) {
            (Some(Side::Server), Some(Language::Mqtt)) => {
                "The client speaks MQTT in plain text: have it dial mqtts://, or offer it a port \
                 without TLS."
            }
            (Some(Side::Server), _) => {
                "Nothing is to be done here, if a scanner or a browser lost its way; else have the \
                 client use TLS."
            }
            (_, Some(Language::Mqtt)) => {
                "The port is one for plain text: dial the port for TLS (MQTT: 8883), or mqtt:// if \
                 plain text is meant."
            }
            (_, Some(Language::Http)) => {
                "A web server or a proxy answers: check the port (MQTT over TLS: 8883), and whether \
                 the way leads through a proxy."
            }
            _ => "Check the port (MQTT over TLS: 8883): another service answers there.",
        }
    }
}
