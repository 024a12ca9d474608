//! `agent cert needs-renewal` and `agent cert renew`.

use std::time::{Duration, SystemTime};

use fiber::Elapsed;
use safe_rt::CertificateFacts;

use super::error::ToolError;
use super::{believed_now, get};
use crate::config::Config;
use crate::control::{Control, ControlError, Request};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identity::Survey;
use crate::provision::{self, RENEW_FROM_DEFAULT, RENEW_UNTIL_DEFAULT, renewal_time};
use crate::{out, own};

/// How long a renewal by the running agent may take: a connection with the claim, two answers, and the
/// proof.
pub const RENEWAL_TIMEOUT: Duration = Duration::from_secs(300);
/// How often the running agent is asked how far it is.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Ends with 0 where the certificate in use is due, and with 1 where it is not.
pub(super) fn is_due(config: &Config) -> Result<Exit, ToolError> {
    let survey = Survey::of(&config.state.dir)?;
    let facts = match (&config.cloud.identity, &survey.active) {
        (Some(identity), _) => identity.facts().map(|facts| (facts, String::new())),
        (None, Some(active)) => {
            let device = active.about().map(|about| about.client_id.clone());
            Some((active.facts().clone(), device.unwrap_or_default()))
        }
        (None, None) => return Err(ToolError::NoIdentity),
    };
    let due = facts.and_then(|(facts, device)| due_of(&facts, &device, config));
    let due = due.ok_or(ToolError::NoDates)?;
    match believed_now(&survey.state) >= due {
        true => Ok(Exit::Done),
        false => Ok(Exit::Failed),
    }
}

/// When a certificate of this device is renewed.
pub(super) fn due_of(
    facts: &CertificateFacts,
    device: &str,
    config: &Config,
) -> Option<SystemTime> {
    let provision = config.provision.as_ref();
    let (from, until) = provision.map_or((RENEW_FROM_DEFAULT, RENEW_UNTIL_DEFAULT), |provision| {
        (provision.renew_from, provision.renew_until)
    });
    Some(renewal_time(
        device,
        facts.not_before()?,
        facts.not_after()?,
        from,
        until,
    ))
}

pub(super) fn run(config: &Config) -> Result<Exit, ToolError> {
    if config.cloud.identity.is_some() {
        return Err(ToolError::Configured);
    }
    match running(config) {
        Some(control) => by_agent(control)?,
        None => alone(config)?,
    }
    let survey = Survey::of(&config.state.dir)?;
    if let Some(active) = &survey.active {
        get::print(active, true, false)?;
    }
    Ok(Exit::Done)
}

/// The agent that runs with this state directory, if it answers.
pub(super) fn running(config: &Config) -> Option<Control> {
    let places = own::sockets(config);
    places.iter().find_map(|place| Control::connect(place).ok())
}

/// Has the running agent renew, and waits for what becomes of it.
fn by_agent(mut control: Control) -> Result<(), ToolError> {
    let mut ask = |request| control.ask(&request).map_err(Failure::Control);
    let order = ask(Request::Renew)?["order"].as_u64().unwrap_or(1);
    out::plain("the running agent renews the certificate");
    let wait = || -> Result<(), ToolError> {
        loop {
            fiber::sleep(LOOK_PAUSE)?;
            let report = ask(Request::Renewal)?;
            let ended = report["ended"].as_u64();
            let ended = ended.ok_or(Failure::Control(ControlError::Answer))?;
            if ended < order {
                continue;
            }
            return match report["failure"].as_str() {
                Some(failure) => Err(ToolError::Running(failure.to_owned())),
                None => Ok(()),
            };
        }
    };
    match fiber::timeout(RENEWAL_TIMEOUT, wait) {
        Ok(waited) | Err(Elapsed(waited @ Ok(()))) => waited,
        Err(Elapsed(Err(_))) => {
            let seconds = RENEWAL_TIMEOUT.as_secs();
            Err(ToolError::Running(format!("it goes on after {seconds} s")))
        }
    }
}

/// Renews while no agent runs.
fn alone(config: &Config) -> Result<(), ToolError> {
    let options = provision::options_of(config)?.ok_or(ToolError::NoProvision)?;
    let store = super::open(config)?;
    if store.active().is_none() {
        return Err(ToolError::NoIdentity);
    }
    let options = options.told_to(|progress| out::plain(progress));
    let renewed = provision::renew_now(&store, &options);
    renewed.map(drop).map_err(ToolError::Attempt)
}
