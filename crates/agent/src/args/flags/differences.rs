//! What these tools do otherwise than Mosquitto's programs, beside the options that are not offered.

/// Something that a script which was written for Mosquitto's programs may notice.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// What it is about, in a few words.
    pub about: &'static str,
    /// What Mosquitto's programs do, and what these do.
    pub text: &'static str,
}

const fn difference(about: &'static str, text: &'static str) -> Difference {
    Difference { about, text }
}

/// Every difference that is known.
pub const DIFFERENCES: &[Difference] = &[
    difference(
        "exit codes",
        "Mosquitto's programs end with 1 for most errors and with the numbers of their library for \
         others; these end as the table above says, and are the same where those are 0, the code \
         of CONNACK, or 27.",
    ),
    difference(
        "no broker is named",
        "Mosquitto's programs connect to localhost. These use the broker and the identity of the \
         agent's configuration where there is one.",
    ),
    difference(
        "files with defaults",
        "Mosquitto's programs read options from $XDG_CONFIG_HOME/mosquitto_pub and the like. These \
         read none.",
    ),
    difference(
        "-A with a host name",
        "Mosquitto's programs look the name up. These take an address.",
    ),
    difference(
        "-L mqtt://... with --cafile, --cert, --alpn and the like",
        "Mosquitto's programs speak TLS on that port. These refuse it, and mqtts:// says the same \
         without a contradiction.",
    ),
    difference(
        "-V 5, -D, -x",
        "Mosquitto's programs speak MQTT 5. These do not yet, and refuse it.",
    ),
    difference(
        "--proxy socks5h://...",
        "Mosquitto's programs speak to SOCKS proxies alone, and these to HTTP proxies alone.",
    ),
    difference(
        "sub after a lost connection",
        "Both connect again; mosquitto_sub says nothing about it and tries once a second, this says \
         so on the standard error output and tries less and less often.",
    ),
    difference(
        "request after a lost connection, and after SIGINT",
        "mosquitto_rr waits on, perhaps for ever. This ends with 75, and with 130.",
    ),
];
