//! What `check-config` looks at beyond what a start needs: when certificates end, who may read the
//! files with secrets, what there is of provisioning, whether folders can be written, and what the
//! broker takes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt::session::{Limit, Limited};
use rustix::fs::Access;
use rustix::io::Errno;
use safe_rt::{CertificateFacts, ClientTlsOptions, Identity, TlsConfigError, Trust};
use zeroize::Zeroizing;

use super::error::ConfigError;
use super::faults::{Faults, Layer};
use super::layers::CONFIG_BYTES_MAX;
use super::raw::At;
use super::sections::{Provision, ProvisionMethod};
use super::settings::{Settings, Table};
use super::table::{Key, Section};
use super::value::{Value, spell};
use super::{Config, ProxyChoice};
use crate::identity;
use crate::profile::{Finding, Note, Profile, Trouble, Wanted};

/// A certificate that is valid for less than this, and for less than a third of its life, ends soon.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// The bits of a mode that are of everybody.
const EVERYBODY: u32 = 0o007;
/// The files that hold secrets, by the setting that names them.
const SECRET_FILES: [(Section, &str); 4] = [
    (Section::Cloud, "key"),
    (Section::Cloud, "password_file"),
    (Section::Provision, "token_file"),
    (Section::Provision, "claim_key"),
];

/// Notes what is found of a configuration that could be started with. Yields.
pub(super) fn files(settings: &Settings, config: &Config, faults: &mut Faults) {
    if let Some(identity) = &config.cloud.identity
        && let Some((key, at, path)) = named(settings, Section::Cloud, "certificate")
        && let Some(error) = identity.facts().and_then(|facts| end_of(&facts, key, path))
    {
        note_end(faults, at, error, true);
    }
    for (section, name) in SECRET_FILES {
        if let Some((key, at, path)) = named(settings, section, name)
            // The service manager looks after those.
            && faults.layer(at) != Layer::Credentials
        {
            secret_file(key, at, path, faults);
        }
    }
    if let Some(provision) = &config.provision {
        provisioning(settings, config, provision, faults);
    }
    proxy(settings, config, faults);
    folders(settings, config, faults);
    broker(settings, config, faults);
}

/// A file that a setting names.
fn named<'s>(
    settings: &'s Settings,
    section: Section,
    name: &str,
) -> Option<(&'static Key, &'s At, &'s Path)> {
    let setting = settings.table(section)?.get(name)?;
    match setting.value {
        Value::Path(path) => Some((setting.key, setting.at, path)),
        _ => None,
    }
}

/// What there is to say about when a certificate ends.
fn end_of(facts: &CertificateFacts, key: &'static Key, path: &Path) -> Option<ConfigError> {
    let ended = facts.not_after()?;
    let (now, path) = (fiber::wall_time(), path.to_owned());
    let Ok(left) = ended.duration_since(now) else {
        return Some(ConfigError::Expired { key, path, ended });
    };
    let life = facts
        .not_before()
        .and_then(|from| ended.duration_since(from).ok());
    let soon = life.map_or(SOON, |life| SOON.min(life / 3));
    (left < soon).then_some(ConfigError::EndsSoon { key, path, ended })
}

/// Notes it; `is_used` for a certificate that connections are made with.
fn note_end(faults: &mut Faults, at: &At, error: ConfigError, is_used: bool) {
    match error {
        error @ ConfigError::Expired { .. } if is_used => faults.note(at, error),
        error => faults.warn(at, error),
    }
}

/// Who may read a file with a secret.
fn secret_file(key: &'static Key, at: &At, path: &Path, faults: &mut Faults) {
    let asked = path.to_owned();
    let found = fiber::offload(move || rustix::fs::stat(&asked));
    // One that is not there was told, or need not be.
    let Ok(Ok(stat)) = found else {
        return;
    };
    let (path, mode, owner) = (path.to_owned(), stat.st_mode & 0o777, stat.st_uid);
    if mode & EVERYBODY != 0 {
        faults.note(at, ConfigError::FileReadable { key, path, mode });
    } else if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        faults.warn(at, ConfigError::FileOwner { key, path, owner });
    }
}

/// What the device introduces itself with, and whom it believes then.
fn provisioning(settings: &Settings, config: &Config, provision: &Provision, faults: &mut Faults) {
    let section = Section::Provision;
    match &provision.method {
        ProvisionMethod::Aws { .. } => {
            let has_identity = || matches!(identity::look(&config.state.dir), Ok((_, Some(_))));
            let mut read = |name| {
                let (key, at, path) = named(settings, section, name)?;
                match read(path) {
                    Ok(bytes) => Some((key, at, path, bytes)),
                    // Once there is an identity it is not needed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && has_identity() => None,
                    Err(error) => {
                        let path = path.to_owned();
                        faults.warn(at, ConfigError::File { key, path, error });
                        None
                    }
                }
            };
            let both = read("claim_certificate").zip(read("claim_key"));
            if let Some((certificate, secret)) = both {
                claim(certificate, secret, faults);
            }
        }
        ProvisionMethod::Https { .. } => {
            let Some((key, at, path)) = named(settings, section, "authority") else {
                return;
            };
            let path = path.to_owned();
            let error = match read(&path) {
                Err(error) => ConfigError::File { key, path, error },
                Ok(pem) => match trust(&pem) {
                    Ok(()) => return,
                    Err(error) => ConfigError::Contents { key, path, error },
                },
            };
            faults.note(at, error);
        }
    }
}

type Pem<'a> = (&'static Key, &'a At, &'a Path, Zeroizing<Vec<u8>>);

fn claim(certificate: Pem<'_>, secret: Pem<'_>, faults: &mut Faults) {
    match Identity::from_pem(&certificate.3, &secret.3) {
        Ok(identity) => {
            let (key, at, path, _) = certificate;
            let end = identity.facts().and_then(|facts| end_of(&facts, key, path));
            if let Some(error) = end {
                note_end(faults, at, error, false);
            }
        }
        Err(error) => {
            let (key, at, path, _) = match error {
                TlsConfigError::ChainPem(_)
                | TlsConfigError::BadCertificate
                | TlsConfigError::LeafNotFirst { .. } => certificate,
                _ => secret,
            };
            let path = path.to_owned();
            faults.note(at, ConfigError::Contents { key, path, error });
        }
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    fiber::fs::read_at_most(path, CONFIG_BYTES_MAX).map(Zeroizing::new)
}

fn trust(pem: &[u8]) -> Result<(), TlsConfigError> {
    let trust = Trust::from_pem(pem)?;
    ClientTlsOptions::new(trust).build().map(drop)
}

/// A proxy may have a password in its address.
fn proxy(settings: &Settings, config: &Config, faults: &mut Faults) {
    let ProxyChoice::Proxy(_) = &config.cloud.proxy else {
        return;
    };
    let setting = settings
        .table(Section::Cloud)
        .and_then(|table| table.get("proxy"));
    if let Some(setting) = setting
        && setting.value.has_secret()
        && faults.layer(setting.at) != Layer::Credentials
        && let Some(path) = faults.file(setting.at).map(Path::to_owned)
        && let Ok(mode) = fiber::fs::permissions(path)
        && mode & super::secret::OTHERS != 0
    {
        let key = setting.key;
        faults.note(setting.at, ConfigError::SecretReadable { key, mode });
    }
}

/// Whether what is kept can be.
fn folders(settings: &Settings, config: &Config, faults: &mut Faults) {
    let state = config.state.dir.clone();
    folder(settings, Section::State, "dir", state.clone(), faults);
    let socket = config.control.socket.as_deref().and_then(Path::parent);
    if let Some(beside) = socket.filter(|beside| *beside != state) {
        folder(
            settings,
            Section::Control,
            "socket",
            beside.to_owned(),
            faults,
        );
    }
}

fn folder(settings: &Settings, section: Section, name: &str, path: PathBuf, faults: &mut Faults) {
    let asked = path.clone();
    let Ok(Err(errno)) = fiber::offload(move || may_write(&asked)) else {
        return;
    };
    let (key, error) = (Key::known(section, name), io::Error::from(errno));
    let error = ConfigError::NotWritable { key, path, error };
    let at = settings
        .table(section)
        .and_then(|table| table.value_at(name));
    match at {
        // Nobody can write there.
        Some(at) if errno == Errno::NOTDIR => faults.note(at, error),
        Some(at) => faults.warn(at, error),
        None => faults.warn_whole(error),
    }
}

/// Whether this user may write to a folder, or make it where it is not there.
fn may_write(path: &Path) -> Result<(), Errno> {
    for path in path.ancestors() {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        match rustix::fs::stat(path) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => {
                return rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK);
            }
            Ok(_) => return Err(Errno::NOTDIR),
        }
    }
    Err(Errno::NOENT)
}

/// What the broker would refuse.
fn broker(settings: &Settings, config: &Config, faults: &mut Faults) {
    let profile = Profile::of_config(config);
    for finding in profile.check(&Wanted::of(config)) {
        let (section, name) = place_of(&finding);
        let key = Key::known(section, name);
        let mut tables = settings.tables(section);
        let table: Option<Table<'_>> = tables.nth(finding.index.unwrap_or(0));
        let error = match &finding.trouble {
            Trouble::Beyond(limited) => beyond(key, limited),
            Trouble::Changed(note) => changed(key, note, &profile),
        };
        match table {
            Some(table) => {
                let at = table.value_at(name).unwrap_or_else(|| table.at());
                match finding.is_certain() {
                    true => faults.note(at, error),
                    false => faults.warn(at, error),
                }
            }
            None => faults.warn_whole(error),
        }
    }
}

/// The setting that a finding is about.
fn place_of(finding: &Finding) -> (Section, &'static str) {
    let (section, name) = finding
        .setting
        .split_once('.')
        .unwrap_or((finding.setting, "topic"));
    let section = Section::by_name(section).unwrap_or(Section::Cloud);
    let is_qos =
        matches!(&finding.trouble, Trouble::Beyond(limited) if limited.limit == Limit::QoS);
    match is_qos && Key::find(section, "qos").is_some() {
        true => (section, "qos"),
        false => (section, name),
    }
}

fn beyond(key: &'static Key, limited: &Limited) -> ConfigError {
    let told = limited.to_string();
    let expected = told.strip_prefix("expected ").unwrap_or(&told);
    let (expected, _) = expected.rsplit_once(", found ").unwrap_or((expected, ""));
    let limit = match limited.limit {
        Limit::TopicLevels => Some("topic_levels"),
        Limit::QoS => Some("qos"),
        Limit::FiltersPerSubscribe => Some("filters_per_subscribe"),
        Limit::Subscriptions => Some("subscriptions"),
        _ => None,
    };
    ConfigError::Beyond {
        key,
        expected: expected.to_owned(),
        found: limited.found.to_string(),
        help: match limit {
            Some(limit) => format!(
                "change it, or write {limit} = {} in [limits] if this broker takes it",
                limited.found
            ),
            None => "change it, or choose another `profile` in [cloud]".to_owned(),
        },
    }
}

fn changed(key: &'static Key, note: &Note, profile: &Profile) -> ConfigError {
    let Note::KeepAlive {
        asked,
        used,
        provider,
        evidence,
    } = note;
    let range = profile
        .limits()
        .keep_alive
        .map_or_else(String::new, |(shortest, longest)| {
            format!("{} to {}", spell(shortest), spell(longest))
        });
    let expected = match evidence {
        crate::profile::Evidence::Unverified => {
            format!("assumed here: {range}, because endpoint profile is `{provider}`")
        }
        _ => format!("allowed here: {range}, because endpoint profile is `{provider}`"),
    };
    ConfigError::Beyond {
        key,
        expected,
        found: spell(*asked),
        help: format!(
            "write {} = \"{}\", which is used in its place",
            key.name,
            spell(*used)
        ),
    }
}
