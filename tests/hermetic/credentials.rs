//! Credentials that are asked for before each attempt, in virtual time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::{ConnAck, PacketRef};
use mqtt::{Client, ClientOptions, Credentials, CredentialsError, EndCause, Error, Event};
use safe_rt::BackoffOptions;

use crate::harness::{Broker, expect_disconnect, note, options, play, play_open};

const SECOND: Duration = Duration::from_secs(1);

/// Answers with a password that is another one at each call.
fn counted() -> (ClientOptions, Rc<Cell<u32>>) {
    let calls = Rc::new(Cell::new(0));
    let counter = Rc::clone(&calls);
    let ask = move || {
        counter.set(counter.get() + 1);
        Ok(Credentials::new(
            "meter",
            Some(format!("secret-{}", counter.get())),
        ))
    };
    (options().credentials_by(ask), calls)
}

#[track_caller]
fn accept_with(broker: &mut Broker, password: &str) {
    broker.accept(true, |connect| {
        assert_eq!(connect.fields().user_name, Some("meter"));
        assert_eq!(connect.fields().password, Some(password.as_bytes()));
    });
}

#[test]
fn each_attempt_has_credentials_of_its_own() {
    let (options, calls) = counted();
    play_open(
        options,
        |links| {
            accept_with(&mut links.next(), "secret-1");
            let mut refused = links.next();
            refused.receive(|packet| match packet {
                PacketRef::Connect(connect) => {
                    assert_eq!(connect.fields().password, Some(&b"secret-2"[..]));
                }
                other => panic!("{other:?}"),
            });
            let reason = mqtt::ConnectReason::BadUserNameOrPassword;
            refused.send(&PacketRef::ConnAck(ConnAck::refused(reason)));
            drop(refused);
            let mut third = links.next();
            accept_with(&mut third, "secret-3");
            fiber::sleep(5 * SECOND).unwrap();
            drop(third);
            let mut fixed = links.next();
            accept_with(&mut fixed, "fixed");
            expect_disconnect(&mut fixed);
        },
        move |client| {
            let third = || {
                while calls.get() < 3 {
                    fiber::sleep(SECOND).unwrap();
                }
            };
            fiber::timeout(600 * SECOND, third).unwrap();
            client.wait_connected().unwrap();
            // From now on nobody is asked.
            client.set_credentials("meter", Some("fixed"));
            fiber::sleep(60 * SECOND).unwrap();
            client.wait_connected().unwrap();
            assert_eq!(calls.get(), 3);
        },
    );
}

/// How a client fares whose function fails at first: when it was called, the events, and how the
/// events print.
#[track_caller]
fn fails_at_first(
    failures: u32,
    ask: impl Fn() -> Result<Credentials, CredentialsError> + 'static,
) -> (Vec<Duration>, Vec<String>) {
    let seen = Rc::new(RefCell::new((Vec::new(), Vec::new())));
    let told = Rc::clone(&seen);
    let began = Rc::new(Cell::new(None));
    let calls = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&calls);
    let ask = move || {
        let first = began.get().unwrap_or_else(Instant::now);
        began.set(Some(first));
        noted.borrow_mut().push(first.elapsed());
        if noted.borrow().len() <= failures as usize {
            return ask();
        }
        Ok(Credentials::new("meter", Some("secret")))
    };
    let options = options()
        .connect_timeout(5 * SECOND)
        // Every delay is as long as it may be at most, and never below half a second.
        .backoff(BackoffOptions::new().floor(SECOND / 2))
        .credentials_by(ask);
    play_open(
        options,
        |links| {
            let mut broker = links.next();
            accept_with(&mut broker, "secret");
            expect_disconnect(&mut broker);
        },
        move |client| {
            let events = note(client);
            client.wait_connected().unwrap();
            assert_eq!(client.close(SECOND).unwrap(), mqtt::Remaining::default());
            *told.borrow_mut() = (calls.borrow().clone(), events.borrow().clone());
        },
    );
    seen.take()
}

#[test]
fn without_credentials_nothing_is_dialled_and_the_error_says_how_soon_to_ask_again() {
    let (calls, events) = fails_at_first(3, || {
        Err(CredentialsError::unavailable("the vault is shut"))
    });
    assert_eq!(calls.len(), 4);
    let failed = "failed, no credentials: the vault is shut, again: true";
    assert_eq!(events[..3], [failed, failed, failed]);
    // The spans of lost links are 1 s, 2 s and 4 s.
    assert!(calls[3] <= 7 * SECOND, "{calls:?}");

    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let (calls, _) = fails_at_first(2, || Err(CredentialsError::denied("no account")));
        longest = longest.max(calls[2]);
    }
    // Those of refusals are 30 s and 60 s.
    assert!(longest > 10 * SECOND, "{longest:?}");
}

#[test]
fn a_function_that_waits_for_ever_is_an_attempt_that_failed() {
    let forever = || {
        fiber::sleep(Duration::MAX)?;
        unreachable!("it ends with the limit");
    };
    let (calls, events) = fails_at_first(1, forever);
    assert!(
        calls[1] >= 5 * SECOND && calls[1] <= 7 * SECOND,
        "{calls:?}"
    );
    assert!(
        events[0].starts_with("failed, no credentials: "),
        "{events:?}"
    );
    assert!(events[0].ends_with("again: true"), "{events:?}");
}

#[test]
fn a_function_that_panics_is_an_attempt_that_failed() {
    let (calls, events) = fails_at_first(1, || panic!("a panic that this test asks for"));
    assert_eq!(calls.len(), 2);
    let text = "failed, no credentials: the program's function panicked, again: true";
    assert_eq!(events[0], text);
}

#[test]
fn a_client_that_is_closed_ends_a_function_that_waits() {
    let ended = Rc::new(Cell::new(false));
    let noted = Rc::clone(&ended);
    let ask = move || {
        let slept = fiber::sleep(Duration::from_secs(3600));
        noted.set(true);
        slept?;
        Ok(Credentials::new("meter", Some("secret")))
    };
    let options = options().connect_timeout(Duration::MAX).credentials_by(ask);
    play_open(
        options,
        |_| (),
        move |client| {
            fiber::sleep(SECOND).unwrap();
            let began = Instant::now();
            client.close(SECOND).unwrap();
            assert!(began.elapsed() <= 2 * SECOND, "{:?}", began.elapsed());
            assert!(ended.get());
        },
    );
}

#[test]
fn a_client_over_a_connection_asks_when_it_is_told_to_connect() {
    let fails = Rc::new(Cell::new(true));
    let failing = Rc::clone(&fails);
    let ask = move || {
        if failing.take() {
            return Err(CredentialsError::unavailable("not yet"));
        }
        fiber::sleep(SECOND)?;
        Ok(Credentials::new("meter", Some("secret")))
    };
    play(
        options().credentials_by(ask),
        |broker| {
            broker.accept(false, |connect| {
                assert_eq!(connect.fields().password, Some(&b"secret"[..]));
            });
            expect_disconnect(broker);
        },
        |client| {
            let failed = client.connect().unwrap_err();
            assert!(matches!(failed, Error::Credentials(_)), "{failed}");
            // It still has its connection.
            client.connect().unwrap();
        },
    );
}

#[test]
fn nothing_that_is_printed_shows_a_password() {
    let (options, _) = counted();
    let mut printed = format!("{options:?}");
    printed += &format!("{:?}", Credentials::new("meter", Some("secret")));
    play_open(
        options,
        |links| {
            drop(links.accept(false));
            expect_disconnect(&mut links.accept(true));
        },
        move |client| {
            let told = Rc::new(RefCell::new(printed));
            let noted = Rc::clone(&told);
            client.on_event(move |client: &Client, event: &Event| {
                noted
                    .borrow_mut()
                    .push_str(&format!("{event:?} {client:?}"));
            });
            client.wait_connected().unwrap();
            fiber::sleep(10 * SECOND).unwrap();
            client.close(SECOND).unwrap();
            let denied = CredentialsError::denied("no account");
            told.borrow_mut()
                .push_str(&format!("{:?}", EndCause::Credentials(denied)));
            assert!(!told.borrow().contains("secret"), "{}", told.borrow());
        },
    );
}
