//! Name servers on loopback that are slow, dead, lying or worse, each while a hundred other fibers
//! measure that they are not held up.

use std::error::Error as _;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use fiber::{Instant, timeout};
use safe_rt::{ADDRESSES_MAX, DialOptions, DnsError, Endpoint, Listener, Phase, Resolver, stats};

use crate::bystanders::among_bystanders_in_real_time;
use crate::name_server::{Manner, NameServer, SERVER_FAILURE};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// What each look-up of these tests has; nothing that answers takes as long.
const LIMIT: Duration = Duration::from_secs(20);
/// What a look-up has that nobody answers.
const IN_VAIN: Duration = Duration::from_millis(200);

fn endpoint(port: u16) -> Endpoint {
    let text = format!("mqtt://broker.example:{port}");
    text.parse().expect("an endpoint")
}

/// Looks a name up at a server of this manner. Returns the addresses, or what the error is.
fn looked_up(manner: Manner, limit: Duration) -> Result<Vec<IpAddr>, String> {
    among_bystanders_in_real_time(move || {
        let server = NameServer::start(HERE, 0, manner);
        let resolver = Resolver::servers(&[server.address]).expect("a server");
        let found = timeout(limit, || resolver.look_up(&endpoint(1883)));
        match found.unwrap_or_else(|late| late.0) {
            Ok(found) => {
                assert!(found.iter().all(|address| address.port() == 1883));
                Ok(found.iter().map(|address| address.ip()).collect())
            }
            Err(error) => Err(match fiber::cause(&error) {
                Some(stopped) => format!("{stopped:?}"),
                None => {
                    let payload = error.get_ref().expect("a payload");
                    let dns: &DnsError = payload.downcast_ref().expect("it is of the DNS");
                    format!("{:?} {dns:?}", error.kind())
                }
            }),
        }
    })
}

#[test]
fn a_name_server_that_answers_at_all_is_heard_through_slowness_and_lies() {
    let table = [
        Manner::good(GOOD),
        Manner::Slow(Duration::from_millis(200), GOOD),
        Manner::WrongId(GOOD),
        Manner::WrongQuestion(GOOD),
        Manner::WrongPort(GOOD),
        Manner::GarbageFirst(GOOD),
        Manner::DeafToV6(GOOD),
        Manner::Truncated(GOOD, 1),
    ];
    for manner in table {
        let shown = format!("{manner:?}");
        assert_eq!(looked_up(manner, LIMIT), Ok(vec![GOOD.into()]), "{shown}");
    }
}

#[test]
fn each_answer_that_is_none_is_told_apart() {
    let table = [
        (Manner::NoSuchName, "NotFound there is no such name"),
        (Manner::NoAddress, "NotFound the name has no address"),
        (Manner::Failing(SERVER_FAILURE), "Other the name server"),
        (Manner::Circle, "InvalidData the name is an alias"),
        (Manner::TruncatedForNothing, "InvalidData the name server"),
    ];
    for (manner, expected) in table {
        let shown = format!("{manner:?}");
        let error = looked_up(manner, LIMIT).expect_err("it is no answer");
        assert!(error.starts_with(expected), "{shown}: {error}");
    }
}

#[test]
fn a_name_server_that_never_answers_costs_who_asks_its_deadline_and_nobody_else_anything() {
    for manner in [Manner::Dead, Manner::Garbage] {
        assert_eq!(looked_up(manner, IN_VAIN), Err("TimedOut".to_owned()));
    }
}

#[test]
fn of_thousands_of_addresses_the_first_are_taken() {
    let found = looked_up(Manner::Truncated(GOOD, 4_000), LIMIT).expect("addresses");
    assert_eq!((found.len(), found[0]), (ADDRESSES_MAX, GOOD.into()));
}

#[test]
fn where_no_name_server_listens_that_is_told_at_once() {
    let error = among_bystanders_in_real_time(|| {
        let nobody = {
            let server = fiber::net::UdpSocket::bind((HERE, 0).into()).expect("a port");
            server.local_addr().expect("an address")
        };
        let resolver = Resolver::servers(&[nobody]).expect("a server");
        let began = Instant::now();
        let error = resolver
            .look_up(&endpoint(1883))
            .expect_err("nobody listens");
        assert!(began.elapsed() < LIMIT);
        error
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.source().is_some(), "{error}");
}

#[test]
fn a_lie_that_leads_nowhere_is_not_believed_twice_and_the_last_good_address_is_kept() {
    among_bystanders_in_real_time(|| {
        let listener = Listener::bind((HERE, 0).into()).expect("a port");
        let endpoint = endpoint(listener.local_addr().expect("an address").port());
        let names = NameServer::start(HERE, 0, Manner::good(GOOD));
        let resolver = Resolver::servers(&[names.address]).expect("a server");
        let options = DialOptions::new().resolver(resolver.clone());
        let dial = || {
            let dialled = timeout(LIMIT, || safe_rt::dial(&endpoint, &options.clone()));
            dialled.unwrap_or_else(|late| late.0)
        };
        // The listener is not at this address, though it is the same machine.
        let error = dial().expect_err("nobody listens there");
        assert_eq!(error.phase(), Phase::Connect, "{error}");
        names.set(Manner::good(Ipv4Addr::LOCALHOST));
        dial().expect("the next dial asks anew");
        dial().expect("the one after that need not");
        assert_eq!(names.asked(), 2);

        resolver.clear();
        names.set(Manner::Failing(SERVER_FAILURE));
        let before = stats().dials_last_good;
        dial().expect("the last good address is kept");
        assert_eq!(stats().dials_last_good - before, 1);
        drop(listener);
        let error = dial().expect_err("nobody listens any more");
        assert_eq!(error.phase(), Phase::Connect, "{error}");
        let look_up = error.look_up_error().expect("the look-up failed as well");
        assert_eq!(look_up.kind(), ErrorKind::Other);
        assert!(
            error.to_string().contains("has a failure of its own"),
            "{error}"
        );
    });
}
