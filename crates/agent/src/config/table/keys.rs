//! The rows of the table.

use std::time::Duration;

use super::{Applies, Key, Kind, Section};
use crate::args::KEEP_ALIVE_SECS_MIN;
use crate::config::value::{TELEMETRY_INTERVAL_MAX, TELEMETRY_INTERVAL_MIN};
use crate::service::schedule::{WINDOW_DURATION_MAX, WINDOW_DURATION_MIN};

/// One row is `name: kind, default or no text, when a change applies, an example; meaning`.
macro_rules! keys {
    ($($section:ident { $($name:ident: $kind:expr, $default:expr, $applies:ident, $value:expr; $meaning:expr;)* })*) => {
        /// Every key, in the order in which they are documented.
        pub static KEYS: &[Key] = &[$($(Key {
            section: Section::$section,
            name: stringify!($name),
            kind: $kind,
            default: given($default),
            applies: Applies::$applies,
            value: $value,
            meaning: $meaning,
        },)*)*];
    };
}

const fn given(default: &'static str) -> Option<&'static str> {
    match default.is_empty() {
        true => None,
        false => Some(default),
    }
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// From and to, in milliseconds.
const fn time(min: u64, max: u64) -> Kind {
    time_or(min, max, None)
}

const fn time_or(min: u64, max: u64, open: Option<&'static str>) -> Kind {
    Kind::Duration {
        min: Duration::from_millis(min),
        max: Duration::from_millis(max),
        open,
    }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

/// What a keep-alive may be: MQTT counts whole seconds in two bytes.
const KEEP_ALIVE: Kind = time(
    KEEP_ALIVE_SECS_MIN as u64 * SECOND,
    u16::MAX as u64 * SECOND,
);
const INTERVAL: Kind = Kind::Duration {
    min: TELEMETRY_INTERVAL_MIN,
    max: TELEMETRY_INTERVAL_MAX,
    open: None,
};
const WINDOW: Kind = Kind::Duration {
    min: WINDOW_DURATION_MIN,
    max: WINDOW_DURATION_MAX,
    open: None,
};
const PROFILES: Kind = Kind::Choice(&["auto", "aws", "azure-eventgrid", "hivemq", "emqx", "plain"]);
const POLICIES: Kind = Kind::Choice(&["drop-oldest", "drop-newest", "keep-last", "reject", "wait"]);

keys! {
    Device {
        id: Kind::Id, "", Restart, "\"meter-17\"";
            "The client identifier, which no other device of the broker may have. Without it: the name \
             that provisioning gave, or else one that is made once and kept in the state directory.";
    }
    Cloud {
        endpoint: Kind::Endpoint, "", Restart, "\"mqtts://broker.example:8883\"";
            "Where the broker is: mqtts:// is TLS, mqtt:// is plain text. Without a port: the one of the profile.";
        profile: PROFILES, "\"auto\"", Restart, "\"aws\"";
            "Which provider the endpoint belongs to, which decides port, ALPN, limits and rates; `auto` sees it by the name of the host.";
        user: Kind::Text, "", Reconnect, "\"meter-17\"";
            "The user name, where the broker asks for one.";
        password_file: Kind::Path, "", Reconnect, "\"password\"";
            "A file with the password; one line end after it does not belong to it.";
        password_env: Kind::Variable, "", Reconnect, "\"AGENT_PASSWORD\"";
            "The variable of the environment that holds the password.";
        credential: Kind::Credential, "", Reconnect, "\"mqtt-password\"";
            "The name of the systemd credential that holds the password (LoadCredential= or SetCredentialEncrypted=).";
        password: Kind::Secret, "", Reconnect, "\"...\"";
            "The password itself: only in a file that nobody but its owner may read.";
        authority: Kind::Path, "", Reconnect, "\"ca.pem\"";
            "PEM file with the authorities whose certificates are believed. Without it: those of the system.";
        certificate: Kind::Path, "", Reconnect, "\"device.pem\"";
            "PEM file with the device's certificate chain. Without it: the identity that provisioning made, if any.";
        key: Kind::Path, "", Reconnect, "\"device.key\"";
            "PEM file with the private key of `certificate`.";
        alpn: Kind::Alpn, "", Restart, "[\"mqtt\"]";
            "The application protocols to offer. Without it: those of the profile.";
        keep_alive: KEEP_ALIVE, "\"60s\"", Reconnect, "\"60s\"";
            "How long the link may be silent; the profile may know a better default.";
        session: Kind::Choice(&["kept", "clean"]), "\"kept\"", Restart, "\"kept\"";
            "`kept`: the broker keeps what arrives while the device is away. `clean`: it does not.";
        proxy: Kind::Proxy, "\"none\"", Restart, "\"http://proxy.example:3128\"";
            "The HTTP proxy to go through; `none`, or `environment` for what https_proxy and no_proxy say.";
    }
    State {
        dir: Kind::Path, "\"/var/lib/agent\"", Restart, "\"/var/lib/agent\"";
            "The folder for identity, queue and everything else that is kept; where it is not set, `STATE_DIRECTORY` of the environment if that is. The only place that is written to.";
    }
    Provision {
        method: Kind::Choice(&["aws", "https"]), "", Restart, "\"aws\"";
            "`aws`: fleet provisioning of AWS IoT by a claim certificate. `https`: the contract of docs/provisioning.md.";
        template: Kind::Text, "", Restart, "\"factory\"";
            "The provisioning template (`aws`).";
        key: Kind::Choice(&["device", "cloud"]), "\"device\"", Restart, "\"device\"";
            "Where the private key is made (`aws`): on the device, which it then never leaves, or in the cloud.";
        claim_certificate: Kind::Path, "", Restart, "\"claim.pem\"";
            "PEM file with the claim certificate. With `https` it may take the place of a token.";
        claim_key: Kind::Path, "", Restart, "\"claim.key\"";
            "PEM file with the private key of the claim certificate.";
        url: Kind::Url, "", Restart, "\"https://provision.example/v1\"";
            "Where the provisioning service is (`https`).";
        token_file: Kind::Path, "", Restart, "\"token\"";
            "A file with the bearer token (`https`); one line end after it does not belong to it.";
        token_env: Kind::Variable, "", Restart, "\"AGENT_TOKEN\"";
            "The variable of the environment that holds the bearer token (`https`).";
        credential: Kind::Credential, "", Restart, "\"provision-token\"";
            "The name of the systemd credential that holds the bearer token (`https`).";
        token: Kind::Secret, "", Restart, "\"...\"";
            "The bearer token itself (`https`): only in a file that nobody but its owner may read.";
        authority: Kind::Path, "", Restart, "\"provision-ca.pem\"";
            "PEM file with the authorities of the provisioning service (`https`). Without it: those of the system.";
        parameters: Kind::Map, "", Restart, "{ SerialNumber = \"A-4711\" }";
            "What is sent with the request, such as the serial number.";
        proof_topic: Kind::Topic, "\"agent/{id}/proof\"", Restart, "\"devices/{id}/proof\"";
            "Under what a new identity is tried out before it is used: the broker must let it subscribe and publish there.";
        renew_from: Kind::Percent, "\"60%\"", Restart, "\"60%\"";
            "From which part of its life on a certificate is renewed; each device draws its own moment.";
        renew_until: Kind::Percent, "\"80%\"", Restart, "\"80%\"";
            "By which part of its life a certificate is renewed.";
    }
    Queue {
        max_messages: count(1, 10_000_000), "100000", Restart, "100000";
            "How many messages may wait.";
        max_bytes: bytes(64 * KIB, 16 * GIB), "\"20MiB\"", Restart, "\"20MiB\"";
            "How many bytes of messages may wait; each counts 128 bytes beside its topic and payload.";
        max_disk: bytes(MIB, 64 * GIB), "\"64MiB\"", Restart, "\"64MiB\"";
            "How much of the disk the queue may take.";
        max_age: time_or(SECOND, 365 * DAY, Some("unlimited")), "\"unlimited\"", Restart, "\"7d\"";
            "How long a message may wait; what is older is dropped and counted.";
        when_full: POLICIES, "\"drop-oldest\"", Restart, "\"drop-oldest\"";
            "What happens to a message for which there is no room: others or itself are dropped and counted, it takes the place of the last one of its topic, or whoever publishes is refused or waits.";
    }
    Telemetry {
        topic: Kind::Topic, "", Live, "\"devices/{id}/telemetry\"";
            "Where to publish; `{id}` stands for the device's identifier.";
        interval: INTERVAL, "\"60s\"", Live, "\"60s\"";
            "How often to measure.";
        qos: Kind::QoS, "1", Live, "1";
            "0 at most once, 1 at least once, 2 exactly once.";
        max_count: count(1, 10_000), "1", Live, "60";
            "How many readings are sent in one message at most; 1 sends each by itself.";
        max_bytes: bytes(256, 256 * MIB), "\"64KiB\"", Live, "\"64KiB\"";
            "How large such a message may become.";
        max_delay: time(0, 7 * DAY), "\"1h\"", Live, "\"1h\"";
            "How long a reading may wait for others.";
    }
    Subscription {
        topic: Kind::Filter, "", Live, "\"devices/{id}/command/#\"";
            "Which topics: `+` stands for one level, `#` for the rest, `{id}` for the device's identifier.";
        qos: Kind::QoS, "1", Live, "1";
            "0 at most once, 1 at least once, 2 exactly once.";
    }
    Commands {
        topic: Kind::Topic, "", Restart, "\"devices/{id}/commands\"";
            "Where commands arrive; `{id}` stands for the device's identifier.";
    }
    Command {
        name: Kind::Name, "", Restart, "\"reboot\"";
            "What the command is called: 1 to 64 letters, digits, `-`, `_` and `.`.";
        program: Kind::Program, "", Restart, "\"/usr/bin/systemctl\"";
            "The program that is started, by its full path.";
        args: Kind::Texts, "[]", Restart, "[\"reboot\"]";
            "Its arguments, each handed on as it is.";
        timeout: time(SECOND, DAY), "\"60s\"", Restart, "\"60s\"";
            "How long it may take, then it and what it started are killed.";
        max_output: bytes(0, MIB), "\"16KiB\"", Restart, "\"16KiB\"";
            "How much of the end of its output is sent back.";
    }
    Schedule {
        windows: Kind::Crons, "", Live, "[\"0 */4 * * *\"]";
            "When windows open: cron expressions of five fields (minute, hour, day, month, day of the week).";
        duration: WINDOW, "\"10m\"", Live, "\"10m\"";
            "How long a window stays open.";
        jitter: time(0, DAY), "\"0s\"", Live, "\"5m\"";
            "By how much, at random, each window opens later, so that not all devices come at once.";
        delay: time(0, DAY), "\"0s\"", Restart, "\"30s\"";
            "How long the first connection waits after the start.";
        on_demand: Kind::Bool, "true", Live, "true";
            "Whether what is urgent may connect outside the windows.";
    }
    Limits {
        publish_rate: Kind::Rate, "", Live, "\"100/s\"";
            "How many messages may be published in a time; a rate of your own is kept as it is.";
        publish_bytes: Kind::ByteRate, "", Live, "\"512KB/s\"";
            "How many bytes may be published in a time.";
        subscriptions: count(1, 100_000), "", Restart, "50";
            "How many topic filters may be subscribed to.";
        filters_per_subscribe: count(1, 10_000), "", Restart, "8";
            "How many topic filters one SUBSCRIBE may have.";
        packet_bytes: bytes(128, 256 * MIB), "", Restart, "\"128KiB\"";
            "How large a packet may be.";
        topic_levels: count(1, 32_768), "", Restart, "8";
            "How many levels a topic may have.";
        qos: Kind::QoS, "", Restart, "1";
            "The highest quality of service.";
    }
    Metrics {
        topic: Kind::Topic, "", Live, "\"devices/{id}/metrics\"";
            "Where to publish them; `{id}` stands for the device's identifier.";
        interval: time(SECOND, 7 * DAY), "\"5m\"", Live, "\"5m\"";
            "How often.";
    }
    Control {
        socket: Kind::Socket, "", Restart, "\"/run/agent/control.sock\"";
            "The socket; `none` for no such access. Without it: control.sock in `RUNTIME_DIRECTORY` of the environment, or else in the state directory.";
    }
    Log {
        filter: Kind::LogFilter, "\"warn,agent=info\"", Live, "\"info\"";
            "What is logged: a level (off, error, warn, info, debug, trace), or several with the parts they are for. `RUST_LOG` of the environment comes first.";
    }
}
