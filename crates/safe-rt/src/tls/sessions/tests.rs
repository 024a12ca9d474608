use super::*;

const HOUR: u64 = 3600;

fn at(judged_at: u64, floor: u64, instant: Duration) -> Now {
    Now {
        judged_at,
        floor,
        instant: Instant::from_nanos(0) + instant,
    }
}

#[test]
fn a_judgement_holds_while_nothing_says_otherwise() {
    let begin = Duration::from_secs(1_000);
    let judgement = Judgement {
        until: 50_000,
        ..Judgement::of(&[], at(10_000, 5_000, begin))
    };
    let day = SESSION_AGE_MAX;
    let table = [
        ("at once", at(10_000, 5_000, begin), true),
        (
            "an hour later",
            at(13_600, 5_000, begin + Duration::from_secs(HOUR)),
            true,
        ),
        ("a clock that stands", at(10_000, 5_000, begin + day), true),
        (
            "a day and more",
            at(10_000, 5_000, begin + day + Duration::from_nanos(1)),
            false,
        ),
        ("the last second", at(50_000, 5_000, begin), true),
        ("expired", at(50_001, 5_000, begin), false),
        ("a clock that was set back", at(9_999, 5_000, begin), false),
        ("a floor that rose", at(10_000, 5_001, begin), false),
    ];
    for (what, now, expected) in table {
        assert_eq!(judgement.holds(now), expected, "{what}");
    }
}

#[test]
fn two_judgements_hold_while_both_do() {
    let one = Judgement {
        until: 400,
        ..Judgement::of(&[], at(100, 9, Duration::from_secs(7)))
    };
    let other = Judgement {
        until: 300,
        ..Judgement::of(&[], at(200, 8, Duration::from_secs(6)))
    };
    let both = Judgement {
        at: other.at,
        judged_at: 200,
        floor: 8,
        until: 300,
    };
    assert_eq!(one.and(other), both);
    assert_eq!(other.and(one), both);
}

#[test]
fn the_first_certificate_to_expire_counts_and_what_has_expired_does_not() {
    let certificate = |year| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .clone()
    };
    let (first, second, old) = (certificate(2030), certificate(2040), certificate(2021));
    let end = |year| crate::utc::seconds_at([year, 1, 1], [0, 0, 0]).expect("a date");
    let now = at(end(2027), 0, Duration::ZERO);
    for chain in [[&second, &first, &old], [&first, &old, &second]] {
        let chain = chain.map(Clone::clone);
        assert_eq!(Judgement::of(&chain, now).until, end(2030));
    }
    assert_eq!(Judgement::of(&[], now).until, u64::MAX);
    let nonsense = CertificateDer::from(vec![0x30, 0]);
    assert_eq!(Judgement::of(&[second, nonsense], now).until, now.judged_at);
}

/// The sessions of one server, each a number.
fn server() -> Arc<ServerSessions> {
    ServerSessions::new(ClockFloor::new())
}

fn full(sessions: &OneConnection<ServerSessions>) {
    let now = sessions.now();
    sessions.settle_as(Some(Judgement::of(&[], now)), now);
}

#[test]
fn what_a_handshake_brings_is_kept_once_it_is_done() {
    let shared = server();
    let connection = OneConnection::new(&shared);
    assert!(connection.put(vec![1], vec![10]));
    let other = OneConnection::new(&shared);
    assert_eq!(other.get(&[1]), None);
    full(&connection);
    assert!(connection.put(vec![2], vec![20]));
    assert_eq!(other.get(&[1]), Some(vec![10]));
    assert_eq!(other.get(&[1]), Some(vec![10]));
    assert_eq!(other.take(&[2]), Some(vec![20]));
    assert_eq!(other.take(&[2]), None);
    // It failed.
    let failed = OneConnection::new(&shared);
    failed.put(vec![3], vec![30]);
    drop(failed);
    assert_eq!(other.get(&[3]), None);
}

#[test]
fn what_a_resumption_brings_stands_on_what_was_resumed() {
    let shared = server();
    let first = OneConnection::new(&shared);
    first.put(vec![1], vec![10]);
    let now = first.now();
    let judgement = Judgement {
        until: now.judged_at + 7,
        ..Judgement::of(&[], now)
    };
    first.settle_as(Some(judgement), now);
    let second = OneConnection::new(&shared);
    assert_eq!(second.take(&[1]), Some(vec![10]));
    second.put(vec![2], vec![20]);
    second.settle_as(None, now);
    second.put(vec![3], vec![30]);
    for key in [[2], [3]] {
        let kept = shared.take(&key, now).expect("it is there");
        assert_eq!(kept.judgement, judgement);
    }
    // A resumption of nothing that was lent is none that is known.
    let strange = OneConnection::new(&shared);
    strange.put(vec![4], vec![40]);
    strange.settle_as(None, now);
    strange.put(vec![5], vec![50]);
    assert!(shared.take(&[4], now).is_none() && shared.take(&[5], now).is_none());
    // What was lent and not resumed does not matter.
    let third = OneConnection::new(&shared);
    third.put(vec![6], vec![60]);
    let again = Judgement::of(&[], now);
    third.settle_as(Some(again), now);
    assert_eq!(
        shared.take(&[6], now).expect("it is there").judgement,
        again
    );
}

#[test]
fn a_server_keeps_so_many_sessions_and_none_that_went_stale() {
    let shared = server();
    let connection = OneConnection::new(&shared);
    full(&connection);
    for number in 0..=SERVER_SESSIONS_MAX {
        connection.put(number.to_be_bytes().to_vec(), vec![1]);
    }
    let other = OneConnection::new(&shared);
    assert_eq!(other.get(&0_usize.to_be_bytes()), None);
    assert_eq!(other.get(&1_usize.to_be_bytes()), Some(vec![1]));
    assert_eq!(lock(&shared.sessions).len(), SERVER_SESSIONS_MAX);
    // The same name again takes no other's place.
    connection.put(SERVER_SESSIONS_MAX.to_be_bytes().to_vec(), vec![2]);
    assert_eq!(lock(&shared.sessions).len(), SERVER_SESSIONS_MAX);
    let key = SERVER_SESSIONS_MAX.to_be_bytes();
    assert_eq!(other.get(&key), Some(vec![2]));

    let raised = shared.floor.earliest() + Duration::from_secs(1);
    assert!(shared.floor.raise(raised));
    assert_eq!(other.get(&key), None);
    // What the old connection still brings stands on what it found then.
    connection.put(vec![1], vec![1]);
    let fresh = OneConnection::new(&shared);
    full(&fresh);
    fresh.put(vec![2], vec![2]);
    assert_eq!(lock(&shared.sessions).len(), 1);
}
