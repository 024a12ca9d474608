//! From settings to a configuration: the files, variables and credentials that they name.

use std::env;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use safe_rt::{ClientTlsOptions, Identity, TlsConfigError, Trust};
use zeroize::Zeroizing;

use super::Config;
use super::build::{self, CloudDraft, Draft, MethodDraft, ProvisionDraft, Surroundings};
use super::error::{ConfigError, ConfigErrors};
use super::faults::Faults;
use super::layers::{CONFIG_BYTES_MAX, Layers};
use super::raw::{At, Placed};
use super::secret::{self, Places, Wanted};
use super::sections::{Cloud, Provision, ProvisionMethod};
use super::settings::Settings;
use super::table::{Key, Section};
use crate::args::{Credentials, Password};

/// A configuration, and digests of what was read for it.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) contents: Vec<(&'static Key, u64)>,
}

/// Reads the configuration at `path`, and what it names. Yields.
pub(super) fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let mut layers = Layers::default();
    layers.file(path, None);
    let Layers {
        settings,
        mut faults,
        is_broken,
        ..
    } = layers;
    if is_broken {
        return Err(faults.into_errors());
    }
    let draft = build::build(&settings, &Surroundings::default(), Some(path), &mut faults);
    let places = Places {
        variable: &|name| env::var_os(name),
        credentials: None,
    };
    match complete(draft, &settings, &places, &mut faults) {
        Some(loaded) if faults.is_empty() => Ok(loaded.config),
        _ => Err(faults.into_errors()),
    }
}

/// Reads what the settings name. Yields.
pub(super) fn complete(
    draft: Draft,
    settings: &Settings,
    places: &Places<'_>,
    faults: &mut Faults,
) -> Option<Loaded> {
    let mut contents = Contents::default();
    let cloud = draft
        .cloud
        .and_then(|cloud| complete_cloud(cloud, places, &mut contents, faults));
    let provision = draft
        .provision
        .map(|provision| complete_provision(provision, places, &mut contents, faults));
    let mut config = Config {
        device: draft.device,
        cloud: cloud?,
        state: draft.state,
        provision,
        queue: draft.queue,
        telemetry: draft.telemetry,
        subscriptions: draft.subscriptions,
        commands: draft.commands,
        schedule: draft.schedule,
        limits: draft.limits,
        metrics: draft.metrics,
        control: draft.control,
        log: draft.log,
    };
    let table = settings.table(Section::Device);
    let setting = table.and_then(|table| table.get("id"));
    if let (Some(id), Some(setting)) = (config.device.id.clone(), setting) {
        let key = setting.key;
        if let Err(error) = config.set_device_id(&id) {
            let found = id.as_str().to_owned();
            faults.note(setting.at, ConfigError::Topic { key, found, error });
        }
    }
    let contents = contents.0;
    Some(Loaded { config, contents })
}

/// Digests of what was read, to see whether it changed.
#[derive(Default)]
struct Contents(Vec<(&'static Key, u64)>);

impl Contents {
    fn note(&mut self, key: &'static Key, bytes: &[u8]) {
        self.0.push((key, digest(bytes)));
    }

    fn note_secret(&mut self, wanted: &Wanted, secret: Option<Password>) -> Option<Password> {
        if let Some(Password(bytes)) = &secret {
            self.note(wanted.key(), bytes);
        }
        secret
    }
}

/// What says whether contents are the same, and nothing else of them outside this process.
fn digest(bytes: &[u8]) -> u64 {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = KEYS.get_or_init(RandomState::new).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Whether a secret is not where it is said to be.
const fn is_missing(error: &ConfigError) -> bool {
    matches!(
        error,
        ConfigError::File { .. }
            | ConfigError::NoCredentials { .. }
            | ConfigError::SecretVariable { .. }
            | ConfigError::EmptySecret { .. }
    )
}

fn complete_cloud(
    cloud: CloudDraft,
    places: &Places<'_>,
    contents: &mut Contents,
    faults: &mut Faults,
) -> Option<Cloud> {
    let password = cloud.password.as_ref().and_then(|wanted| {
        let mark = faults.mark();
        let secret = secret::fetch(wanted, places, faults);
        // MQTT allows an empty one (MQTT3-3.1.3.5), and some services want a token as the user alone.
        faults.only_warn(mark, |error| {
            matches!(error, ConfigError::EmptySecret { .. })
        });
        contents.note_secret(wanted, secret)
    });
    let credentials = cloud.user.map(|user_name| Credentials {
        user_name,
        password,
    });
    let trust = cloud.authority.and_then(|file| {
        let (found, pem) = read("authority", &file, contents, faults)?;
        let checked = Trust::from_pem(&pem).and_then(|trust| {
            // What no configuration can be built of is no use later either.
            ClientTlsOptions::new(trust.clone()).build().map(|_| trust)
        });
        self::checked(checked, "authority", &file.at, found, faults)
    });
    let identity = cloud.identity.as_ref().and_then(|(certificate, key)| {
        let chain = read("certificate", certificate, contents, faults);
        let secret = read("key", key, contents, faults);
        let ((chain_path, chain), (key_path, secret)) = chain.zip(secret)?;
        let identity = Identity::from_pem(&chain, &secret);
        let (name, at, path) = match &identity {
            Err(
                TlsConfigError::ChainPem(_)
                | TlsConfigError::BadCertificate
                | TlsConfigError::LeafNotFirst { .. },
            ) => ("certificate", &certificate.at, chain_path),
            _ => ("key", &key.at, key_path),
        };
        checked(identity, name, at, path, faults)
    });
    let (endpoint, port_is_set) = cloud.endpoint?;
    Some(Cloud {
        endpoint,
        port_is_set,
        profile: cloud.profile,
        credentials,
        trust,
        identity,
        alpn: cloud.alpn,
        keep_alive: cloud.keep_alive,
        clean_start: cloud.clean_start,
        proxy: cloud.proxy,
    })
}

fn complete_provision(
    draft: ProvisionDraft,
    places: &Places<'_>,
    contents: &mut Contents,
    faults: &mut Faults,
) -> Provision {
    let method = match draft.method {
        MethodDraft::Aws {
            template,
            key,
            claim_certificate,
            claim_key,
        } => {
            // These need not be there: once they were used, there is a copy in the state directory.
            ProvisionMethod::Aws {
                template,
                key,
                claim_certificate,
                claim_key,
            }
        }
        MethodDraft::Https {
            url,
            token,
            claim,
            authority,
        } => ProvisionMethod::Https {
            url,
            claim,
            token: token.and_then(|wanted| {
                let mark = faults.mark();
                let secret = secret::fetch(&wanted, places, faults);
                // Once it was used it need not be there, as the files of a claim.
                faults.only_warn(mark, is_missing);
                contents.note_secret(&wanted, secret)
            }),
            authority: authority.map(|file| file.value),
        },
    };
    Provision {
        method,
        parameters: draft.parameters,
        proof_topic: draft.proof_topic,
        renew_from: draft.renew_from,
        renew_until: draft.renew_until,
    }
}

/// Reads a file that the configuration names.
fn read(
    name: &'static str,
    file: &Placed<PathBuf>,
    contents: &mut Contents,
    faults: &mut Faults,
) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
    let path = file.value.clone();
    let key = Key::known(Section::Cloud, name);
    match fiber::fs::read_at_most(&path, CONFIG_BYTES_MAX) {
        Ok(bytes) => {
            contents.note(key, &bytes);
            Some((path, Zeroizing::new(bytes)))
        }
        Err(error) => {
            faults.note(&file.at, ConfigError::File { key, path, error });
            None
        }
    }
}

/// Notes what is wrong with a file for TLS.
fn checked<T>(
    result: Result<T, TlsConfigError>,
    name: &'static str,
    at: &At,
    path: PathBuf,
    faults: &mut Faults,
) -> Option<T> {
    let key = Key::known(Section::Cloud, name);
    result
        .map_err(|error| faults.note(at, ConfigError::Contents { key, path, error }))
        .ok()
}

/// Everything as it is without a setting.
pub(super) fn of_defaults(cloud: Cloud) -> Config {
    let mut faults = Faults::default();
    let around = Surroundings::default();
    let draft = build::build(&Settings::default(), &around, None, &mut faults);
    Config {
        device: draft.device,
        cloud,
        state: draft.state,
        provision: None,
        queue: draft.queue,
        telemetry: None,
        subscriptions: Vec::new(),
        commands: None,
        schedule: None,
        limits: draft.limits,
        metrics: None,
        control: draft.control,
        log: draft.log,
    }
}
