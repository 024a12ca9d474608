//! `proxy`: whether the proxy connects on to the broker.

use safe_rt::{Endpoint, Phase, ProxyEnvironment, Scheme};

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::explain;

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let endpoint = setup.endpoint();
    let Some(proxy) = setup.proxy() else {
        return match ProxyEnvironment::from_env().proxy_for(endpoint) {
            Ok(Some(found)) => {
                Finding::note("the environment names a proxy, and the agent is to use none")
                    .evidence(format!("{found}"))
                    .remedy("Set `proxy` in `[cloud]` if this network lets nothing else out.")
            }
            Ok(None) | Err(_) => Finding::skip("there is none"),
        };
    };
    // Without TLS: what the proxy says comes before that.
    let plain = match Endpoint::new(Scheme::Mqtt, &endpoint.authority()) {
        Ok(plain) => plain,
        Err(error) => return Finding::skip(format!("not for this endpoint: {error}")),
    };
    let mut took = None;
    let dialled = safe_rt::dial_traced(&plain, &setup.dial_plain(), |step| {
        if step.phase() == Phase::Proxy {
            took = Some(step.took());
        }
    });
    match dialled {
        Ok(_) => {
            let millis = took.unwrap_or_default().as_millis();
            Finding::ok(format!(
                "{proxy} connects on to {} after {millis} ms",
                plain.authority()
            ))
        }
        Err(error) => Finding::fail_by(explain::code_of_dial(&error))
            .evidence(error.to_string())
            .maybe_remedy(error.remedy()),
    }
}
