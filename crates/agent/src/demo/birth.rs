//! How the device gets its identity: it finds one, or asks the cloud for one and tells of each step.

use std::path::Path;
use std::time::Duration;

use safe_rt::{BackoffOptions, Identity};

use super::error::DemoError;
use super::told::Told;
use super::wire::Line;
use crate::config::{Config, ProvisionMethod};
use crate::identity::Store;
use crate::provision::{self, ClaimFiles, Method};

/// How long a new identity must hold a connection before it is used: short, so that there is something
/// to see.
const UP_FOR: Duration = Duration::from_millis(300);
/// Time between two looks at how far the device has come.
const LOOK_PACE: Duration = Duration::from_millis(1);

/// Returns the identity that is kept in `folder`, or gets one by what the configuration says. Yields.
pub(super) fn identity(folder: &Path, config: &Config, told: &Told) -> Result<Identity, DemoError> {
    let store = Store::open(folder)?;
    let say = |text: String| told.say(Line::Identity(text));
    if let Some(own) = store.active() {
        say(format!("has its identity, slot {}", own.slot().as_str()));
        return Ok(own.identity().clone());
    }
    say("no identity: provisions itself by its claim".to_owned());
    let options = options(config)?;
    let own = fiber::scope(|scope| {
        scope.spawn(|| {
            let mut last = "";
            loop {
                let phase = store.state().phase();
                if phase != last
                    && let Some(text) = in_words(phase)
                {
                    say(text.to_owned());
                }
                last = phase;
                if fiber::sleep(LOOK_PACE).is_err() {
                    return Ok(());
                }
            }
        })?;
        let own = provision::ensure_identity(&store, &options)?;
        scope.cancel();
        Ok::<_, DemoError>(own)
    })?;
    let slot = own.slot().as_str();
    say(format!("identity proven, in use from slot {slot}"));
    Ok(own.identity().clone())
}

/// What a phase means; nothing for what goes by too quickly.
fn in_words(phase: &str) -> Option<&'static str> {
    match phase {
        "CsrSent" => Some("made its private key, asks the cloud to certify it (CSR)"),
        "CertHeld" => Some("has a certificate, asks to be registered"),
        "Registered" => Some("is registered"),
        "Proving" => Some("tries its new identity out"),
        _ => None,
    }
}

/// What the configuration says of provisioning.
fn options(config: &Config) -> Result<provision::Options, DemoError> {
    let missing = DemoError::Delivery;
    let how = config
        .provision
        .as_ref()
        .ok_or_else(|| missing("no [provision]"))?;
    let ProvisionMethod::Aws {
        template,
        key,
        claim_certificate,
        claim_key,
    } = &how.method
    else {
        return Err(missing("no claim certificate"));
    };
    let method = Method::Aws {
        template: template.clone(),
        key: *key,
    };
    let cloud = &config.cloud;
    let mut options = provision::Options::new(cloud.endpoint.clone(), method);
    options.trust = cloud.trust.clone().ok_or_else(|| missing("no authority"))?;
    options.alpn = cloud.alpn.clone().unwrap_or_default();
    options.device_id.clone_from(&config.device.id);
    options.parameters.clone_from(&how.parameters);
    options.claim = Some(ClaimFiles {
        certificate: claim_certificate.clone(),
        key: claim_key.clone(),
    });
    options.backoff = BackoffOptions::new()
        .base(Duration::from_millis(200))
        .floor(Duration::from_millis(10));
    options.proof.up_for = UP_FOR;
    Ok(options)
}
