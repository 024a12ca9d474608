//! A rehearsal: everything on the way to an identity up to where something would be made.

use std::path::Path;

use fiber::fs;
use mqtt::ClientId;
use safe_rt::{CertificateFacts, ClockVerdict, Identity, Utc};

use super::aws::Aws;
use super::error::ProvisionError;
use super::https::Https;
use super::{HttpsService, Method, Options, answer, believed_now, steps};
use crate::identity::{self, ROOM_BYTES_MIN, Survey};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rehearsed {
    /// What it is, in one word that stays.
    pub id: &'static str,
    /// How it stands.
    pub outcome: RehearsalOutcome,
    /// In words.
    pub text: String,
    /// The code for `agent explain`, of what would fail.
    pub code: Option<&'static str>,
}

/// How a thing stands that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RehearsalOutcome {
    /// It is as it must be.
    Good,
    /// It is no obstacle, and worth to be known.
    Note,
    /// With this there is no identity.
    Bad,
    /// It was not looked at.
    Skipped,
}

impl RehearsalOutcome {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Bad => "fail",
            Self::Skipped => "skip",
        }
    }
}

use RehearsalOutcome::{Bad, Good, Note, Skipped};

fn found(id: &'static str, outcome: RehearsalOutcome, text: impl Into<String>) -> Rehearsed {
    Rehearsed {
        id,
        outcome,
        text: text.into(),
        code: None,
    }
}

fn failed(id: &'static str, error: &ProvisionError) -> Rehearsed {
    Rehearsed {
        code: Some(error.code()),
        ..found(id, Bad, error.to_string())
    }
}

/// Checks everything that an identity needs, and tells each finding as it comes: what is there already,
/// room on the disk, the clock, the claim; then connects as it would for an identity, and with fleet
/// provisioning subscribes to the answers. Asks for nothing, and writes nothing. Yields.
///
/// Where `is_running`, an agent has the state folder: it is not connected, for that could end the
/// agent's own connection.
///
/// # Errors
///
/// None; the wait is ended by the ambient deadline, and by the limits of each connection.
pub fn rehearse(
    folder: &Path,
    options: &Options,
    is_running: bool,
    mut tell: impl FnMut(Rehearsed),
) {
    let kept = standing(folder, options, &mut tell);
    tell(room(folder));
    tell(clock(options));
    let device_id = device_id(options, kept, &mut tell);
    tell(parameters(options, &device_id));
    let claim = match &options.method {
        Method::Https(service) if service.token.is_some() => {
            tell(found("claim", Good, "a token"));
            None
        }
        _ => match claim(folder, options, &mut tell) {
            Some(claim) => Some(claim),
            None => {
                tell(found(
                    "connection",
                    Skipped,
                    "there is nothing to be introduced with",
                ));
                return;
            }
        },
    };
    if is_running {
        let why = "the agent runs: another connection could end its own";
        tell(found("connection", Skipped, why));
        return;
    }
    match &options.method {
        Method::Aws { template, .. } => {
            let identity = claim.as_ref();
            aws(options, template, &device_id, identity, &mut tell);
        }
        Method::Https(service) => tell(https(options, service, &device_id, claim)),
    }
}

/// What is there. Returns the device id that is kept.
fn standing(folder: &Path, options: &Options, tell: &mut dyn FnMut(Rehearsed)) -> Option<String> {
    let survey = match Survey::of(folder) {
        Ok(survey) => survey,
        Err(error) => {
            tell(failed("state", &error.into()));
            return None;
        }
    };
    let state = &survey.state;
    options.know(state.last_good);
    tell(match &survey.active {
        Some(active) => {
            let text = format!("there is an identity already, in slot {}", active.slot());
            found("state", Note, text)
        }
        None if state.given_up => found(
            "state",
            Note,
            "the identity was given up; `agent provision` takes it up again",
        ),
        None => found("state", Good, format!("phase {}", state.phase())),
    });
    state.device_id.clone()
}

fn room(folder: &Path) -> Rehearsed {
    // It may not be there yet, nor what it is to be in.
    let there = folder.ancestors().find(|path| fs::entry(*path).is_ok());
    let there = there.filter(|path| !path.as_os_str().is_empty());
    let there = there.unwrap_or_else(|| Path::new("."));
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(error) = rustix::fs::access(there, access) {
        let text = format!("{} cannot be written: {error}", there.display());
        return Rehearsed {
            code: Some("P008"),
            ..found("disk", Bad, text)
        };
    }
    match fs::free_space(there) {
        Ok(free) if free >= ROOM_BYTES_MIN => {
            found("disk", Good, format!("{} KiB are free", free / 1_024))
        }
        Ok(free) => failed("disk", &identity::StoreError::NoRoom { found: free }.into()),
        Err(error) => {
            let path = there.to_owned();
            let source = error;
            failed("disk", &identity::StoreError::Io { path, source }.into())
        }
    }
}

fn clock(options: &Options) -> Rehearsed {
    let wall = fiber::wall_time();
    match options.floor.check(wall) {
        ClockVerdict::Plausible => found("clock", Good, Utc(wall).to_string()),
        _ => {
            let judged = Utc(believed_now(options));
            let text = format!(
                "it shows {}, which cannot be: certificates are judged as of {judged}",
                Utc(wall)
            );
            found("clock", Note, text)
        }
    }
}

/// The id that the device would have: one that is made for this alone where there is none.
fn device_id(options: &Options, kept: Option<String>, tell: &mut dyn FnMut(Rehearsed)) -> ClientId {
    if let Some(id) = &options.device_id {
        tell(found(
            "device",
            Good,
            format!("{}, as configured", id.as_str()),
        ));
        return id.clone();
    }
    let kept = kept.and_then(|id| ClientId::new(id).ok());
    if let Some(id) = kept {
        tell(found(
            "device",
            Good,
            format!("{}, as it is kept", id.as_str()),
        ));
        return id;
    }
    let made = identity::random_device_id().unwrap_or_else(|_| "agent-rehearsal".to_owned());
    let made = ClientId::new(made).unwrap_or_else(|_| ClientId::default());
    let text = format!(
        "its id is made when it is needed; here it is {}",
        made.as_str()
    );
    tell(found("device", Note, text));
    made
}

fn parameters(options: &Options, device_id: &ClientId) -> Rehearsed {
    let sent = options.parameters_for(device_id.as_str());
    let text = answer::parameters_shown(sent.iter());
    let text = match &options.method {
        Method::Aws { template, .. } => format!("template {template}; {text}"),
        Method::Https(service) => format!("service {}; {text}", service.url),
    };
    found("parameters", Good, text)
}

fn claim(folder: &Path, options: &Options, tell: &mut dyn FnMut(Rehearsed)) -> Option<Identity> {
    let named = steps::named_claim(options);
    let claim = match named {
        Ok(claim) => claim,
        Err(reason) => {
            let Some(kept) = identity::look_at_claim(folder) else {
                tell(failed("claim", &ProvisionError::NoClaim { reason }));
                return None;
            };
            tell(found(
                "claim",
                Note,
                format!("{reason}; the one that was kept is used"),
            ));
            kept
        }
    };
    let identity = match Identity::from_pem(&claim.chain, &claim.key) {
        Ok(identity) => identity,
        Err(error) => {
            tell(failed("claim", &ProvisionError::Tls(error)));
            return None;
        }
    };
    tell(dates(options, identity.facts()));
    Some(identity)
}

/// The key fits the certificate; whether it is valid now.
fn dates(options: &Options, facts: Option<CertificateFacts>) -> Rehearsed {
    let times = facts
        .as_ref()
        .and_then(|facts| Some((facts.subject(), facts.not_before()?, facts.not_after()?)));
    let Some((subject, from, until)) = times else {
        return found(
            "claim",
            Note,
            "key and certificate fit; it does not tell its dates",
        );
    };
    let now = believed_now(options);
    let text = format!(
        "{subject}, fits its key, valid from {} until {}",
        Utc(from),
        Utc(until)
    );
    match from <= now && now <= until {
        true => found("claim", Good, text),
        false => Rehearsed {
            code: Some("P001"),
            ..found("claim", Bad, format!("{text}: not now, {}", Utc(now)))
        },
    }
}

fn aws(
    options: &Options,
    template: &str,
    device_id: &ClientId,
    claim: Option<&Identity>,
    tell: &mut dyn FnMut(Rehearsed),
) {
    let dial = match claim.filter(|_| options.endpoint.scheme().is_tls()) {
        Some(claim) => steps::dial_options(options, claim),
        None => Ok(options.dial.clone()),
    };
    let dial = match dial {
        Ok(dial) => dial,
        Err(error) => return tell(failed("connection", &error)),
    };
    let mut cloud = Aws::new(options, template, &options.endpoint, dial, device_id);
    if let Err(error) = cloud.greet() {
        return tell(failed("connection", &error));
    }
    let text = format!("{} takes the claim", options.endpoint);
    tell(found("connection", Good, text));
    tell(match cloud.listen() {
        Ok(topics) => found(
            "topics",
            Good,
            format!("subscribed to {}", topics.join(", ")),
        ),
        Err(error) => failed("topics", &error),
    });
    super::Cloud::leave(&mut cloud);
}

fn https(
    options: &Options,
    service: &HttpsService,
    device_id: &ClientId,
    claim: Option<Identity>,
) -> Rehearsed {
    match Https::new(options, service, device_id, claim, false).reach() {
        Ok(()) => found(
            "connection",
            Good,
            format!("{} is reached, by TLS", service.url),
        ),
        Err(error) => failed("connection", &error),
    }
}
