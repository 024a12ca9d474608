//! What the device knows of its identity, as a value, and as the payload of a record.
//!
//! ```text
//!   Fresh ─► KeyReady ─► CsrSent ─► CertHeld ─► Registered ─► Proving ─► Active
//!                ▲                      │            ▲            │
//!                └──── token too old ───┘            └─ not proven┘
//! ```
//!
//! An identity in use and one in the making are independent of each other: a device that renews is
//! active all the while. Pure.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// Longest reason of a failure that is kept, in bytes.
const REASON_BYTES_MAX: usize = 300;
/// Longest time that a cloud's wish to be left alone is honoured for.
pub const BLOCKED_MAX: Duration = Duration::from_secs(24 * 3600);

/// One of the two places that an identity can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// `identity/a`.
    A,
    /// `identity/b`.
    B,
}

impl Slot {
    /// The name of its folder.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// Returns the other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::A, Self::B]
            .into_iter()
            .find(|slot| slot.as_str() == text)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far an identity in the making has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Key and signing request are in the slot.
    KeyReady,
    /// The cloud may have been asked for a certificate.
    CsrSent,
    /// The certificate is in the slot, and what proves to the cloud that it is this device's.
    CertHeld {
        /// The cloud's name for the certificate.
        certificate_id: String,
        /// When it came, in seconds of Unix time by the device's clock, which may be wrong.
        got_at: u64,
    },
    /// The cloud knows the device by the certificate in the slot.
    Registered {
        /// The cloud's name for the certificate.
        certificate_id: String,
    },
    /// It is being tried out: a connection under the real client identifier.
    Proving {
        /// The cloud's name for the certificate.
        certificate_id: String,
    },
}

impl Step {
    /// Returns its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyReady => "KeyReady",
            Self::CsrSent => "CsrSent",
            Self::CertHeld { .. } => "CertHeld",
            Self::Registered { .. } => "Registered",
            Self::Proving { .. } => "Proving",
        }
    }

    /// Returns the cloud's name for the certificate, once there is one.
    #[must_use]
    pub fn certificate_id(&self) -> Option<&str> {
        match self {
            Self::KeyReady | Self::CsrSent => None,
            Self::CertHeld { certificate_id, .. }
            | Self::Registered { certificate_id }
            | Self::Proving { certificate_id } => Some(certificate_id),
        }
    }
}

/// How sure it is that the identity in use is the one that is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unsure {
    /// A record says so.
    #[default]
    No,
    /// It was found in its slot, and there may be another one.
    Found,
    /// The other one was refused before.
    OtherRefused,
}

/// All that is kept in a state record. Times are seconds of Unix time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// The device id that was made here, once one was needed.
    pub device_id: Option<String>,
    /// The identity in use.
    pub active: Option<Slot>,
    /// How far the identity in the making has come.
    pub candidate: Option<Step>,
    /// Where that is; the other slot than the one in use.
    pub candidate_at: Option<Slot>,
    /// CRC-32 of its signing request; none where the cloud makes the key.
    pub request_check: Option<u32>,
    /// How often in a row its certificate was refused when it was tried out.
    pub refusals: u32,
    /// From the first of these to the last, in seconds that the device was on for.
    pub refused_for: u64,
    /// Since when the active identity is proven.
    pub active_since: Option<u64>,
    /// How many identities were proven and taken into use.
    pub promotions: u64,
    /// Somebody who may has given the identity up: none is to be made before somebody says so.
    pub given_up: bool,
    /// The identity in use was found in its slot, without a record: it may be the wrong one, until it was
    /// accepted.
    pub unsure: Unsure,
    /// Attempts of the present candidate that came to nothing.
    pub attempts: u32,
    /// Why the last attempt came to nothing.
    pub last_failure: Option<String>,
    /// No request to the provisioning cloud before.
    pub blocked_until: Option<u64>,
    /// The latest time that is known to have passed.
    pub last_good: Option<u64>,
    /// The boot in which this was written.
    pub boot_id: Option<String>,
}

impl State {
    /// Where the identity in the making is, or is to be.
    #[must_use]
    pub fn candidate_slot(&self) -> Slot {
        let at = self.candidate_at.filter(|_| self.candidate.is_some());
        at.unwrap_or_else(|| self.active.map_or(Slot::A, Slot::other))
    }

    /// How long the cloud still wants to be left alone at `now`: at most [`BLOCKED_MAX`], whatever it
    /// said, and whatever the clock was when it did.
    #[must_use]
    pub fn blocked_for(&self, now: SystemTime) -> Duration {
        let until = Duration::from_secs(self.blocked_until.unwrap_or(0));
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        until.saturating_sub(now).min(BLOCKED_MAX)
    }

    /// Begins with an identity in the making, or with none.
    pub(super) fn set_candidate(&mut self, candidate: Option<(Step, Slot)>) {
        let (step, slot) = candidate.unzip();
        self.candidate = step;
        self.candidate_at = slot;
        self.request_check = None;
        self.attempts = 0;
        self.blocked_until = None;
        self.refusals = 0;
        self.refused_for = 0;
    }

    /// Returns the phase in one word.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match (&self.candidate, self.active) {
            (Some(step), _) => step.name(),
            (None, Some(_)) => "Active",
            (None, None) if self.given_up => "GivenUp",
            (None, None) => "Fresh",
        }
    }

    /// Notes why an attempt came to nothing, shortened, and without what controls a terminal.
    pub(super) fn fail(&mut self, reason: &str) {
        let reason = reason.replace(char::is_control, " ");
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.last_failure = Some(reason[..end].to_owned());
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut map = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        put("device_id", text(&self.device_id));
        put("active", self.active.map(|slot| slot.as_str().into()));
        put("candidate", self.candidate.as_ref().map(step_to_json));
        let slot = |slot: Slot| slot.as_str().into();
        put("candidate_at", self.candidate_at.map(slot));
        put("request_check", self.request_check.map(Value::from));
        put("active_since", self.active_since.map(Value::from));
        put("given_up", self.given_up.then(|| true.into()));
        let unsure = self.unsure as u64;
        put("unsure", (unsure > 0).then(|| unsure.into()));
        for (name, count) in [
            ("attempts", u64::from(self.attempts)),
            ("refusals", u64::from(self.refusals)),
            ("refused_for", self.refused_for),
            ("promotions", self.promotions),
        ] {
            put(name, (count > 0).then(|| count.into()));
        }
        put("last_failure", text(&self.last_failure));
        put("blocked_until", self.blocked_until.map(Value::from));
        put("last_good", self.last_good.map(Value::from));
        put("boot_id", text(&self.boot_id));
        Value::Object(map).to_string().into_bytes()
    }

    /// Reads what [`State::encode`] wrote; nothing of what is not understood.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(payload).ok()?;
        let map = value.as_object()?;
        let text = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| map.get(name).and_then(Value::as_u64);
        let small = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
        let slot = |name: &str| match map.get(name) {
            None => Some(None),
            Some(slot) => Some(Some(Slot::parse(slot.as_str()?)?)),
        };
        let active = slot("active")?;
        let candidate = match map.get("candidate") {
            None => None,
            Some(step) => Some(step_of_json(step)?),
        };
        Some(Self {
            device_id: text("device_id"),
            active,
            candidate,
            candidate_at: slot("candidate_at")?,
            request_check: small("request_check"),
            refusals: small("refusals").unwrap_or(0),
            refused_for: number("refused_for").unwrap_or(0),
            active_since: number("active_since"),
            promotions: number("promotions").unwrap_or(0),
            unsure: match number("unsure") {
                None | Some(0) => Unsure::No,
                Some(1) => Unsure::Found,
                Some(_) => Unsure::OtherRefused,
            },
            given_up: map.get("given_up").and_then(Value::as_bool) == Some(true),
            attempts: small("attempts").unwrap_or(0),
            last_failure: text("last_failure"),
            blocked_until: number("blocked_until"),
            last_good: number("last_good"),
            boot_id: text("boot_id"),
        })
    }
}

/// Reads of a state that a later version wrote what is understood: which identity is in use, above all. The
/// one in the making is left to that version.
pub(super) fn decode_in_part(payload: &[u8]) -> Option<State> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let mut known = Map::new();
    for name in [
        "active",
        "device_id",
        "given_up",
        "promotions",
        "active_since",
        "last_good",
    ] {
        if let Some(value) = value.as_object()?.get(name) {
            known.insert(name.to_owned(), value.clone());
        }
    }
    State::decode(Value::Object(known).to_string().as_bytes())
}

fn step_to_json(step: &Step) -> Value {
    let mut value = json!({ "step": step.name() });
    if let Some(id) = step.certificate_id() {
        value["certificate_id"] = id.into();
    }
    if let Step::CertHeld { got_at, .. } = step {
        value["got_at"] = (*got_at).into();
    }
    value
}

fn step_of_json(value: &Value) -> Option<Step> {
    let id = || Some(value.get("certificate_id")?.as_str()?.to_owned());
    Some(match value.get("step")?.as_str()? {
        "KeyReady" => Step::KeyReady,
        "CsrSent" => Step::CsrSent,
        "CertHeld" => Step::CertHeld {
            certificate_id: id()?,
            got_at: value.get("got_at")?.as_u64()?,
        },
        "Registered" => Step::Registered {
            certificate_id: id()?,
        },
        "Proving" => Step::Proving {
            certificate_id: id()?,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::RECORD_PAYLOAD_MAX;
    use super::*;

    fn states() -> Vec<State> {
        let certificate_id = "\u{1}".repeat(super::super::CERTIFICATE_ID_BYTES_MAX);
        let steps = [
            None,
            Some(Step::KeyReady),
            Some(Step::CsrSent),
            Some(Step::CertHeld {
                certificate_id: certificate_id.clone(),
                got_at: 1_795_959_000,
            }),
            Some(Step::Registered {
                certificate_id: certificate_id.clone(),
            }),
            Some(Step::Proving { certificate_id }),
        ];
        let mut states = Vec::new();
        for candidate in steps {
            for active in [None, Some(Slot::A), Some(Slot::B)] {
                let mut state = State {
                    device_id: Some("d".repeat(128)),
                    active,
                    candidate: candidate.clone(),
                    candidate_at: active,
                    request_check: Some(u32::MAX),
                    refusals: u32::MAX,
                    refused_for: u64::MAX,
                    promotions: u64::MAX,
                    given_up: active.is_none(),
                    unsure: Unsure::OtherRefused,
                    active_since: Some(1),
                    attempts: u32::MAX,
                    blocked_until: Some(u64::MAX),
                    last_good: Some(2),
                    boot_id: Some("b".repeat(36)),
                    ..State::default()
                };
                state.fail(&"ä".repeat(1_000));
                states.push(state.clone());
                state.fail(&"\u{1}".repeat(1_000));
                states.push(state);
            }
        }
        states.push(State::default());
        states
    }

    #[test]
    fn what_was_encoded_is_decoded_and_fits() {
        for state in states() {
            let payload = state.encode();
            assert!(payload.len() <= RECORD_PAYLOAD_MAX, "{}", payload.len());
            assert_eq!(State::decode(&payload), Some(state));
        }
    }

    #[test]
    fn a_phase_is_that_of_the_candidate_while_there_is_one() {
        let phases: Vec<&str> = states().iter().map(State::phase).collect();
        assert_eq!(phases[..4], ["GivenUp", "GivenUp", "Active", "Active"]);
        assert_eq!(phases[6..12], ["KeyReady"; 6]);
        assert_eq!(phases[30..36], ["Proving"; 6]);
        assert_eq!(phases[36], "Fresh");
    }

    #[test]
    fn what_is_not_understood_is_no_state() {
        for payload in [
            &b""[..],
            b"[]",
            b"{\"active\":\"c\"}",
            b"{\"active\":1}",
            b"{\"candidate\":{\"step\":\"Flying\"}}",
            b"{\"candidate\":{\"step\":\"CertHeld\",\"certificate_id\":\"x\"}}",
            b"{\"candidate\":{\"step\":\"Proving\"}}",
        ] {
            assert_eq!(State::decode(payload), None, "{payload:?}");
        }
        // Written by a later version.
        let later = State::decode(b"{\"active\":\"b\",\"colour\":\"red\"}").unwrap();
        assert_eq!(later.active, Some(Slot::B));
    }
}
