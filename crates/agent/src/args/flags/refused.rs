//! What Mosquitto's programs have and these tools do not, each with the reason.

/// An option that is known and refused by name.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// Its spellings.
    pub names: &'static [&'static str],
    /// Why it is not offered.
    pub reason: &'static str,
}

/// Every option of `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr` 2.0 that is not offered.
pub const REFUSED: &[Refused] = &[
    Refused {
        names: &["-D", "--property"],
        reason: MQTT_5,
    },
    Refused {
        names: &["-x"],
        reason: "with MQTT 3.1.1 the broker decides how long a kept session lives, and MQTT 5 is \
                 not spoken yet",
    },
    Refused {
        names: &["-S"],
        reason: "brokers are not looked up by SRV records yet; give the host with -h",
    },
    Refused {
        names: &["--ciphers"],
        reason: "every cipher suite that rustls has is safe, and none can be chosen",
    },
    Refused {
        names: &["--psk", "--psk-identity"],
        reason: "rustls has no pre-shared keys; use a certificate with --cert and --key",
    },
    Refused {
        names: &["--tls-engine", "--tls-engine-kpass-sha1"],
        reason: ENGINES,
    },
];

/// Why nothing of MQTT 5 is taken.
pub(in crate::args) const MQTT_5: &str =
    "MQTT 5 is not spoken yet, and MQTT 3.1.1 has no properties";
/// Why only MQTT 3.1.1 is taken.
pub(in crate::args) const ONLY_3_1_1: &str = "only MQTT 3.1.1 is spoken";
/// Why keys are files.
pub(in crate::args) const ENGINES: &str =
    "keys that an engine holds are not used yet; give the key as a file with --key";
/// Why proxies are those of HTTP.
pub(in crate::args) const SOCKS: &str =
    "SOCKS proxies are not spoken to yet; give an HTTP proxy as http://HOST:PORT";
