//! `agent provision --status`: what there is, what comes next, and what a restart would do.

use std::time::SystemTime;

use safe_rt::Utc;
use serde_json::Value;

use super::error::ToolError;
use super::{believed_now, certificates, renew, unix, until};
use crate::args::ProvisionArgs;
use crate::config::Config;
use crate::exit::Exit;
use crate::identity::{Contents, Found, Slot, Survey};
use crate::{json, out};

/// What is told, in the order in which it is.
struct Standing<'a> {
    config: &'a Config,
    survey: &'a Survey,
    now: SystemTime,
    is_running: bool,
}

pub(super) fn run(args: &ProvisionArgs) -> Result<Exit, ToolError> {
    let config = super::read(&args.source)?;
    let survey = Survey::of(&config.state.dir)?;
    let standing = Standing {
        config: &config,
        survey: &survey,
        now: believed_now(&survey.state),
        is_running: super::is_running(&config),
    };
    out::text(&match args.json {
        true => standing.to_json() + "\n",
        false => standing.to_text(),
    })?;
    Ok(Exit::Done)
}

impl Standing<'_> {
    /// When the certificate in use is renewed, where it is.
    fn renewal(&self) -> Option<SystemTime> {
        let active = self.survey.active.as_ref()?;
        self.config.provision.as_ref()?;
        let device = active.about().map_or("", |about| &about.client_id);
        renew::due_of(active.facts(), device, self.config)
    }

    /// Until when the cloud wants to be left alone.
    fn blocked_until(&self) -> Option<SystemTime> {
        let left = self.survey.state.blocked_for(self.now);
        (!left.is_zero()).then(|| self.now + left)
    }

    /// What a restart of the agent would do.
    fn at_restart(&self) -> String {
        let state = &self.survey.state;
        let has_provision = self.config.provision.is_some();
        if self.config.cloud.identity.is_some() {
            return "the certificate that the configuration names is used".to_owned();
        }
        match (&self.survey.active, &state.candidate) {
            (Some(active), _) => {
                let why = match self.survey.found {
                    Found::Fallback => ", because the one after it cannot be read",
                    Found::Recovered => ", found in its slot: the records are lost",
                    _ => "",
                };
                format!(
                    "slot {} is used at once{why}; no cloud is needed",
                    active.slot()
                )
            }
            (None, _) if state.given_up => {
                "nothing: the identity was given up, and `agent provision` gets another one".into()
            }
            (None, _) if !has_provision => {
                "the agent connects without a certificate: there is no [provision]".to_owned()
            }
            (None, Some(step)) => format!("the identity in the making goes on at {}", step.name()),
            (None, None) => "an identity is asked for".to_owned(),
        }
    }

    fn slot_text(&self, slot: Slot, contents: &Contents) -> String {
        let state = &self.survey.state;
        let used = self.survey.active.as_ref().map(|active| active.slot());
        let is_candidate = state.candidate.is_some() && state.candidate_slot() == slot;
        match contents {
            Contents::Empty => "empty".to_owned(),
            Contents::Begun if is_candidate => "in the making, without a certificate".to_owned(),
            Contents::Begun => "the rest of one that was let go".to_owned(),
            Contents::Unreadable(error) => format!("cannot be read: {error}"),
            Contents::Whole(loaded) => {
                let what = match used == Some(slot) {
                    true => "in use",
                    false if is_candidate => "in the making",
                    false if loaded.is_proven() => "in use before",
                    false => "not in use",
                };
                let facts = loaded.facts();
                let name = loaded.about().map(|about| {
                    format!(
                        ", {}, certificate {}",
                        about.client_id, about.certificate_id
                    )
                });
                let proven = if loaded.is_proven() { ", proven" } else { "" };
                let age = facts.not_before().map(|from| {
                    let age = self.now.duration_since(from).unwrap_or_default();
                    format!(", {} old", crate::notify::spelled(age))
                });
                let ends = facts
                    .not_after()
                    .map(|ends| format!(", ends {} ({})", Utc(ends), until(ends, self.now)));
                [
                    Some(what.to_owned()),
                    name,
                    Some(proven.to_owned()),
                    age,
                    ends,
                ]
                .into_iter()
                .flatten()
                .collect()
            }
        }
    }

    fn to_text(&self) -> String {
        let state = &self.survey.state;
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            text += &format!("{name:<14} {value}\n");
        };
        line("phase", state.phase());
        line(
            "agent",
            if self.is_running {
                "runs"
            } else {
                "does not answer"
            },
        );
        for (slot, contents) in &self.survey.slots {
            line(&format!("slot {slot}"), &self.slot_text(*slot, contents));
        }
        if let Some(since) = state.active_since.filter(|_| self.survey.active.is_some()) {
            let since = unix(since);
            line(
                "in use since",
                &format!("{} ({})", Utc(since), until(since, self.now)),
            );
        }
        if let Some(at) = self.renewal() {
            line(
                "next renewal",
                &format!("{} ({})", Utc(at), until(at, self.now)),
            );
        }
        if state.attempts > 0 {
            line("attempts", &format!("{} came to nothing", state.attempts));
        }
        if let Some(failure) = &state.last_failure {
            line("last failure", failure);
        }
        if let Some(at) = self.blocked_until() {
            line(
                "blocked until",
                &format!("{} ({})", Utc(at), until(at, self.now)),
            );
        }
        let claim = self.survey.claim.as_ref().map(|facts| {
            let ends = facts
                .not_after()
                .map(|ends| format!(", ends {}", Utc(ends)));
            format!("{}{}", facts.subject(), ends.unwrap_or_default())
        });
        line("claim kept", claim.as_deref().unwrap_or("none"));
        line("trash", &format!("{} identities", self.survey.trash));
        line("at a restart", &self.at_restart());
        text
    }

    fn to_json(&self) -> String {
        let state = &self.survey.state;
        let text = |text: &str| Value::from(text).to_string();
        let seconds = |time: SystemTime| certificates::unix_seconds(time).to_string();
        let slots = self.survey.slots.iter().map(|(slot, contents)| {
            let mut parts = vec![
                ("slot", text(slot.as_str())),
                ("text", text(&self.slot_text(*slot, contents))),
            ];
            if let Contents::Whole(loaded) = contents {
                parts.push(("proven", loaded.is_proven().to_string()));
                if let Some(about) = loaded.about() {
                    parts.push(("client_id", text(&about.client_id)));
                    parts.push(("certificate_id", text(&about.certificate_id)));
                }
                let facts = loaded.facts();
                let times = [
                    ("not_before", facts.not_before()),
                    ("not_after", facts.not_after()),
                ];
                for (name, time) in times {
                    parts.extend(time.map(|time| (name, seconds(time))));
                }
            }
            json::object_of(&parts)
        });
        let used = self
            .survey
            .active
            .as_ref()
            .map(|active| active.slot().as_str());
        let step_certificate = state
            .candidate
            .as_ref()
            .and_then(|step| step.certificate_id());
        let parts = [
            ("schema", Some("1".to_owned())),
            ("phase", Some(text(state.phase()))),
            ("running", Some(self.is_running.to_string())),
            ("active", used.map(text)),
            ("slots", Some(json::array(slots))),
            ("candidate_certificate_id", step_certificate.map(text)),
            (
                "active_since",
                state.active_since.map(|since| since.to_string()),
            ),
            ("next_renewal", self.renewal().map(seconds)),
            ("attempts", Some(state.attempts.to_string())),
            ("last_failure", state.last_failure.as_deref().map(text)),
            ("blocked_until", self.blocked_until().map(seconds)),
            ("claim_kept", Some(self.survey.claim.is_some().to_string())),
            ("given_up", Some(state.given_up.to_string())),
            ("trash", Some(self.survey.trash.to_string())),
            ("at_restart", Some(text(&self.at_restart()))),
        ];
        let given = parts.into_iter();
        let given: Vec<(&str, String)> = given
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        json::object_of(&given)
    }
}
