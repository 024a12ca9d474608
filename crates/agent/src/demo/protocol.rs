//! What device and cloud have agreed on: topics, and what payloads look like.

use std::fmt;
use std::str::FromStr;

use mqtt::QoS;

/// The client identifier of the device.
pub(super) const DEVICE: &str = "meter-17";
/// By which devices of its kind are provisioned.
pub(super) const TEMPLATE: &str = "meters";
/// Where its readings go.
pub(super) const TELEMETRY: &str = "from/meter-17/telemetry";
/// Where its answers go.
pub(super) const ANSWERS: &str = "from/meter-17/answers";
/// Everything that comes from devices.
pub(super) const FROM_DEVICES: &str = "from/#";
/// Where its commands come from.
pub(super) const COMMANDS: &str = "to/meter-17/commands";

/// The application protocol that both sides demand in the TLS handshake (RFC 7301).
pub(super) const ALPN: &str = "x-amzn-mqtt-ca";

/// Every fourth reading must arrive exactly once, the others at least once.
const EXACTLY_ONCE_EVERY: u64 = 4;

/// The quality of service of a reading.
pub(super) const fn qos_of(sequence: u64) -> QoS {
    if sequence.is_multiple_of(EXACTLY_ONCE_EVERY) {
        QoS::ExactlyOnce
    } else {
        QoS::AtLeastOnce
    }
}

/// A reading of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Its number, from 1 without a gap.
    pub(super) sequence: u64,
    tenths_celsius: u64,
}

impl Reading {
    /// Takes the next reading: of a made-up room, whose temperature goes up and down.
    pub(super) const fn take(sequence: u64) -> Self {
        let phase = sequence % 60;
        let tenths_celsius = 200 + if phase < 30 { phase } else { 60 - phase };
        Self {
            sequence,
            tenths_celsius,
        }
    }

    /// Returns the number of a reading that arrived; `None` for what is no reading.
    pub(super) fn sequence_of(payload: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(payload).ok()?;
        let (sequence, _) = text.strip_prefix("{\"sequence\":")?.split_once(',')?;
        let sequence = sequence.parse().ok()?;
        (Self::take(sequence).to_string() == text).then_some(sequence)
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, tenths) = (self.tenths_celsius / 10, self.tenths_celsius % 10);
        let sequence = self.sequence;
        write!(
            f,
            "{{\"sequence\":{sequence},\"celsius\":{whole}.{tenths}}}"
        )
    }
}

/// A command to the device. Its answer is the command itself, once it is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Its number, from 1.
    pub(super) number: u64,
    /// How far to open the valve.
    pub(super) percent: u64,
}

/// The text is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoCommand;

impl fmt::Display for NoCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `NUMBER: valve to PERCENT %`, found something else")
    }
}

impl std::error::Error for NoCommand {}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: valve to {} %", self.number, self.percent)
    }
}

impl FromStr for Command {
    type Err = NoCommand;

    fn from_str(text: &str) -> Result<Self, NoCommand> {
        let parse = || {
            let (number, rest) = text.split_once(": valve to ")?;
            let percent = rest.strip_suffix(" %")?;
            Some(Self {
                number: number.parse().ok()?,
                percent: percent.parse().ok()?,
            })
        };
        parse().ok_or(NoCommand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_nothing_else() {
        for sequence in [1, 59, 60, 12_345] {
            let text = Reading::take(sequence).to_string();
            assert_eq!(Reading::sequence_of(text.as_bytes()), Some(sequence));
            let damaged = text.replace("celsius\":2", "celsius\":3");
            assert_eq!(Reading::sequence_of(damaged.as_bytes()), None);
        }
        assert_eq!(
            Reading::take(7).to_string(),
            "{\"sequence\":7,\"celsius\":20.7}"
        );
        let command = Command {
            number: 3,
            percent: 40,
        };
        assert_eq!(command.to_string().parse(), Ok(command));
        for text in ["", "3", "3: valve to 40", "x: valve to 40 %"] {
            assert_eq!(text.parse::<Command>(), Err(NoCommand));
        }
        for payload in [&b""[..], b"\xFF", b"{\"sequence\":7}"] {
            assert_eq!(Reading::sequence_of(payload), None);
        }
    }
}
