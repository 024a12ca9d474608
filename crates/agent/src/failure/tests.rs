//! Which exit code a failure is, and what is said of it.

use super::*;
use mqtt::ConnectReason;

fn lost(cause: EndCause) -> WaitCause {
    WaitCause::ConnectionLost(Arc::new(cause))
}

#[test]
fn a_refusal_keeps_its_code_wherever_it_is_found() {
    let reason = ConnectReason::NotAuthorized;
    let refused = Exit::Refused(reason);
    let end = EndCause::Refused(reason);
    assert_eq!(
        Failure::Connect(mqtt::Error::Refused(reason)).exit(),
        refused
    );
    assert_eq!(
        Failure::Subscribe(mqtt::Error::Wait(lost(end))).exit(),
        refused
    );
    assert_eq!(
        Failure::Lost(Arc::new(EndCause::Refused(reason))).exit(),
        refused
    );
}

#[test]
fn a_lost_connection_is_told_from_a_hang_up_and_from_a_wait_that_ended() {
    let closed = || lost(EndCause::ClosedByPeer);
    // Nothing was asked of the broker.
    let ended = Failure::Lost(Arc::new(EndCause::ClosedByPeer));
    assert_eq!(ended.exit(), Exit::TryAgain);
    assert_eq!(
        Failure::Publish(PublishError::Full(closed())).exit(),
        Exit::TryAgain
    );
    assert_eq!(
        Failure::Undelivered(Outcome::SessionLost).exit(),
        Exit::TryAgain
    );
    // Something was, and it did not like it.
    assert_eq!(Failure::Unacknowledged(closed()).exit(), Exit::Denied);
    let subscribing = Failure::Subscribe(mqtt::Error::Wait(closed()));
    assert_eq!(subscribing.exit(), Exit::Denied);
    let reset = EndCause::Transport(io::ErrorKind::ConnectionReset.into());
    assert_eq!(Failure::Unacknowledged(lost(reset)).exit(), Exit::TryAgain);
    let stopped = WaitCause::Stopped(Stopped::TimedOut);
    assert_eq!(Failure::Unacknowledged(stopped).exit(), Exit::TryAgain);
}

#[test]
fn a_file_that_is_not_there_is_told_from_one_that_may_not_be_read() {
    let tls = |kind: io::ErrorKind| {
        let path = PathBuf::from("key.pem");
        let source = kind.into();
        Failure::TlsConfig(TlsConfigError::File { path, source }).exit()
    };
    assert_eq!(tls(io::ErrorKind::NotFound), Exit::NoInput);
    assert_eq!(tls(io::ErrorKind::PermissionDenied), Exit::Credentials);
}

#[test]
fn a_connection_that_did_not_come_about_has_a_remedy_wherever_it_is_found() {
    let dial = || {
        let endpoint = "mqtts://broker".parse().expect("an endpoint");
        safe_rt::dial(&endpoint, &safe_rt::DialOptions::new()).expect_err("no TLS options")
    };
    let found = [
        Failure::Dial(dial()).remedy(),
        Failure::Connect(mqtt::Error::Wait(lost(EndCause::Dial(dial())))).remedy(),
        Failure::Lost(Arc::new(EndCause::Dial(dial()))).remedy(),
        Failure::ConnectTimeout {
            timeout: Duration::from_secs(30),
            during: Some(Box::new(dial())),
        }
        .remedy(),
    ];
    for remedy in found {
        let remedy = remedy.expect("one");
        assert!(remedy.contains("trusted"), "{remedy}");
    }
    assert_eq!(Failure::Expired.remedy(), None);
    assert_eq!(Failure::Lost(Arc::new(EndCause::Closed)).remedy(), None);
}

#[test]
fn every_text_is_one_line_without_a_full_stop() {
    let failures = [
        Failure::Expired,
        Failure::LineTooLong { line: 3 },
        Failure::ConnectTimeout {
            timeout: Duration::from_secs(30),
            during: None,
        },
        Failure::Lost(Arc::new(EndCause::ClosedByPeer)),
        Failure::SubscriptionRefused {
            filters: vec!["a/#".to_owned()],
        },
        Failure::Undelivered(Outcome::Withdrawn),
    ];
    for failure in failures {
        let text = failure.to_string();
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    }
}
