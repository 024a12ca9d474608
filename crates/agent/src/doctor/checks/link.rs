//! `link`: whether there is a way out.

use std::net::IpAddr;

use fiber::fs;

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;

/// The tables of routes, of both families.
const ROUTES: [&str; 2] = ["/proc/net/route", "/proc/net/ipv6_route"];

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let endpoint = setup.endpoint();
    let is_here = endpoint.unix_path().is_some()
        || endpoint.host().eq_ignore_ascii_case("localhost")
        || endpoint
            .host()
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    if is_here {
        return Finding::skip("the broker is on this machine");
    }
    let read = |path| String::from_utf8(fs::read(path).ok()?).ok();
    let (Some(v4), v6) = (read(ROUTES[0]), read(ROUTES[1])) else {
        return Finding::skip("this system does not tell its routes");
    };
    let mut found: Vec<String> = defaults_v4(&v4);
    found.extend(defaults_v6(&v6.unwrap_or_default()));
    found.sort_unstable();
    found.dedup();
    told(&found)
}

/// What the interfaces with a default route say.
fn told(found: &[String]) -> Finding {
    if found.is_empty() {
        // Neighbours answer without one: whether the broker is one is found out by connecting to it.
        return Finding::note("no default route: only what is on the same network is reached")
            .code("T010");
    }
    Finding::ok(format!("default route by {}", found.join(", ")))
}

/// The interfaces of routes to everywhere: destination and mask are 0.
fn defaults_v4(table: &str) -> Vec<String> {
    let lines = table.lines().skip(1);
    let routes = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults = routes
        .filter(|fields| fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000"));
    defaults
        .filter_map(|fields| fields.first().map(|name| (*name).to_owned()))
        .collect()
}

/// The same of IPv6: the length of the prefix is 0, and the route is none that refuses.
fn defaults_v6(table: &str) -> Vec<String> {
    let routes = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults = routes.filter(|fields| {
        fields.get(1) == Some(&"00") && fields.get(9).is_some_and(|name| *name != "lo")
    });
    defaults
        .filter_map(|fields| fields.get(9).map(|name| (*name).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn a_network_without_a_way_out_is_no_fault_by_itself() {
        let found = told(&[]);
        assert_eq!((found.outcome, found.code), (Outcome::Note, Some("T010")));
        assert_eq!(told(&["eth0".to_owned()]).outcome, Outcome::Ok);
    }

    #[test]
    fn default_routes_are_found_in_the_tables() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                     eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(defaults_v4(table), ["eth0"]);
        assert!(defaults_v4("Iface\tDestination\n").is_empty());
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fe80 00000400 1 0 00000003 wlan0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200 lo\n\
             fe80 40 {zero} 00 {zero} 100 1 0 1 eth0\n"
        );
        assert_eq!(defaults_v6(&table), ["wlan0"]);
    }
}
