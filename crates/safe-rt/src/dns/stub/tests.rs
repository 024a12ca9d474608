//! What follows from two answers, and which servers a resolver may have.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn address(last: u8) -> SocketAddr {
    ([192, 0, 2, last], 53).into()
}

fn some(last: u8, ttl: Duration) -> Option<Answered> {
    Some(Ok((vec![address(last).ip()], ttl)))
}

fn none(error: DnsError) -> Option<Answered> {
    Some(Err(error))
}

fn failed() -> DnsError {
    DnsError::ServerFailed {
        server: address(1),
        code: 2,
    }
}

#[test]
fn one_family_is_enough_and_there_is_nothing_only_when_both_say_so() {
    use DnsError::{NoAddress, NoAnswer, NoSuchName};
    let table: [(Option<Answered>, Option<Answered>, &str); 13] = [
        (some(1, SECOND), none(NoAddress), "1"),
        (none(NoAddress), some(2, SECOND), "2"),
        (some(1, SECOND), none(NoSuchName), "1"),
        (some(1, SECOND), None, "1"),
        (None, some(2, SECOND), "2"),
        (none(NoSuchName), none(NoAddress), "there is no such name"),
        (none(failed()), none(NoSuchName), "there is no such name"),
        (none(NoAddress), none(NoAddress), "the name has no address"),
        (none(NoAddress), none(NoAnswer), "no name server answered"),
        (none(NoAnswer), none(NoAddress), "no name server answered"),
        (none(failed()), none(NoAddress), "the name server"),
        (None, none(failed()), "the name server"),
        (None, None, "no name server answered"),
    ];
    for (v4, v6, expected) in table {
        let asked = format!("{v4:?} {v6:?}");
        let shown = match both(v4, v6) {
            Ok(found) => match found.addresses[0].ip() {
                IpAddr::V4(ip) => ip.octets()[3].to_string(),
                IpAddr::V6(ip) => ip.to_string(),
            },
            Err(error) => format!("{error:?}"),
        };
        assert!(shown.starts_with(expected), "{asked}: {shown}");
    }
}

#[test]
fn a_question_that_could_not_be_put_is_told_as_such() {
    let no_fiber = || Err(io::Error::other("no memory for a stack"));
    for v4 in [None, none(DnsError::NoAnswer)] {
        let error = outcome(v4, None, no_fiber()).expect_err("nothing was found");
        assert!(
            error.to_string().contains("no memory for a stack"),
            "{error}"
        );
    }
    outcome(some(1, SECOND), None, no_fiber()).expect("one family is enough");
    let error = outcome(None, none(DnsError::NoSuchName), Ok(())).expect_err("no such name");
    assert!(matches!(error, DnsError::NoSuchName), "{error}");
}

#[test]
fn a_lifetime_is_the_shorter_one_within_its_bounds() {
    let lifetime = |ttl_4, ttl_6| {
        let found = both(some(1, ttl_4), some(2, ttl_6)).expect("addresses");
        found.lifetime
    };
    assert_eq!(lifetime(SECOND * 90, SECOND * 30), SECOND * 30);
    assert_eq!(lifetime(Duration::ZERO, SECOND * 30), ANSWER_LIFETIME_MIN);
    let huge = SECOND * u32::MAX;
    assert_eq!(lifetime(huge, huge), ANSWER_LIFETIME_MAX);
}

#[test]
fn servers_that_cannot_be_are_refused() {
    let too_many: Vec<_> = (1..=5).map(address).collect();
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 53));
    let no_port = SocketAddr::from(([192, 0, 2, 1], 0));
    let table = [
        (vec![], ServersError::None),
        (too_many, ServersError::TooMany(5)),
        (
            vec![address(1), nowhere],
            ServersError::Unspecified(nowhere),
        ),
        (vec![no_port], ServersError::Unspecified(no_port)),
    ];
    for (servers, expected) in table {
        let error = Resolver::servers(&servers).expect_err("they cannot be");
        assert_eq!(error, expected);
    }
    Resolver::servers(&[address(1), address(2)]).expect("two servers");
}

#[test]
fn the_own_machine_is_asked_nobody_for() {
    for name in ["localhost", "broker.localhost"] {
        assert!(is_localhost(name));
    }
    for name in ["localhost.example", "notlocalhost", ""] {
        assert!(!is_localhost(name));
    }
    let nobody = Stub { servers: [].into() };
    let found = nobody.ask("localhost").expect("it is known");
    assert!(
        found
            .addresses
            .iter()
            .all(|address| address.ip().is_loopback())
    );
}
