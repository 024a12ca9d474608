//! From a configuration to how an identity is got.

use safe_rt::{DialOptions, Trust};

use super::{ClaimFiles, HttpsService, Method, Options, ProvisionError};
use crate::config::{Config, ProvisionMethod, ProxyChoice};
use crate::failure::Failure;
use crate::profile::{Overrides, Profile};

/// Returns how the device gets its identity, if the configuration says so. Yields while files are
/// read.
///
/// # Errors
///
/// [`Failure::Provision`] for authorities or an address that cannot be used.
pub(crate) fn options_of(config: &Config) -> Result<Option<Options>, Failure> {
    let Some(provision) = &config.provision else {
        return Ok(None);
    };
    let failure = |error: ProvisionError| Failure::Provision(error.to_string());
    let cloud = &config.cloud;
    let (method, claim) = match &provision.method {
        ProvisionMethod::Aws {
            template,
            key,
            claim_certificate,
            claim_key,
        } => {
            let claim = ClaimFiles {
                certificate: claim_certificate.clone(),
                key: claim_key.clone(),
            };
            let template = template.clone();
            (
                Method::Aws {
                    template,
                    key: *key,
                },
                Some(claim),
            )
        }
        ProvisionMethod::Https {
            url,
            token,
            claim,
            authority,
        } => {
            let trust = match authority {
                Some(path) => Trust::from_file(path),
                None => Ok(Trust::system()),
            };
            let trust = trust.map_err(|error| failure(ProvisionError::Tls(error)))?;
            let service = HttpsService::new(url, trust).ok_or_else(|| {
                failure(ProvisionError::NoClaim {
                    reason: format!("{url} is no address of a service: expected https://HOST/PATH"),
                })
            })?;
            let claim = claim
                .clone()
                .map(|(certificate, key)| ClaimFiles { certificate, key });
            (Method::Https(service.token(token.clone())), claim)
        }
    };
    let mut options = Options::new(cloud.endpoint.clone(), method);
    options.claim = claim;
    options.parameters = provision.parameters.clone();
    options.device_id = config.device.id.clone();
    if let Some(topic) = &provision.proof_topic {
        options.proof.topic = topic.as_str().to_owned();
    }
    options.renew_from = provision.renew_from;
    options.renew_until = provision.renew_until;
    if let Some(trust) = &cloud.trust {
        options.trust = trust.clone();
    }
    options.alpn = match &cloud.alpn {
        Some(alpn) => alpn.clone(),
        None => {
            let profile = Profile::of(&cloud.endpoint, None, Overrides::default());
            let alpn = profile.alpn(&cloud.endpoint, true);
            alpn.map(str::to_owned).into_iter().collect()
        }
    };
    options.dial = match &cloud.proxy {
        ProxyChoice::None => DialOptions::new(),
        ProxyChoice::Environment => DialOptions::new().proxy_from_env(),
        ProxyChoice::Proxy(proxy) => DialOptions::new().proxy(proxy.clone()),
    };
    Ok(Some(options))
}
