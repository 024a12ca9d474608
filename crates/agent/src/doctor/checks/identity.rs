//! `identity`: the device's certificate and its dates.

use std::time::Duration;

use safe_rt::Utc;

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::profile::Provider;

/// How long before its end a certificate is told of.
const ENDS_SOON_WINDOW: Duration = Duration::from_secs(14 * 86_400);

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    if let Some(trouble) = &*case.no_identity.borrow() {
        return trouble.clone();
    }
    let Some(identity) = &setup.connection.identity else {
        return match (&setup.config.cloud.credentials, &setup.config.provision) {
            (Some(_), _) => Finding::ok("a user name, and no certificate"),
            (None, Some(_)) => Finding::note("the device has no certificate yet: it is to get one"),
            (None, None) if setup.profile().provider() != Provider::Plain => {
                Finding::warn("the device has neither a certificate nor a user name")
                    .remedy("Set `certificate` and `key`, or `user` and a password, in `[cloud]`.")
            }
            (None, None) => Finding::skip("the device has neither a certificate nor a user name"),
        };
    };
    // Whether they fit together was found out when they were read.
    let facts = identity.facts();
    let found = facts
        .as_ref()
        .and_then(|facts| Some((facts.not_before()?, facts.not_after()?)));
    let Some((from, until)) = found else {
        return Finding::note("key and certificate fit; the certificate does not tell its dates");
    };
    let dates = format!("valid from {} until {}", Utc(from), Utc(until));
    let floor = setup.connection.dial.clock_floor();
    let now = floor.map_or_else(|| case.wall(), |floor| floor.judged_at(case.wall()));
    if now < from || now > until {
        return Finding::fail_by("T108")
            .evidence(dates)
            .evidence(format!("judged as of {}", Utc(now)));
    }
    let left = until.duration_since(now).unwrap_or_default();
    if left < ENDS_SOON_WINDOW {
        let days = left.as_secs() / 86_400;
        return Finding::warn(format!("the certificate ends in {days} days"))
            .evidence(dates)
            .remedy("Renew the certificate.");
    }
    let subject = facts.map_or(String::new(), |facts| format!("{}, ", facts.subject()));
    Finding::ok(format!("{subject}{dates}"))
}
