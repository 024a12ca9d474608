//! `dns`: where the broker's name leads.

use std::net::{IpAddr, SocketAddr};

use fiber::Instant;
use safe_rt::{Error, Phase};

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::explain;
use crate::profile::Provider;

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let endpoint = setup.endpoint();
    if endpoint.unix_path().is_some() {
        return Finding::skip("the endpoint is a file");
    }
    if setup.proxy().is_some() {
        return Finding::skip("the proxy looks the name up");
    }
    let began = Instant::now();
    let found = match safe_rt::resolve(endpoint) {
        Ok(found) => found,
        Err(error) => {
            let error = Error::new(Phase::Resolve, endpoint.authority(), error);
            return Finding::fail_by(explain::code_of_dial(&error))
                .evidence(error.to_string())
                .maybe_remedy(error.remedy());
        }
    };
    let shown: Vec<String> = found
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    let shown = shown.join(", ");
    case.addresses.borrow_mut().clone_from(&found);
    if endpoint.literal().is_some() {
        return Finding::ok(format!("{shown}, which is given as it is"));
    }
    if setup.profile().provider() != Provider::Plain && found.iter().all(is_inside) {
        return Finding::warn_by("T107").evidence(format!("{} is {shown}", endpoint.host()));
    }
    Finding::ok(format!("{shown} after {} ms", began.elapsed().as_millis()))
}

/// Whether an address is none of the public network.
fn is_inside(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
