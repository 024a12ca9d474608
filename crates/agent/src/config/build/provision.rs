//! `[provision]`: which settings belong to which contract.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mqtt::topic::TopicName;

use super::{Reader, path, percent, text};
use crate::config::error::ConfigError;
use crate::config::raw::Placed;
use crate::config::secret::{self, Wanted};
use crate::config::sections::KeyOrigin;
use crate::config::settings::Table;
use crate::config::table::{Key, Section};
use crate::config::value::Value;

const AWS: [&str; 2] = ["template", "key"];
const HTTPS: [&str; 6] = [
    "url",
    "token_file",
    "token_env",
    "credential",
    "token",
    "authority",
];

/// What the settings say of provisioning.
pub(in crate::config) struct ProvisionDraft {
    pub(in crate::config) method: MethodDraft,
    pub(in crate::config) parameters: BTreeMap<String, String>,
    pub(in crate::config) proof_topic: Option<TopicName>,
    pub(in crate::config) renew_from: u8,
    pub(in crate::config) renew_until: u8,
}

/// By which contract.
pub(in crate::config) enum MethodDraft {
    Aws {
        template: String,
        key: KeyOrigin,
        claim_certificate: PathBuf,
        claim_key: PathBuf,
    },
    Https {
        url: String,
        token: Option<Wanted>,
        claim: Option<(PathBuf, PathBuf)>,
        authority: Option<Placed<PathBuf>>,
    },
}

pub(super) fn provision(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<ProvisionDraft> {
    let section = Section::Provision;
    let given = Some(table);
    let renew_from = percent(given, section, "renew_from")?;
    let renew_until = percent(given, section, "renew_until")?;
    if renew_until < renew_from {
        let at = table
            .value_at("renew_until")
            .or_else(|| table.value_at("renew_from"));
        let error = ConfigError::RenewOrder {
            from: renew_from,
            until: renew_until,
        };
        reader.faults.note(at.unwrap_or_else(|| table.at()), error);
    }
    let parameters = match table.get("parameters").map(|setting| setting.value) {
        Some(Value::Map(map)) => map.clone(),
        _ => BTreeMap::new(),
    };
    reader.require(table, "method");
    let method = match text(given, section, "method")?.as_str() {
        "aws" => aws(table, reader),
        _ => https(table, reader),
    };
    Some(ProvisionDraft {
        method: method?,
        parameters,
        proof_topic: match super::value(given, section, "proof_topic") {
            Some(Value::Topic(topic)) => Some(topic),
            _ => None,
        },
        renew_from,
        renew_until,
    })
}

fn aws(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<MethodDraft> {
    let section = Section::Provision;
    let given = Some(table);
    check(
        table,
        "aws",
        &["template", "claim_certificate", "claim_key"],
        &HTTPS,
        reader,
    );
    Some(MethodDraft::Aws {
        template: text(given, section, "template")?,
        key: match text(given, section, "key")?.as_str() {
            "cloud" => KeyOrigin::Cloud,
            _ => KeyOrigin::Device,
        },
        claim_certificate: path(given, section, "claim_certificate")?,
        claim_key: path(given, section, "claim_key")?,
    })
}

fn https(table: &Table<'_>, reader: &mut Reader<'_>) -> Option<MethodDraft> {
    // A claim has both parts, or there is none.
    let claim = ["claim_certificate", "claim_key"];
    let has_claim = claim.iter().any(|name| table.get(name).is_some());
    let needed: &[&str] = match has_claim {
        true => &["url", "claim_certificate", "claim_key"],
        false => &["url"],
    };
    check(table, "https", needed, &AWS, reader);
    let [certificate, key] = claim.map(|name| path(Some(table), Section::Provision, name));
    let authority = table
        .get("authority")
        .and_then(|setting| match setting.value {
            Value::Path(path) => Some(Placed {
                value: path.clone(),
                at: setting.at.clone(),
            }),
            _ => None,
        });
    Some(MethodDraft::Https {
        token: secret::wanted(table, reader.faults),
        claim: certificate.zip(key),
        url: text(Some(table), Section::Provision, "url")?,
        authority,
    })
}

/// Notes what a way needs and does not have, and what it has and cannot use.
fn check(
    table: &Table<'_>,
    method: &'static str,
    needed: &[&str],
    foreign: &[&str],
    reader: &mut Reader<'_>,
) {
    for name in needed {
        if table.name_at(name).is_none() {
            let key = Key::known(Section::Provision, name);
            reader
                .faults
                .note(table.at(), ConfigError::ProvisionNeeds { key, method });
        }
    }
    for name in foreign {
        // What a layer below that of the method says is of another one.
        if let Some(at) = table.name_at(name)
            && !reader.is_below(table, name, "method")
        {
            let key = Key::known(Section::Provision, name);
            reader
                .faults
                .note(at, ConfigError::ProvisionForeign { key, method });
        }
    }
}
