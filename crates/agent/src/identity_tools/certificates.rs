//! `agent cert show`: the certificates of the device, and what each says of itself.

use std::path::Path;
use std::time::SystemTime;

use fiber::fs;
use safe_rt::{CertificateFacts, Utc};
use serde_json::Value;

use super::error::ToolError;
use super::{believed_now, renew};
use crate::config::Config;
use crate::exit::Exit;
use crate::identity::{About, Contents, Slot, Survey};
use crate::{json, out, provision};

/// A certificate that the device has.
pub(super) struct Shown {
    /// `device` or `claim`.
    kind: &'static str,
    /// What it is for now, in words.
    state: &'static str,
    slot: Option<Slot>,
    pub(super) facts: CertificateFacts,
    about: Option<About>,
    /// When it is renewed, if that is known.
    renewal: Option<SystemTime>,
}

impl Shown {
    fn new(kind: &'static str, state: &'static str, facts: CertificateFacts) -> Self {
        Self {
            kind,
            state,
            slot: None,
            facts,
            about: None,
            renewal: None,
        }
    }

    /// Seconds until it ends, negative after that.
    fn left(&self, now: SystemTime) -> Option<i64> {
        let ends = self.facts.not_after()?;
        let seconds = |from: SystemTime, to: SystemTime| {
            let length = to.duration_since(from).ok()?;
            i64::try_from(length.as_secs()).ok()
        };
        seconds(now, ends).or_else(|| seconds(ends, now).map(|since| -since))
    }
}

pub(super) fn show(config: &Config, as_json: bool) -> Result<Exit, ToolError> {
    let survey = Survey::of(&config.state.dir)?;
    let now = believed_now(&survey.state);
    let shown = all(config, &survey);
    if shown.is_empty() {
        return Err(ToolError::NoIdentity);
    }
    if as_json {
        let certificates = json::array(shown.iter().map(|shown| to_json(shown, now)));
        let parts = [("schema", "1".to_owned()), ("certificates", certificates)];
        out::text(&format!("{}\n", json::object_of(&parts)))?;
    } else {
        let texts: Vec<String> = shown.iter().map(|shown| to_text(shown, now)).collect();
        out::text(&texts.join("\n"))?;
    }
    Ok(Exit::Done)
}

/// All of them, the one in use first.
pub(super) fn all(config: &Config, survey: &Survey) -> Vec<Shown> {
    let mut all = Vec::new();
    let configured = config.cloud.identity.as_ref();
    if let Some(facts) = configured.and_then(|identity| identity.facts()) {
        let mut shown = Shown::new("device", "in use, named in the configuration", facts);
        shown.renewal = renew::due_of(&shown.facts, "", config);
        all.push(shown);
    }
    let used = survey.active.as_ref().map(|active| active.slot());
    let mut slots: Vec<&(Slot, Contents)> = survey.slots.iter().collect();
    slots.sort_by_key(|(slot, _)| used != Some(*slot));
    for (slot, contents) in slots {
        let Contents::Whole(loaded) = contents else {
            continue;
        };
        let is_candidate = survey.state.candidate.is_some();
        let state = match used == Some(*slot) {
            true if configured.is_some() => "not in use: the configuration names another",
            true => "in use",
            false if is_candidate && survey.state.candidate_slot() == *slot => "in the making",
            false if loaded.is_proven() => "in use before",
            false => "not in use",
        };
        let mut shown = Shown::new("device", state, loaded.facts().clone());
        shown.slot = Some(*slot);
        shown.about = loaded.about().cloned();
        if used == Some(*slot) {
            let device = shown.about.as_ref().map_or("", |about| &about.client_id);
            shown.renewal = renew::due_of(&shown.facts, device, config);
        }
        all.push(shown);
    }
    let named = named_claim(config);
    let kept = survey.claim.clone();
    if let Some(facts) = &named {
        all.push(Shown::new(
            "claim",
            "named in the configuration",
            facts.clone(),
        ));
    }
    if let Some(facts) = kept.filter(|kept| named.as_ref() != Some(kept)) {
        all.push(Shown::new("claim", "kept in the state directory", facts));
    }
    all
}

/// What the claim that the configuration names says of itself.
fn named_claim(config: &Config) -> Option<CertificateFacts> {
    let options = provision::options_of(config).ok().flatten()?;
    let files = options.claim?;
    let read = |path: &Path| fs::read(path).ok();
    CertificateFacts::of_pem(&read(&files.certificate)?).ok()
}

fn to_text(shown: &Shown, now: SystemTime) -> String {
    let slot = shown.slot.map(|slot| format!(", slot {slot}"));
    let mut text = format!(
        "{}{}: {}\n",
        shown.kind,
        slot.unwrap_or_default(),
        shown.state
    );
    let mut line = |name: &str, value: &str| {
        text += &format!("  {name:<12} {value}\n");
    };
    let facts = &shown.facts;
    line("subject", facts.subject());
    line("issuer", facts.issuer());
    line("serial", facts.serial());
    let time = |time: Option<SystemTime>| {
        time.map_or_else(|| "unknown".to_owned(), |at| Utc(at).to_string())
    };
    line("valid from", &time(facts.not_before()));
    let left = match shown.left(now) {
        Some(left @ 0..) => format!(", {} days left", left / 86_400),
        Some(left) => format!(", expired {} days ago", -left / 86_400),
        None => String::new(),
    };
    line("valid until", &format!("{}{left}", time(facts.not_after())));
    if let Some(at) = shown.renewal {
        line(
            "renewal",
            &format!("{}, {}", Utc(at), super::until(at, now)),
        );
    }
    line("sha-256", &facts.sha256());
    if let Some(about) = &shown.about {
        line("client id", &about.client_id);
        line("certificate", &about.certificate_id);
    }
    text
}

fn to_json(shown: &Shown, now: SystemTime) -> String {
    let seconds = |time: Option<SystemTime>| time.map(|time| Value::from(unix_seconds(time)));
    let facts = &shown.facts;
    let about = shown.about.as_ref();
    let text = |text: &str| Some(Value::from(text));
    let parts = [
        ("kind", text(shown.kind)),
        ("state", text(shown.state)),
        ("slot", shown.slot.and_then(|slot| text(slot.as_str()))),
        ("subject", text(facts.subject())),
        ("issuer", text(facts.issuer())),
        ("serial", text(facts.serial())),
        ("not_before", seconds(facts.not_before())),
        ("not_after", seconds(facts.not_after())),
        (
            "days_left",
            shown.left(now).map(|left| left.div_euclid(86_400).into()),
        ),
        ("renewal", seconds(shown.renewal)),
        ("sha256", text(&facts.sha256())),
        ("client_id", about.and_then(|about| text(&about.client_id))),
        (
            "certificate_id",
            about.and_then(|about| text(&about.certificate_id)),
        ),
    ];
    let given = parts.into_iter();
    let given: Vec<(&str, Value)> = given
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    json::object(&given)
}

/// Seconds of Unix time.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
