//! `rights-subscribe` and `rights-publish`: what the device may do of what it is configured to do.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fiber::Event;
use mqtt::{Client, Publish, QoS, Wait};

use crate::doctor::case::{Case, Setup};
use crate::doctor::finding::Finding;
use crate::doctor::session::{self, Denied};
use crate::doctor::statement::{Right, statement};
use crate::profile::Provider;

/// Filters and topics that are tried; the rest is told as not tried.
const RIGHTS_MAX: usize = 32;
/// How long a message that was acknowledged may take to come back.
const ECHO_TIMEOUT: Duration = Duration::from_secs(1);
/// The level below a topic at which the doctor publishes.
const LEAF: &str = "doctor";
/// What it publishes.
const PAYLOAD: &[u8] = b"doctor";

/// What was found of one filter or topic.
struct Refusal {
    topic: String,
    how: String,
}

pub(super) fn run_subscribe(case: &Case) -> Finding {
    if let Some(view) = case.view_beside() {
        return view.rights(Right::Subscribe);
    }
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let subscriptions = &setup.config.subscriptions;
    if subscriptions.is_empty() {
        return Finding::skip("nothing is subscribed to");
    }
    let mut refusals = Vec::new();
    for subscription in subscriptions.iter().take(RIGHTS_MAX) {
        let client = match client_of(case, &setup) {
            Ok(client) => client,
            Err(finding) => return *finding,
        };
        let filter = subscription.topic.as_str();
        match session::subscribe(&client, filter, subscription.qos, |_| {}) {
            Ok(()) => {}
            Err(Ok(denied)) => refusals.push(refusal(case, filter, denied)),
            Err(Err(text)) => {
                return Finding::warn(format!("whether {filter} is allowed was not found out"))
                    .evidence(text);
            }
        }
    }
    if refusals.is_empty() {
        return Finding::ok(counted(subscriptions.len(), "filter", "filters"));
    }
    missing(&setup, "T100", Right::Subscribe, &refusals)
}

pub(super) fn run_publish(case: &Case) -> Finding {
    if let Some(view) = case.view_beside() {
        return view.rights(Right::Publish);
    }
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let Some(telemetry) = &setup.config.telemetry else {
        return Finding::skip("nothing is published by itself");
    };
    let topic = match case.options.touch {
        true => telemetry.topic.as_str().to_owned(),
        false => format!("{}/{LEAF}", telemetry.topic.as_str()),
    };
    if let Err(limited) = setup
        .profile()
        .check_publish(&topic, PAYLOAD.len(), QoS::AtLeastOnce)
    {
        return Finding::skip(format!("{topic} is not tried: {limited}"));
    }
    let echo = Echo::new();
    let client = match client_of(case, &setup) {
        Ok(client) => client,
        Err(finding) => return *finding,
    };
    let hears = match setup.profile().provider() {
        // A filter that is forbidden would cost the connection.
        Provider::Aws | Provider::AzureEventGrid => false,
        _ => echo.listen(&client, &topic),
    };
    let client = match client_of(case, &setup) {
        Ok(client) => client,
        Err(finding) => return *finding,
    };
    let payload = if case.options.touch { b"" } else { PAYLOAD };
    let publish = Publish::to(&topic, payload)
        .qos(QoS::AtLeastOnce)
        .wait(Wait::Ack);
    if let Err(error) = client.publish(publish) {
        return match session::denied(&mqtt::Error::from(error)) {
            Ok(denied) => {
                let refusals = [refusal(case, &topic, denied)];
                let finding = missing(&setup, "T101", Right::Publish, &refusals);
                unless_leaf(case, finding, telemetry.topic.as_str())
            }
            Err(text) => Finding::warn(format!("whether {topic} is allowed was not found out"))
                .evidence(text),
        };
    }
    // A broker that forbids it may take its time to hang up.
    if let Ok(Some(cause)) = session::stays(&client, Duration::from_millis(200)) {
        let refusals = [refusal(case, &topic, Denied::HangUp(cause))];
        let finding = missing(&setup, "T101", Right::Publish, &refusals);
        return unless_leaf(case, finding, telemetry.topic.as_str());
    }
    match (hears, hears && echo.comes()) {
        (true, true) => Finding::ok(format!("{topic} is taken, and comes back")),
        (true, false) => {
            let refusals = [Refusal {
                how: "acknowledged, and not seen back".to_owned(),
                topic: topic.clone(),
            }];
            let finding = missing(&setup, "T102", Right::Publish, &refusals);
            unless_leaf(case, finding, telemetry.topic.as_str())
        }
        (false, _) => Finding::ok(format!("{topic} is acknowledged"))
            .evidence("whether it is passed on cannot be seen: the device may not subscribe to it"),
    }
}

/// A leaf that is refused does not say that the topic above is.
fn unless_leaf(case: &Case, finding: Finding, topic: &str) -> Finding {
    if case.options.touch {
        return finding;
    }
    let mut finding = finding;
    finding.outcome = super::super::Outcome::Warn;
    finding.evidence(format!(
        "whether {topic} itself is allowed is not tried: --touch publishes an empty message to it"
    ))
}

/// The connection, or a new one where the last one was cut.
fn client_of(case: &Case, setup: &Setup) -> Result<Client, Box<Finding>> {
    if let Some(client) = case
        .client
        .borrow()
        .as_ref()
        .filter(|client| client.is_connected())
    {
        return Ok(client.clone());
    }
    let client = session::reconnect(case, setup)?;
    *case.client.borrow_mut() = Some(client.clone());
    Ok(client)
}

/// Notes how something was refused, and lets go of a connection that it cost.
fn refusal(case: &Case, topic: &str, denied: Denied) -> Refusal {
    let how = match denied {
        Denied::Answer => "refused".to_owned(),
        Denied::HangUp(cause) => {
            drop(case.client.take());
            cause
        }
    };
    Refusal {
        topic: topic.to_owned(),
        how,
    }
}

fn missing(setup: &Setup, code: &'static str, right: Right, refusals: &[Refusal]) -> Finding {
    let provider = setup.profile().provider();
    let topics: Vec<&str> = refusals.iter().map(|found| found.topic.as_str()).collect();
    let id = setup.device_id().map_or("DEVICE", |id| id.as_str());
    // An access list of Mosquitto is by user name.
    let user = setup
        .config
        .cloud
        .credentials
        .as_ref()
        .map(|found| found.user_name.as_str());
    let who = match provider {
        Provider::Emqx | Provider::Aws => id,
        _ => user.unwrap_or(id),
    };
    let host = setup.endpoint().host();
    let finding = Finding::fail_by(code).paste(statement(provider, right, &topics, who, host));
    refusals.iter().fold(finding, |finding, found| {
        finding.evidence(format!("{}: {}", found.topic, found.how))
    })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("the {one} is granted"),
        count if count > RIGHTS_MAX => {
            format!(
                "{RIGHTS_MAX} {many} are granted, {} not tried",
                count - RIGHTS_MAX
            )
        }
        count => format!("{count} {many} are granted"),
    }
}

/// Hears whether a message comes back.
struct Echo {
    heard: Event,
    is_heard: Rc<Cell<bool>>,
}

impl Echo {
    fn new() -> Self {
        Self {
            heard: Event::new(),
            is_heard: Rc::default(),
        }
    }

    /// Subscribes to the topic; tells whether that is allowed.
    fn listen(&self, client: &Client, topic: &str) -> bool {
        let (heard, is_heard) = (self.heard.clone(), Rc::clone(&self.is_heard));
        let seen = move |message: &mqtt::Message| {
            is_heard.set(true);
            // Of the doctor's own, so nothing that waits for the agent.
            message.acknowledge();
            heard.set();
        };
        session::subscribe(client, topic, QoS::AtMostOnce, seen).is_ok()
    }

    fn comes(&self) -> bool {
        let _ = fiber::timeout(ECHO_TIMEOUT, || self.heard.wait());
        self.is_heard.get()
    }
}
