//! `tcp`: every address at the broker's port, and at other ports where brokers listen.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fiber::Stopped;
use fiber::net::TcpStream;
use safe_rt::{Error, Phase, Scheme};

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::explain;
use crate::profile::{Evidence, Fact, Facts, Provider};

/// Time for one connection.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses that are tried.
const TRIED_ADDRESSES_MAX: usize = 8;
/// Where brokers listen that firewalls know.
const PORTS: [u16; 2] = [8883, 443];

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    if setup.proxy().is_some() {
        return Finding::skip("the proxy connects");
    }
    let endpoint = setup.endpoint();
    if endpoint.unix_path().is_some() {
        return Finding::skip("the endpoint is a file");
    }
    let others = match &case.options.ports {
        Some(ports) => ports.clone(),
        None if setup.profile().provider() == Provider::Plain => Vec::new(),
        None => PORTS.to_vec(),
    };
    let mut ports: BTreeSet<u16> = others.into_iter().collect();
    ports.insert(endpoint.port());
    let addresses = case.addresses.borrow().clone();
    let mut targets = Vec::new();
    for address in addresses.iter().take(TRIED_ADDRESSES_MAX) {
        targets.extend(
            ports
                .iter()
                .map(|port| SocketAddr::new(address.ip(), *port)),
        );
    }
    let tried = try_all(&targets);
    let own = |(address, _): &&Tried| address.port() == endpoint.port();
    let lines = tried.iter().map(|(address, outcome)| match outcome {
        Ok(()) => format!("{address} answers"),
        Err(error) => format!("{address}: {}", error.io()),
    });
    let lines: Vec<String> = lines.collect();
    let answering = tried
        .iter()
        .filter(own)
        .filter(|(_, outcome)| outcome.is_ok());
    let answering = answering.count();
    let all = tried.iter().filter(own).count();
    if answering == all && all > 0 {
        return Finding::ok(format!("port {} answers at {}", endpoint.port(), of(all)));
    }
    if answering > 0 {
        let finding = Finding::warn(format!(
            "port {} answers at {answering} of {}",
            endpoint.port(),
            of(all)
        ));
        return lines.into_iter().fold(finding, Finding::evidence);
    }
    let error = tried
        .iter()
        .find(own)
        .and_then(|(_, outcome)| outcome.as_ref().err());
    let code = error.map_or("T031", explain::code_of_dial);
    let mut finding = lines
        .into_iter()
        .fold(Finding::fail_by(code), Finding::evidence);
    let open = tried.iter().filter(|(_, outcome)| outcome.is_ok());
    let open: Vec<u16> = open.map(|(address, _)| address.port()).collect();
    // Whoever named ports knows what listens there.
    let named = case.options.ports.iter().flatten();
    let mut named = named.filter(|port| open.contains(port));
    let elsewhere = match named.next() {
        Some(port) => Some((endpoint.scheme(), *port)),
        None => elsewhere(setup.profile().facts(), &open),
    };
    let Some((scheme, port)) = elsewhere else {
        return finding.maybe_remedy(error.and_then(Error::remedy));
    };
    let how = match error.map(|error| error.io().kind()) {
        Some(io::ErrorKind::TimedOut) | None => "is closed on the way",
        Some(_) => "does not answer",
    };
    finding = finding.remedy(format!(
        "Port {} {how} and port {port} answers: write `{}://{}:{port}` as the endpoint.",
        endpoint.port(),
        scheme.as_str(),
        endpoint.host()
    ));
    finding
}

/// What the provider's documentation says listens at one of these ports.
fn elsewhere(facts: &Facts, open: &[u16]) -> Option<(Scheme, u16)> {
    let documented = |fact: Option<Fact<u16>>| {
        let fact = fact.filter(|fact| fact.evidence == Evidence::Documented)?;
        open.contains(&fact.value).then_some(fact.value)
    };
    let alpn = facts.alpn.map(|alpn| Fact {
        value: alpn.value.port,
        evidence: alpn.evidence,
    });
    let secure = documented(facts.port).or_else(|| documented(alpn));
    let secure = secure.map(|port| (Scheme::Mqtts, port));
    secure.or_else(|| Some((Scheme::Wss, documented(facts.web_socket_port)?)))
}

fn of(count: usize) -> String {
    match count {
        1 => "its address".to_owned(),
        count => format!("{count} addresses"),
    }
}

type Tried = (SocketAddr, Result<(), Error>);

/// Tries all of them side by side.
fn try_all(targets: &[SocketAddr]) -> Vec<Tried> {
    let found = RefCell::new(Vec::new());
    // A scope around that is over is what each try has found out.
    let _: Result<(), Stopped> = fiber::scope(|scope| {
        for target in targets {
            let found = &found;
            let one = move || {
                let outcome = try_one(*target);
                found.borrow_mut().push((*target, outcome));
                Ok(())
            };
            if scope.spawn(one).is_err() {
                let outcome = try_one(*target);
                found.borrow_mut().push((*target, outcome));
            }
        }
        Ok(())
    });
    let mut found = found.into_inner();
    found.sort_by_key(|(address, _)| *address);
    found
}

fn try_one(target: SocketAddr) -> Result<(), Error> {
    let tried = fiber::timeout(TRY_TIMEOUT, || TcpStream::connect(target));
    let connected: io::Result<TcpStream> = tried.unwrap_or_else(|elapsed| elapsed.0);
    connected
        .map(drop)
        .map_err(|error| Error::new(Phase::Connect, target.to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_is_named_only_with_what_is_documented_to_listen_there() {
        for provider in Provider::ALL {
            let facts = Facts::of(provider);
            for port in [443, 1_883, 8_080, 8_083, 8_084, 8_883, 8_884] {
                let found = elsewhere(facts, &[port]);
                let is = |fact: Option<Fact<u16>>| {
                    fact.is_some_and(|fact| {
                        fact.value == port && fact.evidence == Evidence::Documented
                    })
                };
                let by_alpn = facts.alpn.is_some_and(|alpn| {
                    alpn.value.port == port && alpn.evidence == Evidence::Documented
                });
                let expected = match () {
                    () if is(facts.port) || by_alpn => Some((Scheme::Mqtts, port)),
                    () if is(facts.web_socket_port) => Some((Scheme::Wss, port)),
                    () => None,
                };
                assert_eq!(found, expected, "{provider} {port}");
            }
        }
        // The port of a WebSocket is none of MQTT over TLS.
        let azure = elsewhere(Facts::of(Provider::AzureEventGrid), &[443]);
        assert_ne!(azure.map(|(scheme, _)| scheme), Some(Scheme::Mqtts));
        assert_eq!(elsewhere(Facts::of(Provider::Plain), &[8_883, 443]), None);
    }
}
