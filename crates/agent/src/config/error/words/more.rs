//! What is said about secrets, files, provisioning, and what does not fit together.

use super::Words;
use crate::config::error::ConfigError as E;
use crate::config::layers::CONFIG_FILES_MAX;
use crate::config::table::{Key, Section, either, meant};

pub(super) fn words(error: &E) -> Words {
    let (what, expected, found, help) = match error {
        E::SeveralSecrets(keys) => (
            format!(
                "there is more than one {} in {}",
                secret(keys[0]),
                keys[0].section
            ),
            format!("one of {}", sources(keys[0].section)),
            keys.iter()
                .map(|key| key.name)
                .collect::<Vec<_>>()
                .join(", "),
            format!("keep one of them, {} for example", keys[0].name),
        ),
        E::PasswordWithoutUser(key) => (
            format!("{key} needs a user"),
            "`user` beside it: MQTT has no password without a user name".to_owned(),
            "none".to_owned(),
            "add user = \"meter-17\"".to_owned(),
        ),
        E::SecretReadable { key, mode } => (
            format!("{key} stands in a file that others may read"),
            "a file that its owner alone may read (mode 600)".to_owned(),
            format!("mode {mode:o}"),
            format!(
                "run chmod 600 on it, or move the {0} to a file and write {0}_file",
                secret(key)
            ),
        ),
        E::SecretVariable { key, name } => (
            format!("{key} names a variable that is not set"),
            format!("{} in the environment of the agent", name),
            "no such variable".to_owned(),
            format!(
                "set {} where the agent is started, or write {}_file",
                name,
                secret(key)
            ),
        ),
        E::HalfIdentity { given, missing } => (
            format!("{given} is of no use alone"),
            format!("`{}` beside it", missing.name),
            "none".to_owned(),
            format!("add {}", missing.example()),
        ),
        E::TlsForPlain(key) => (
            format!("{key} is for TLS, and the endpoint is plain text"),
            "an endpoint that begins with mqtts:// or wss://".to_owned(),
            "one that begins otherwise".to_owned(),
            format!(
                "write mqtts:// or wss:// in `endpoint`, or remove `{}`",
                key.name
            ),
        ),
        E::File { key, path, error } => (
            format!("{key} names a file that cannot be read"),
            format!("a file that this user may read at {}", path.display()),
            error.to_string(),
            "check the path, which is looked for beside the file that says it, and for a variable or an option in the working directory; and who may read it".to_owned(),
        ),
        E::Choice { key, found, words } => {
            let meant = meant_word(found, words);
            (
                format!("{key} is not valid"),
                key.kind.allowed(),
                format!("{found:?}"),
                match meant {
                    Some(word) => format!("write {} = \"{word}\"", key.name),
                    None => format!("write for example {}", key.example()),
                },
            )
        }
        E::Url { key } => (
            format!("{key} is no address of a service"),
            "https://HOST, with :PORT and /PATH as needed and without a user or what follows ? or #".to_owned(),
            "another text".to_owned(),
            format!("write for example {}", key.example()),
        ),
        E::Proxy(error) => (
            "`proxy` in [cloud] is no address of a proxy".to_owned(),
            "http://HOST:PORT, with USER:PASSWORD@ before HOST where it asks for them".to_owned(),
            error.clone(),
            "write for example proxy = \"http://proxy.example:3128\"".to_owned(),
        ),
        E::CredentialName(key) => (
            format!("{key} is no name of a credential"),
            "a name as in LoadCredential=NAME:PATH of the unit, without a slash".to_owned(),
            "another text".to_owned(),
            format!("write for example {}", key.example()),
        ),
        E::NoCredentials { key, name } => (
            format!("{key} names a credential that is not there"),
            format!("{name:?} among the credentials of the unit"),
            "CREDENTIALS_DIRECTORY is not set: no credentials".to_owned(),
            format!(
                "add LoadCredential={name}:PATH to the unit, or write {}_file",
                secret(key)
            ),
        ),
        E::ProvisionNeeds { key, method } => (
            format!("{key} is missing"),
            format!("a line that sets it: method = \"{method}\" needs it"),
            "none".to_owned(),
            format!("add {}", key.example()),
        ),
        E::ProvisionForeign { key, method } => (
            format!("{key} is of no use with method = \"{method}\""),
            "keys of that method alone".to_owned(),
            key.name.to_owned(),
            format!("remove `{}`, or write the other method", key.name),
        ),
        E::RenewOrder { from, until } => (
            "`renew_until` in [provision] is before `renew_from`".to_owned(),
            format!("{from}% or more"),
            format!("{until}%"),
            format!("write renew_until = \"{}%\"", (from + 20).min(99)),
        ),
        E::Twice { key, found } => (
            format!("{key} is there twice with one value in one file"),
            "a value of its own for each".to_owned(),
            format!("{found:?} again"),
            format!("remove one of the two tables {}", key.section),
        ),
        E::OnlyInFiles(section) => (
            format!("{section} can be set in files alone"),
            "a setting of a table that is there once".to_owned(),
            format!("one of {section}"),
            format!("write {section} in a file, such as one in /etc/agent/conf.d"),
        ),
        E::ManyFiles(found) => (
            "there are too many files in a folder of the configuration".to_owned(),
            format!("at most {CONFIG_FILES_MAX}"),
            found.to_string(),
            "put them together".to_owned(),
        ),
        E::SecretInline(key) => (
            format!("{key} stands in the configuration itself"),
            "a secret in a file of its own, which is not copied with the rest".to_owned(),
            "one in this file".to_owned(),
            format!(
                "move it to a file and write {}_file, or use `credential`",
                secret(key)
            ),
        ),
        E::SecretInFlag(key) => (
            format!("{key} cannot be set on the command line"),
            "a secret where not everybody can read it, as they can the command line".to_owned(),
            "one after --set".to_owned(),
            format!(
                "write {}_file or {}_env, or set it in a file",
                secret(key),
                secret(key)
            ),
        ),
        E::EmptyList(key) => (
            format!("{key} is empty"),
            "at least one text in the list".to_owned(),
            "[]".to_owned(),
            format!("write for example {}", key.example()),
        ),
        E::Contents { key, path, error } => (
            format!("{key} names a file that does not hold what it should"),
            match key.name {
                "authority" => "certificates of authorities, as PEM",
                "certificate" => "the device's certificate, as PEM",
                "claim_certificate" => "the claim certificate, as PEM",
                _ => "the certificate's private key, as PEM and without a password",
            }
            .to_owned(),
            format!("in {}: {error}", path.display()),
            format!("check that {} is the right file", path.display()),
        ),
        // Only what is told about above comes here with these words: a test tells every fault.
        _ => (
            "the configuration is faulty".to_owned(),
            "another one".to_owned(),
            "this".to_owned(),
            format!("run agent explain {}", error.code()),
        ),
    };
    Words {
        what,
        expected,
        found,
        help,
    }
}

/// What the secrets of a table are called.
const fn secret(key: &Key) -> &'static str {
    match key.section {
        Section::Provision => "token",
        _ => "password",
    }
}

/// The keys that a secret can come from.
fn sources(section: Section) -> String {
    let keys = crate::config::secret::SOURCES.map(|source| source.name(section));
    either(&keys)
}
/// The word that was probably meant.
fn meant_word(found: &str, words: &[&'static str]) -> Option<&'static str> {
    let spelled: Vec<String> = words.iter().map(|word| word.replace('-', "_")).collect();
    let found = found.replace([' ', '-'], "_");
    let at = spelled
        .iter()
        .position(|word| word.eq_ignore_ascii_case(&found));
    at.map(|at| words[at])
        .or_else(|| meant(&found, words.iter().copied()))
}
