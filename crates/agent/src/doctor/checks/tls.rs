//! `tls`, `tls-client` and `ws`: one dial as the agent makes it, phase by phase.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use fiber::Elapsed;
use safe_rt::{CertificateFacts, Phase, Socket, TlsError, TlsErrorKind, Utc};

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::explain;

/// How long is waited for an alert after the handshake: in TLS 1.3 a server judges the client's
/// certificate when the client has done its part (RFC 8446 section 4.4.2.4).
const ALERT_WINDOW: Duration = Duration::from_millis(500);
/// However long the handshake took.
const ALERT_WINDOW_MAX: Duration = Duration::from_secs(4);
/// So many times as long as the handshake, which is two journeys at the least.
const ALERT_TIMES: u32 = 3;

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let endpoint = setup.endpoint();
    let mut steps = Vec::new();
    let dialled = safe_rt::dial_traced(endpoint, &setup.connection.dial, |step| {
        let phase = match step.phase() {
            Phase::Tls => {
                case.handshake.set(step.took());
                "handshake"
            }
            Phase::WebSocket => "WebSocket",
            _ => return,
        };
        steps.push(format!(
            "{phase} with {} took {} ms",
            step.address(),
            step.took().as_millis()
        ));
    });
    let socket = match dialled {
        Ok(socket) => socket,
        Err(error) => {
            let mut finding = Finding::fail_by(explain::code_of_dial(&error))
                .evidence(error.to_string())
                .maybe_remedy(error.remedy());
            let kind = TlsError::of(&error).map(TlsError::kind);
            let closed = kind == Some(TlsErrorKind::ClosedInHandshake)
                || error.phase() == Phase::Tls && kind.is_none();
            let has_no_name = endpoint.host().parse::<IpAddr>().is_ok();
            if closed && has_no_name {
                finding = finding
                    .evidence("the endpoint is an address, so that no server name (SNI) was sent")
                    .remedy("Write the name of the broker: many close the handshake without it.");
            }
            let offered = setup.profile().alpn(endpoint, true).is_some();
            if closed && !offered && endpoint.port() == 443 {
                finding =
                    finding.evidence("no application protocol (ALPN) was offered at port 443");
            }
            return finding;
        }
    };
    let mut found = Vec::new();
    if let Some(version) = socket.tls_version() {
        found.push(version.to_string());
    }
    if let Some(protocol) = socket.alpn() {
        found.push(format!("ALPN {}", String::from_utf8_lossy(protocol)));
    }
    for (number, facts) in socket.peer_facts().iter().enumerate() {
        steps.push(shown(number + 1, facts));
    }
    let is_tls = socket.is_tls();
    let is_dangerous = socket.is_dangerous();
    *case.socket.borrow_mut() = Some(socket);
    if !is_tls {
        return Finding::skip("the endpoint is plain text");
    }
    if is_dangerous {
        return Finding::warn("the broker's certificate is not checked")
            .remedy("Take out what turns the check off.");
    }
    let finding = Finding::ok(format!(
        "the broker is the right one ({})",
        found.join(", ")
    ));
    steps.into_iter().fold(finding, Finding::evidence)
}

/// A certificate of the chain that the broker showed.
fn shown(number: usize, facts: &CertificateFacts) -> String {
    let date = |time: Option<SystemTime>| match time {
        Some(time) => Utc(time).to_string(),
        None => "a time out of range".to_owned(),
    };
    format!(
        "certificate {number}: {}, by {}, from {} to {}",
        facts.subject(),
        facts.issuer(),
        date(facts.not_before()),
        date(facts.not_after())
    )
}

/// Reads what a server says that refuses the certificate of the device.
pub(super) fn run_client(case: &Case) -> Finding {
    let Some(socket) = case.socket.take() else {
        return Finding::skip("there is no connection");
    };
    if !socket.is_tls() {
        *case.socket.borrow_mut() = Some(socket);
        return Finding::skip("the endpoint is plain text");
    }
    if case.no_identity.borrow().is_some() {
        // Without it the broker's answer says nothing of it.
        return Finding::because_of("identity");
    }
    let setup = case.setup();
    let has_identity = setup.is_some_and(|setup| setup.connection.identity.is_some());
    let least = case.handshake.get().saturating_mul(ALERT_TIMES);
    let window = least.clamp(ALERT_WINDOW, ALERT_WINDOW_MAX);
    let read = fiber::timeout(window, || {
        let mut byte = [0];
        loop {
            fiber::select(&[&socket.readable()], None)?;
            // What is readable may be for TLS alone: a ticket, or an alert in part.
            if let Some(read) = socket.try_read(&mut byte)? {
                return Ok::<_, io::Error>(read);
            }
        }
    });
    match read {
        // Nothing came, which is how it should be before CONNECT; it may be on its way.
        Err(Elapsed(Err(_))) => {
            *case.socket.borrow_mut() = Some(socket);
            let millis = window.as_millis();
            Finding::note(match has_identity {
                true => format!("nothing was refused within {millis} ms"),
                false => {
                    format!(
                        "the device shows no certificate; nothing was refused within {millis} ms"
                    )
                }
            })
        }
        Ok(Ok(0)) | Err(Elapsed(Ok(0))) => closed(&socket),
        Ok(Ok(_)) | Err(Elapsed(Ok(_))) => {
            Finding::fail_by("T094").evidence("a byte came before CONNECT was sent")
        }
        Ok(Err(error)) => {
            let tls = TlsError::of(&error);
            let code = tls.map_or("T093", |tls| explain::code_of_tls(tls.kind()));
            Finding::fail_by(code)
                .evidence(error.to_string())
                .maybe_remedy(tls.map(TlsError::remedy))
        }
    }
}

/// What it means that the server went away after the handshake, without an alert.
fn closed(socket: &Socket) -> Finding {
    let finding = Finding::fail_by("T060").evidence("closed after the handshake, before CONNECT");
    match socket.alpn() {
        Some(_) => finding,
        None => finding
            .evidence("no application protocol (ALPN) was agreed on")
            .remedy(
                "Offer the protocol that this port wants (`alpn` in `[cloud]`): at port 443 the \
                     profile aws does so.",
            ),
    }
}

/// Says what the dial has found out about the WebSocket.
pub(super) fn run_ws(case: &Case) -> Finding {
    match case.setup() {
        // Without it the dial would have failed.
        Some(setup) if setup.endpoint().scheme().is_web_socket() => {
            Finding::ok(format!("the server made it one at {}", setup.endpoint()))
        }
        _ => Finding::skip("the endpoint is none"),
    }
}
