//! From settings to what the agent uses: the files and variables that the configuration names.

use std::env;
use std::path::{Path, PathBuf};

use safe_rt::{ClientTls, ClientTlsOptions, Identity, TlsConfigError, Trust};
use zeroize::Zeroizing;

use super::error::{ConfigError, ConfigErrors, Problem};
use super::keys::{Key, Section};
use super::parse::{self, CloudDraft, PasswordSource};
use super::reader::{Faults, Placed, place};
use super::{Cloud, Config};
use crate::args::{Credentials, Password};

/// What may be set of a file's permissions if a password stands in it: nothing but its owner's.
const OTHERS: u32 = 0o077;

/// Reads the configuration at `path`, and what it names. Yields.
pub(super) fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let whole = |error| {
        let place = None;
        ConfigErrors::new(path, vec![Problem { place, error }])
    };
    let bytes = fiber::fs::read(path).map_err(|error| whole(ConfigError::Unreadable(error)))?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let problem = Problem {
                place: Some(place(&bytes, error.valid_up_to())),
                error: ConfigError::NotText,
            };
            return Err(ConfigErrors::new(path, vec![problem]));
        }
    };
    let mut faults = Faults::new(text);
    let draft = parse::parse(text, &mut faults);
    let credentials = credentials(&draft.cloud, path, &mut faults);
    let tls = tls(&draft.cloud, path, &mut faults);
    match (draft.device_id, &draft.cloud.endpoint) {
        (Some(device_id), Some(endpoint)) if faults.is_empty() => Ok(Config {
            device_id,
            cloud: Cloud {
                endpoint: endpoint.clone(),
                credentials,
                tls,
                keep_alive: draft.cloud.keep_alive(),
                clean_start: draft.cloud.clean_start,
            },
            telemetry: draft.telemetry,
            subscriptions: draft.subscriptions,
        }),
        _ => Err(ConfigErrors::new(path, faults.into_problems())),
    }
}

const fn key(name: &'static str) -> Key {
    Key::new(Section::Cloud, name)
}

fn credentials(cloud: &CloudDraft, path: &Path, faults: &mut Faults<'_>) -> Option<Credentials> {
    let password = cloud
        .password
        .as_ref()
        .and_then(|source| password(source, path, faults));
    Some(Credentials {
        user_name: cloud.user.clone()?,
        password,
    })
}

/// Fetches the password.
fn password(
    source: &Placed<PasswordSource>,
    path: &Path,
    faults: &mut Faults<'_>,
) -> Option<Password> {
    match &source.value {
        PasswordSource::File(file) => {
            let file = Placed {
                value: file.clone(),
                at: source.at,
            };
            let (_, mut bytes) = read("password_file", &file, path, faults)?;
            // Editors end the last line; the password does not.
            for end in [b'\n', b'\r'] {
                if bytes.last() == Some(&end) {
                    bytes.pop();
                }
            }
            Some(Password(bytes))
        }
        PasswordSource::Variable(name) => match variable(name) {
            Some(value) => Some(Password(value)),
            None => {
                faults.note_at(source.at, ConfigError::PasswordVariable(name.clone()));
                None
            }
        },
        PasswordSource::Inline(password) => {
            match fiber::fs::permissions(path) {
                Ok(mode) if mode & OTHERS == 0 => {}
                Ok(mode) => faults.note_at(source.at, ConfigError::PasswordReadable(mode)),
                // Read a moment ago and gone now: as unreadable as it can be.
                Err(error) => faults.note(ConfigError::Unreadable(error)),
            }
            Some(password.clone())
        }
    }
}

/// A variable of the environment; a name that none can have is not set.
fn variable(name: &str) -> Option<Vec<u8>> {
    let possible = !name.is_empty() && !name.contains(['=', '\0']);
    let value = possible.then(|| env::var_os(name))??;
    Some(value.into_encoded_bytes())
}

/// Reads a file that the configuration at `config` names.
fn read(
    name: &'static str,
    file: &Placed<PathBuf>,
    config: &Path,
    faults: &mut Faults<'_>,
) -> Option<(PathBuf, Vec<u8>)> {
    let beside = config.parent().unwrap_or_else(|| Path::new(""));
    let path = beside.join(&file.value);
    match fiber::fs::read(&path) {
        Ok(bytes) => Some((path, bytes)),
        Err(error) => {
            let key = key(name);
            faults.note_at(file.at, ConfigError::File { key, path, error });
            None
        }
    }
}

/// Builds the TLS configuration, if there is to be TLS and everything for it is in order.
fn tls(cloud: &CloudDraft, path: &Path, faults: &mut Faults<'_>) -> Option<ClientTls> {
    let authority = cloud.authority.as_ref();
    let trust = authority.and_then(|file| {
        let (found, pem) = read("authority", file, path, faults)?;
        let trust = Trust::from_pem(&pem);
        checked(trust, "authority", file.at, found, faults)
    });
    let identity = cloud.identity.as_ref().and_then(|(certificate, key)| {
        let chain = read("certificate", certificate, path, faults);
        let secret =
            read("key", key, path, faults).map(|(path, secret)| (path, Zeroizing::new(secret)));
        let ((chain_path, chain), (key_path, secret)) = chain.zip(secret)?;
        let identity = Identity::from_pem(&chain, &secret);
        let (name, at, path) = match &identity {
            Err(
                TlsConfigError::ChainPem(_)
                | TlsConfigError::BadCertificate
                | TlsConfigError::LeafNotFirst { .. },
            ) => ("certificate", certificate.at, chain_path),
            _ => ("key", key.at, key_path),
        };
        checked(identity, name, at, path, faults)
    });
    let authority = authority?;
    let mut options = ClientTlsOptions::new(trust?);
    if let Some(identity) = identity {
        options = options.identity(identity);
    }
    if !cloud.alpn.is_empty() {
        options = options.alpn(&cloud.alpn);
    }
    let path = authority.value.clone();
    checked(options.build(), "authority", authority.at, path, faults)
}

/// Notes what is wrong with a file for TLS.
fn checked<T>(
    result: Result<T, TlsConfigError>,
    name: &'static str,
    at: usize,
    path: PathBuf,
    faults: &mut Faults<'_>,
) -> Option<T> {
    let key = key(name);
    let note = |error| faults.note_at(at, ConfigError::Contents { key, path, error });
    result.map_err(note).ok()
}
