//! `rights-subscribe` and `rights-publish`: what the device may do of what it is configured to do.

mod echo;
mod tried;

use std::time::Duration;

use fiber::Instant;
use mqtt::{Client, Publish, QoS, Wait};

use self::echo::Echo;
use self::tried::{Refusal, Tried};
use crate::config::Config;
use crate::doctor::case::{Case, Setup};
use crate::doctor::finding::{Finding, Outcome};
use crate::doctor::session::{self, Denied};
use crate::doctor::statement::Right;
use crate::profile::Provider;

/// Filters and topics that are tried; the rest is told as not tried.
const RIGHTS_MAX: usize = 32;
/// The level below a topic at which the doctor publishes.
const LEAF: &str = "doctor";
/// What it publishes.
const PAYLOAD: &[u8] = b"doctor";
/// How long a broker may take to hang up on what it forbids.
const HANG_UP_WINDOW: Duration = Duration::from_millis(200);

/// What the agent subscribes to with this configuration.
pub(super) fn filters(config: &Config) -> Vec<(String, QoS)> {
    let subscriptions = config.subscriptions.iter();
    let mut filters: Vec<(String, QoS)> = subscriptions
        .map(|subscription| (subscription.topic.as_str().to_owned(), subscription.qos))
        .collect();
    if let Some(commands) = &config.commands {
        filters.push((commands.topic.as_str().to_owned(), QoS::AtLeastOnce));
    }
    filters
}

/// What it publishes to.
fn topics(config: &Config) -> Vec<String> {
    let telemetry = config
        .telemetry
        .iter()
        .map(|to| to.topic.as_str().to_owned());
    let metrics = config.metrics.iter().map(|to| to.topic.as_str().to_owned());
    let answers = config.commands.iter();
    let answers = answers.map(|commands| format!("{}/answer", commands.topic.as_str()));
    let mut topics: Vec<String> = telemetry.chain(metrics).chain(answers).collect();
    topics.dedup();
    topics
}

pub(super) fn run_subscribe(case: &Case) -> Finding {
    if let Some(view) = case.view_beside() {
        return view.rights(Right::Subscribe);
    }
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let filters = filters(&setup.config);
    if filters.is_empty() {
        return Finding::skip("nothing is subscribed to");
    }
    let mut tried = Tried::default();
    for (place, (filter, qos)) in filters.iter().enumerate() {
        let rest = || filters[place..].iter().map(|(filter, _)| filter.as_str());
        if place == RIGHTS_MAX {
            tried.untried(rest(), &format!("more than {RIGHTS_MAX}"));
            break;
        }
        let client = match client_of(case, &setup) {
            Ok(client) => client,
            Err(why) => {
                tried.untried(rest(), &why);
                break;
            }
        };
        match session::subscribe(&client, filter, *qos, |_| {}) {
            Ok(()) => tried.allowed += 1,
            Err(Ok(denied)) => match refused(case, &setup, denied) {
                Ok(how) => tried.refusals.push(Refusal::new(filter, filter, how)),
                Err(why) => {
                    tried.untried(rest(), &why);
                    break;
                }
            },
            Err(Err(why)) => tried.untried([filter.as_str()], &why),
        }
    }
    if !tried.refusals.is_empty() {
        let finding = Finding::fail_by("T100").paste(tried.statement(&setup, &[Right::Subscribe]));
        return tried.told(finding);
    }
    let text = tried.counted("filter is granted", "filters are granted");
    // Its access list is asked about each message, and about a subscription only for what it denies.
    let text = match setup.profile().provider() {
        Provider::Plain => format!("{text}; whether messages are let through is not shown by that"),
        _ => text,
    };
    tried.told(match tried.is_whole() {
        true => Finding::ok(text),
        false => Finding::warn(text),
    })
}

/// What became of a message.
enum Taken {
    /// It came back.
    Back,
    /// It was acknowledged; whether it is passed on cannot be seen.
    Acknowledged,
    /// It was acknowledged, and did not come back for so long.
    NotSeen(Duration),
    /// It was refused.
    Refused(String),
    /// It is not known, for this reason.
    Unknown(String),
}

pub(super) fn run_publish(case: &Case) -> Finding {
    if let Some(view) = case.view_beside() {
        return view.rights(Right::Publish);
    }
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let topics = topics(&setup.config);
    if topics.is_empty() {
        return Finding::skip("nothing is published by itself");
    }
    let mut tried = Tried::default();
    let mut back = 0;
    for topic in &topics {
        let at = match case.options.touch {
            true => topic.clone(),
            false => format!("{topic}/{LEAF}"),
        };
        match publish(case, &setup, &at) {
            Taken::Back => {
                tried.allowed += 1;
                back += 1;
            }
            Taken::Acknowledged => tried.allowed += 1,
            Taken::NotSeen(waited) => {
                let how = format!(
                    "acknowledged, and not seen back for {} ms",
                    waited.as_millis()
                );
                tried.unseen.push(Refusal::new(topic, &at, how));
            }
            Taken::Refused(how) => tried.refusals.push(Refusal::new(topic, &at, how)),
            Taken::Unknown(why) => tried.untried([at.as_str()], &why),
        }
    }
    published(case, &setup, tried, back)
}

/// What it means together.
fn published(case: &Case, setup: &Setup, tried: Tried, back: usize) -> Finding {
    let of_leaves =
        "the topics themselves were not tried: --touch publishes an empty message to each";
    if !tried.refusals.is_empty() {
        let mut finding = Finding::fail_by("T101").paste(tried.statement(setup, &[Right::Publish]));
        if !case.options.touch {
            // A leaf that is refused does not say that the topic above is.
            finding.outcome = Outcome::Warn;
            finding = finding.evidence(of_leaves);
        }
        return tried.told(finding);
    }
    if !tried.unseen.is_empty() {
        let both = [Right::Publish, Right::Subscribe];
        let finding = Finding::warn_by("T102").paste(tried.statement(setup, &both));
        let finding = match case.options.touch {
            true => finding,
            false => finding.evidence(of_leaves),
        };
        return tried.told(finding);
    }
    let is_whole = tried.is_whole();
    if !case.options.touch {
        let text = tried.counted(
            "leaf `doctor` is allowed; the topic above it was not tried (--touch)",
            "leaves `doctor` are allowed; the topics above were not tried (--touch)",
        );
        return tried.told(match is_whole {
            true => Finding::note(text),
            false => Finding::warn(text),
        });
    }
    let text = match back == tried.allowed {
        true => tried.counted(
            "topic is taken, and comes back",
            "topics are taken, and come back",
        ),
        false => tried.counted("topic is acknowledged", "topics are acknowledged"),
    };
    let mut finding = match is_whole {
        true => Finding::ok(text),
        false => Finding::warn(text),
    };
    if back < tried.allowed {
        finding = finding
            .evidence("whether it is passed on cannot be seen: the device may not subscribe to it");
    }
    tried.told(finding)
}

/// Publishes to a topic, and sees what becomes of it.
fn publish(case: &Case, setup: &Setup, at: &str) -> Taken {
    let profile = setup.profile();
    if let Err(limited) = profile.check_publish(at, PAYLOAD.len(), QoS::AtLeastOnce) {
        return Taken::Unknown(limited.to_string());
    }
    let client = match client_of(case, setup) {
        Ok(client) => client,
        Err(why) => return Taken::Unknown(why),
    };
    let echo = Echo::of(case, setup, &client, at);
    let client = match client_of(case, setup) {
        Ok(client) => client,
        Err(why) => return Taken::Unknown(why),
    };
    let payload = if case.options.touch { b"" } else { PAYLOAD };
    let message = Publish::to(at, payload)
        .qos(QoS::AtLeastOnce)
        .wait(Wait::Ack);
    let sent = Instant::now();
    if let Err(error) = client.publish(message) {
        return match session::denied(&mqtt::Error::from(error)) {
            Ok(denied) => taken(refused(case, setup, denied)),
            Err(why) => Taken::Unknown(why),
        };
    }
    let took = sent.elapsed();
    // A broker that forbids it may take its time.
    if let Ok(Some(cause)) = session::stays(&client, HANG_UP_WINDOW) {
        return taken(refused(case, setup, Denied::HangUp(cause)));
    }
    match echo {
        None => Taken::Acknowledged,
        Some(echo) => match echo.comes(took) {
            Ok(()) => Taken::Back,
            Err(waited) => Taken::NotSeen(waited),
        },
    }
}

/// The connection, or a new one where the last one was cut.
///
/// # Errors
/// Why there is none.
fn client_of(case: &Case, setup: &Setup) -> Result<Client, String> {
    if let Some(client) = case
        .client
        .borrow()
        .as_ref()
        .filter(|client| client.is_connected())
    {
        return Ok(client.clone());
    }
    let client = session::reconnect(case, setup).map_err(|finding| {
        let told = finding.evidence.first();
        let why = told.map_or(finding.text.as_str(), String::as_str);
        format!("there is no connection any more: {why}")
    })?;
    *case.client.borrow_mut() = Some(client.clone());
    Ok(client)
}

/// How something was refused. A hang-up counts where the broker takes the device again: else it has
/// gone for another reason.
///
/// # Errors
/// Why it is not known whether it was.
fn refused(case: &Case, setup: &Setup, denied: Denied) -> Result<String, String> {
    match denied {
        Denied::Answer => Ok("refused".to_owned()),
        Denied::HangUp(cause) => {
            drop(case.client.take());
            match client_of(case, setup) {
                Ok(_) => Ok(cause),
                Err(why) => Err(format!("{cause}; {why}")),
            }
        }
    }
}

fn taken(refused: Result<String, String>) -> Taken {
    match refused {
        Ok(how) => Taken::Refused(how),
        Err(why) => Taken::Unknown(why),
    }
}
