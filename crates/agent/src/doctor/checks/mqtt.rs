//! `mqtt-connect` and `stays-up`: whether the broker takes the device, and keeps it.

use std::time::Duration;

use fiber::Instant;
use safe_rt::{
    ClientTlsOptions, DialOptions, Endpoint, Pin, Scheme, TlsError, TlsErrorKind, Trust,
};

use crate::doctor::case::{Case, Setup};
use crate::doctor::finding::Finding;
use crate::doctor::session;

/// How long the connection has to stay.
const STAYS_UP_WINDOW: Duration = Duration::from_secs(2);
/// A connection that is cut sooner after CONNACK is cut for a right that is missing, not by another
/// client.
const RIGHTS_WINDOW: Duration = Duration::from_millis(150);

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    if let Some(view) = case.view_beside() {
        return view.connected();
    }
    if case.is_beside() {
        return session::beside();
    }
    let began = Instant::now();
    match session::connect(case, &setup) {
        Ok((client, session_present)) => {
            *case.client.borrow_mut() = Some(client);
            let session = if session_present { "kept" } else { "new" };
            let millis = began.elapsed().as_millis();
            Finding::ok(format!(
                "accepted after {millis} ms; the session is a {session} one"
            ))
        }
        Err(finding) if speaks_tls(&setup) => finding_of_tls(*finding, &setup),
        Err(finding) => *finding,
    }
}

/// Whether a port that is taken for plain text speaks TLS.
fn speaks_tls(setup: &Setup) -> bool {
    let endpoint = setup.endpoint();
    if endpoint.scheme() != Scheme::Mqtt {
        return false;
    }
    // A key that nobody has: no secret, nor anything else, is shown to whoever answers.
    let trust = Trust::pins([Pin::from_sha256([0; 32])]);
    let tls = trust.and_then(|trust| ClientTlsOptions::new(trust).build());
    let secure = Endpoint::new(Scheme::Mqtts, &endpoint.authority());
    let (Ok(tls), Ok(secure)) = (tls, secure) else {
        return false;
    };
    let dial: DialOptions = setup.dial_plain().tls(tls);
    let dialled = fiber::timeout(session::ANSWER_TIMEOUT, || safe_rt::dial(&secure, &dial));
    let Err(error) = dialled.unwrap_or_else(|elapsed| elapsed.0) else {
        return true;
    };
    let kind = TlsError::of(&error).map(TlsError::kind);
    // Whoever shows a certificate is found here.
    matches!(
        kind,
        Some(
            TlsErrorKind::PinMismatch
                | TlsErrorKind::UnknownIssuer
                | TlsErrorKind::NameMismatch
                | TlsErrorKind::Expired
                | TlsErrorKind::NotValidYet
                | TlsErrorKind::BadCertificate
                | TlsErrorKind::AlpnNotAgreed
                | TlsErrorKind::CertificateRefused
                | TlsErrorKind::Incompatible
        )
    )
}

fn finding_of_tls(mut plain: Finding, setup: &Setup) -> Finding {
    let endpoint = setup.endpoint();
    let mut finding = Finding::fail_by("T105").remedy(format!(
        "Write `mqtts://{}` as the endpoint.",
        endpoint.authority()
    ));
    finding.evidence.append(&mut plain.evidence);
    finding.evidence("a TLS handshake at the same port gets as far as a certificate")
}

pub(super) fn run_stays_up(case: &Case) -> Finding {
    if let Some(view) = case.view_beside() {
        return view.stays();
    }
    let (Some(setup), Some(client)) = (case.setup(), case.client.borrow().clone()) else {
        return Finding::skip("there is no connection");
    };
    let began = Instant::now();
    let first = match session::stays(&client, STAYS_UP_WINDOW) {
        Ok(None) => return Finding::ok(format!("for {} s", STAYS_UP_WINDOW.as_secs())),
        Ok(Some(cause)) => (began.elapsed(), cause),
        Err(stopped) => return Finding::warn(format!("not found out: {stopped}")),
    };
    drop(case.client.take());
    let told = |(after, cause): &(Duration, String)| {
        format!("{cause} {} ms after CONNACK", after.as_millis())
    };
    let again = match session::reconnect(case, &setup) {
        Ok(client) => client,
        Err(finding) => return finding.evidence(told(&first)),
    };
    let began = Instant::now();
    match session::stays(&again, STAYS_UP_WINDOW) {
        Ok(None) => {
            *case.client.borrow_mut() = Some(again);
            Finding::warn("the connection was closed once, and the next one stays")
                .code("T090")
                .evidence(told(&first))
        }
        Ok(Some(cause)) => {
            let second = (began.elapsed(), cause);
            let is_right = first.0 < RIGHTS_WINDOW && second.0 < RIGHTS_WINDOW;
            let code = if is_right { "T090" } else { "T103" };
            Finding::fail_by(code)
                .evidence(told(&first))
                .evidence(told(&second))
        }
        Err(stopped) => Finding::warn(format!("not found out: {stopped}")).evidence(told(&first)),
    }
}
