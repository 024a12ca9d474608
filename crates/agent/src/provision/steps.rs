//! From wherever the identity in the making is to its use, a step at a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fiber::fs;
use mqtt::ClientId;
use safe_rt::{ClientTlsOptions, DialOptions, Endpoint, Identity, Utc};
use zeroize::Zeroizing;

use super::aws::Aws;
use super::error::ProvisionError;
use super::https::Https;
use super::proof::{self, ProofError};
use super::{Cloud, HttpsService, KeyOrigin, Method, Options, Progress, believed_now, key};
use crate::identity::{Claim, Held, Loaded, Step, Store};

/// How old what proves to the cloud that a certificate is this device's may be; the certificate is
/// asked for again then, with the same key.
pub const TOKEN_AGE_MAX: Duration = Duration::from_secs(3600);

/// Goes as far as it can get. Yields.
pub(super) fn run(
    store: &Store,
    options: &Options,
    prove: &mut dyn FnMut(&Loaded) -> Result<(), ProofError>,
) -> Result<Loaded, ProvisionError> {
    let device_id = device_id(store, options)?;
    let mut cloud = None;
    let mut has_let_go = false;
    loop {
        match advance(store, options, &device_id, &mut cloud, prove) {
            Ok(None) => {}
            Ok(Some(active)) => return Ok(active),
            // No later attempt would find it otherwise, and each would cost the cloud a certificate.
            // It goes to the trash.
            Err(ProvisionError::Store(error)) if error.is_damage() && !has_let_go => {
                let reason = format!("the identity in the making is damaged: {error}");
                options.tell(&Progress::LetGo { reason });
                store.abandon(&error.to_string())?;
                has_let_go = true;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Goes one step. Returns the identity once it is in use. Yields.
fn advance<'a>(
    store: &Store,
    options: &'a Options,
    device_id: &'a ClientId,
    cloud: &mut Option<Box<dyn Cloud + 'a>>,
    prove: &mut dyn FnMut(&Loaded) -> Result<(), ProofError>,
) -> Result<Option<Loaded>, ProvisionError> {
    let Some(step) = store.state().candidate else {
        begin(store, options, device_id)?;
        return Ok(None);
    };
    match step {
        Step::KeyReady | Step::CsrSent => {
            // One that the disk did not take is not asked for again, and none is that it would not
            // take now.
            if !store.hold_again()? {
                store.asking()?;
                let cloud = connected(cloud, store, options, device_id)?;
                ask(store, options, cloud)?;
            }
        }
        Step::CertHeld {
            certificate_id,
            got_at,
        } => {
            if is_too_old(got_at, believed_now(options)) {
                let certificate_id = &certificate_id;
                options.tell(&Progress::TooLate { certificate_id });
                store.ask_again()?;
            } else {
                let cloud = connected(cloud, store, options, device_id)?;
                register(store, options, cloud, &certificate_id)?;
            }
        }
        Step::Registered { certificate_id } | Step::Proving { certificate_id } => {
            // Two connections of one client identifier would end each other.
            if let Some(cloud) = cloud {
                cloud.leave();
            }
            let candidate = store.prove()?;
            let certificate_id = &certificate_id;
            options.tell(&Progress::Proving { certificate_id });
            if let Err(error) = prove(&candidate) {
                return not_proven(store, options, certificate_id, error);
            }
            let active = store.promote(candidate, believed_now(options))?;
            options.tell(&Progress::InUse { certificate_id });
            return Ok(Some(active));
        }
    }
    Ok(None)
}

/// Notes that a candidate was not proven; one that was refused for long enough gives way to another.
fn not_proven(
    store: &Store,
    options: &Options,
    certificate_id: &str,
    error: ProofError,
) -> Result<Option<Loaded>, ProvisionError> {
    let reason = error.to_string();
    if !error.is_refusal() {
        store.not_proven(&reason)?;
    } else if store.proof_refused(&reason)? {
        let reason = format!(
            "certificate {certificate_id} is refused again and again, another one is asked for: \
             {reason}"
        );
        options.tell(&Progress::LetGo { reason });
        return Ok(None);
    }
    Err(ProvisionError::NotProven(error))
}

/// Who the device is before the cloud has called it something. Yields.
pub(super) fn device_id(store: &Store, options: &Options) -> Result<ClientId, ProvisionError> {
    name_of(store, options.device_id.as_ref())
}

pub(super) fn name_of(
    store: &Store,
    configured: Option<&ClientId>,
) -> Result<ClientId, ProvisionError> {
    if let Some(id) = configured {
        return Ok(id.clone());
    }
    let id = store.device_id()?;
    let id = ClientId::new(id).map_err(mqtt::Error::from)?;
    Ok(id)
}

fn begin(store: &Store, options: &Options, device_id: &ClientId) -> Result<(), ProvisionError> {
    let key = match &options.method {
        Method::Aws { key, .. } => *key,
        Method::Https(_) => KeyOrigin::Device,
    };
    match key {
        KeyOrigin::Cloud => store.begin_without_key()?,
        KeyOrigin::Device => {
            begin_here(store, device_id)?;
            let device_id = device_id.as_str();
            options.tell(&Progress::KeyMade { device_id });
        }
    }
    Ok(())
}

/// Begins with a key that is made here.
pub(super) fn begin_here(store: &Store, device_id: &ClientId) -> Result<(), ProvisionError> {
    let made = key::make(device_id.as_str())?;
    store.begin(made.key.as_bytes(), made.request.as_bytes())?;
    Ok(())
}

fn ask(store: &Store, options: &Options, cloud: &mut dyn Cloud) -> Result<(), ProvisionError> {
    let request = request(store)?;
    let granted = cloud.certificate(request.as_deref())?;
    let certificate_id = &granted.certificate_id;
    options.tell(&Progress::Certified { certificate_id });
    store.hold(&Held {
        chain: granted.chain.as_bytes(),
        key: granted.key.as_ref().map(|key| key.0.as_bytes()),
        certificate_id: &granted.certificate_id,
        token: granted.token.as_ref().map(|token| token.0.as_bytes()),
        got_at: believed_now(options),
    })?;
    Ok(())
}

fn register(
    store: &Store,
    options: &Options,
    cloud: &mut dyn Cloud,
    certificate_id: &str,
) -> Result<(), ProvisionError> {
    let request = request(store)?;
    let token = store.token()?.map(|token| text(&token)).transpose()?;
    let token = token.map(Zeroizing::new);
    let taken = cloud.register(
        certificate_id,
        token.as_ref().map(|token| token.as_str()),
        request.as_deref(),
    );
    match taken {
        Ok(about) => {
            let name = &about.client_id;
            options.tell(&Progress::Registered { name });
            Ok(store.registered(&about)?)
        }
        Err(error) => {
            // Of no use any more: the next attempt begins with the certificate.
            if let ProvisionError::Refused(refusal) = &error
                && refusal.code.contains("OwnershipToken")
            {
                store.ask_again()?;
            }
            Err(error)
        }
    }
}

pub(super) fn request(store: &Store) -> Result<Option<String>, ProvisionError> {
    store.request()?.map(|bytes| text(&bytes)).transpose()
}

fn text(bytes: &[u8]) -> Result<String, ProvisionError> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| ProvisionError::Key("what was kept is no text".to_owned()))
}

/// A clock that went back says nothing about an age.
fn is_too_old(got_at: u64, now: SystemTime) -> bool {
    let got_at = UNIX_EPOCH + Duration::from_secs(got_at);
    now.duration_since(got_at)
        .is_ok_and(|age| age > TOKEN_AGE_MAX)
}

/// The connection of this attempt with the cloud, made when it is needed first.
fn connected<'c, 'a: 'c>(
    cloud: &'c mut Option<Box<dyn Cloud + 'a>>,
    store: &Store,
    options: &'a Options,
    device_id: &'a ClientId,
) -> Result<&'c mut (dyn Cloud + 'a), ProvisionError> {
    if cloud.is_none() {
        *cloud = Some(match &options.method {
            Method::Aws { template, .. } => {
                let dial = if options.endpoint.scheme().is_tls() {
                    dial_options(options, &claim(store, options)?)?
                } else {
                    options.dial.clone()
                };
                let endpoint = &options.endpoint;
                Box::new(Aws::new(options, template, endpoint, dial, device_id))
            }
            Method::Https(service) => Box::new(https(store, options, service, device_id)?),
        });
    }
    cloud
        .as_deref_mut()
        .ok_or(ProvisionError::Silent { what: "connecting" })
}

/// Tells the service, where there is one, that the device gives its identity up. Yields.
pub(super) fn release(store: &Store, options: &Options) -> Result<bool, ProvisionError> {
    let Method::Https(service) = &options.method else {
        return Ok(false);
    };
    let device_id = device_id(store, options)?;
    https(store, options, service, &device_id)?.release()?;
    Ok(true)
}

/// The service, asked by the identity in use where that may renew itself; else by a token or the
/// claim. Yields.
fn https<'a>(
    store: &Store,
    options: &'a Options,
    service: &'a HttpsService,
    device_id: &'a ClientId,
) -> Result<Https<'a>, ProvisionError> {
    // One that has expired, or was refused last time, gives way to what a new device shows.
    let now = believed_now(options);
    let active = store.active().filter(|active| {
        let ends = active.facts().not_after();
        ends.is_none_or(|ends| now < ends) && store.state().attempts.is_multiple_of(2)
    });
    let (identity, renews) = match active {
        Some(active) => (Some(active.identity().clone()), true),
        None if service.token.is_some() => (None, false),
        None => (Some(claim(store, options)?), false),
    };
    Ok(Https::new(options, service, device_id, identity, renews))
}

/// What the device introduces itself with: the files that were named, which are kept, or those kept
/// before. Yields.
fn claim(store: &Store, options: &Options) -> Result<Identity, ProvisionError> {
    let named = named_claim(options).and_then(|claim| {
        let identity = Identity::from_pem(&claim.chain, &claim.key);
        identity
            .map(|identity| (claim, identity))
            .map_err(|error| error.to_string())
    });
    let identity = match named {
        Ok((claim, identity)) => {
            if let Err(error) = store.keep_claim(&claim) {
                log::warn!("the claim certificate is used and not kept: {error}");
            }
            identity
        }
        Err(reason) => {
            let Some(kept) = store.claim() else {
                return Err(ProvisionError::NoClaim { reason });
            };
            options.tell(&Progress::KeptClaim { reason: &reason });
            Identity::from_pem(&kept.chain, &kept.key).map_err(ProvisionError::Tls)?
        }
    };
    let ended = identity.facts().and_then(|facts| facts.not_after());
    if let Some(ended) = ended.filter(|ended| believed_now(options) > *ended) {
        // Some servers take it all the same.
        let ended = Utc(ended).to_string();
        options.tell(&Progress::ClaimExpired { ended });
    }
    Ok(identity)
}

/// The claim in the files that were named; else why there is none. Yields.
pub(super) fn named_claim(options: &Options) -> Result<Claim, String> {
    let Some(files) = &options.claim else {
        return Err("no claim certificate is named".to_owned());
    };
    let read = |path: &std::path::Path| {
        fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    Ok(Claim {
        chain: read(&files.certificate)?,
        key: Zeroizing::new(read(&files.key)?),
    })
}

pub(super) fn dial_options(
    options: &Options,
    identity: &Identity,
) -> Result<DialOptions, ProvisionError> {
    tls(options, identity).map_err(ProvisionError::Tls)
}

fn tls(options: &Options, identity: &Identity) -> Result<DialOptions, safe_rt::TlsConfigError> {
    let mut tls = ClientTlsOptions::new(options.trust.clone())
        .identity(identity.clone())
        .clock_floor(options.floor.clone());
    if !options.alpn.is_empty() {
        tls = tls.alpn(&options.alpn);
    }
    Ok(options.dial.clone().tls(tls.build()?))
}

/// Proves a candidate by a connection of its own. Yields.
pub(super) fn prove_alone(options: &Options, candidate: &Loaded) -> Result<(), ProofError> {
    let about = candidate.about();
    let called = about.map(|about| about.client_id.clone());
    let client_id = match (&options.device_id, called) {
        (Some(id), _) => id.clone(),
        (None, Some(called)) => {
            let id = ClientId::new(&*called);
            id.map_err(|_| ProofError::ClientId(called))?
        }
        (None, None) => return Err(ProofError::ClientId(String::new())),
    };
    let endpoint = about
        .and_then(|about| about.endpoint.as_ref())
        .and_then(|endpoint| endpoint.parse::<Endpoint>().ok())
        .unwrap_or_else(|| options.endpoint.clone());
    let dial = if endpoint.scheme().is_tls() {
        tls(options, candidate.identity()).map_err(ProofError::Tls)?
    } else {
        options.dial.clone()
    };
    proof::alone(&endpoint, &dial, &client_id, &options.proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_an_hour_and_a_clock_that_went_back_does_not_count() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let got_at = 1_795_959_000;
        for (now, expected) in [
            (got_at, false),
            (got_at + 3_600, false),
            (got_at + 3_601, true),
            (got_at - 1, false),
            (0, false),
        ] {
            assert_eq!(is_too_old(got_at, at(now)), expected, "{now}");
        }
    }
}
