//! What a running agent sees itself: how its connection stands, what is wrong, and what the checks
//! find that it makes in its own surroundings, which may have another proxy or another resolver than
//! those of a shell.

use std::time::Duration;

use serde_json::Value;

use super::finding::Finding;
use super::statement::Right;
use super::{Options, examine};
use crate::explain;
use crate::notify::spelled;
use crate::supervise::HealthCode;

/// Time for the checks that a running agent makes when it is asked; less than the asking doctor waits.
pub const AGENT_CHECKS_TIMEOUT: Duration = Duration::from_secs(8);
/// A connection that has lasted that long stays.
const STEADY_AFTER: Duration = Duration::from_secs(2);

/// Makes the checks that send nothing of MQTT, in the agent that runs. Yields, for
/// [`AGENT_CHECKS_TIMEOUT`] at most. Returns what they find, as the report's JSON has it.
pub(crate) fn own_checks(options: Options) -> Value {
    let examined = fiber::timeout(AGENT_CHECKS_TIMEOUT, || examine(options));
    examined.unwrap_or_else(|elapsed| elapsed.0).checks()
}

/// What it said.
#[derive(Debug)]
pub(super) struct View {
    version: String,
    uptime: Duration,
    /// The name of the state of its connection, since when, and why it is not there.
    link: String,
    since: Duration,
    cause: Option<String>,
    retry_in: Option<Duration>,
    /// Why the last connection ended, or the last attempt failed.
    last_end: Option<String>,
    last_code: Option<&'static str>,
    /// Health codes, each with its text.
    health: Vec<(String, String)>,
    /// Lines about its own checks that did not go well.
    failed: Vec<String>,
}

impl View {
    pub(super) fn of_answer(answer: &Value) -> Self {
        let status = &answer["status"];
        let link = &status["link"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let secs = |value: &Value| value.as_u64().map(Duration::from_secs);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let code = link["last_code"].as_str().and_then(explain::find);
        let health = list(&status["health"]);
        let checks = list(&answer["checks"]);
        Self {
            version: text(&status["version"]).unwrap_or_default(),
            uptime: secs(&status["uptime_secs"]).unwrap_or_default(),
            link: text(&link["state"]).unwrap_or_default(),
            since: secs(&link["since_secs"]).unwrap_or_default(),
            cause: text(&link["cause"]),
            retry_in: secs(&link["retry_in_secs"]),
            last_end: text(&link["last_end"]),
            last_code: code.map(|found| found.code),
            health: health
                .iter()
                .filter_map(|one| Some((text(&one["code"])?, text(&one["text"])?)))
                .collect(),
            failed: checks.iter().filter_map(of_check).collect(),
        }
    }

    /// What is told of the agent itself.
    pub(super) fn finding(&self, place: &str) -> Finding {
        let runs = format!("the agent runs for {}", spelled(self.uptime));
        let state = format!("it is {} for {}", self.link, spelled(self.since));
        let text = format!("{runs}, {state}");
        let own = env!("CARGO_PKG_VERSION");
        let is_other = self.version != own;
        let is_well = self.health.is_empty() && self.failed.is_empty() && !is_other;
        let mut finding = if is_well {
            Finding::ok(text)
        } else {
            Finding::warn(text).remedy("See what it found; `agent status` has all of it.")
        };
        finding = finding.evidence(format!("it answers at {place}"));
        if is_other {
            finding = finding.evidence(format!(
                "it is version {}, and this program is {own}",
                self.version
            ));
        }
        if let Some(last) = &self.last_end {
            finding = finding.evidence(format!("its last connection: {last}{}", self.code()));
        }
        for (code, text) in &self.health {
            finding = finding.evidence(format!("health {code}: {text}"));
        }
        self.failed.iter().fold(finding, Finding::evidence)
    }

    fn code(&self) -> String {
        self.last_code
            .map_or(String::new(), |code| format!(" [{code}]"))
    }

    /// What is told in the place of a CONNECT.
    pub(super) fn connected(&self) -> Finding {
        let since = spelled(self.since);
        match self.link.as_str() {
            "online" => Finding::ok(format!("the agent is connected, for {since}")),
            "offline" => {
                let finding = match self.last_code {
                    Some(code) => Finding::fail_by(code),
                    None => Finding::fail(format!("the agent has no connection, for {since}")),
                };
                let cause = self.cause.as_deref().unwrap_or("it does not say why");
                let finding = finding.evidence(format!("the agent's last attempt: {cause}"));
                match self.retry_in {
                    Some(next) => finding.evidence(format!("its next one is in {}", spelled(next))),
                    None => finding,
                }
            }
            other => {
                let mut finding = Finding::because_of("daemon");
                finding.text = format!("the agent is {other}, for {since}");
                finding
            }
        }
    }

    /// What is told in the place of a look whether the connection stays.
    pub(super) fn stays(&self) -> Finding {
        let since = spelled(self.since);
        if self.since < STEADY_AFTER {
            return Finding::note(format!("the agent's connection is there for {since} only"));
        }
        Finding::ok(format!("that of the agent, for {since}"))
    }

    /// What the broker refused the agent so far, in the place of trying each.
    pub(super) fn rights(&self, right: Right) -> Finding {
        let (code, packet) = match right {
            Right::Subscribe => ("T100", "SUBSCRIBE"),
            Right::Publish => ("T101", "PUBLISH"),
        };
        let refused = self.health.iter().filter(|(name, text)| {
            let is_answer = name == HealthCode::SubscribeRefused.name();
            let is_hang_up = name == HealthCode::RefusedTopic.name() && text.contains(packet);
            is_hang_up || (is_answer && right == Right::Subscribe)
        });
        let mut refused = refused.map(|(_, text)| text).peekable();
        if refused.peek().is_none() {
            let mut finding = Finding::because_of("daemon");
            finding.text = "nothing was refused to the agent so far; --takeover tries each".into();
            return finding;
        }
        refused.fold(Finding::fail_by(code), Finding::evidence)
    }
}

/// A line about a check that did not go well.
fn of_check(check: &Value) -> Option<String> {
    let text = |name: &str| check[name].as_str().unwrap_or_default();
    if !matches!(text("outcome"), "fail" | "warn") {
        return None;
    }
    let code = check["code"].as_str();
    let code = code.map_or(String::new(), |code| format!(" [{code}]"));
    Some(format!(
        "its own check {}: {}{code}",
        text("id"),
        text("text")
    ))
}
