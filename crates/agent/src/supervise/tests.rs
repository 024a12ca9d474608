//! What happens to a connection, and what is told of it.

use std::sync::Arc;

use super::*;

const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn at(secs: u64) -> Instant {
    START + Duration::from_secs(secs)
}

fn failed(retry_in: u64) -> Event {
    Event::ConnectFailed {
        cause: Arc::new(EndCause::ClosedByPeer),
        retry_in: Some(Duration::from_secs(retry_in)),
    }
}

fn ended() -> Event {
    Event::Disconnected {
        cause: Arc::new(EndCause::ClosedByPeer),
        last_sent: None,
        last_acked: None,
        unanswered: None,
        address: None,
        retry_in: Some(Duration::from_secs(1)),
    }
}

const UP: Event = Event::Connected {
    session_present: false,
};

#[test]
fn weeks_without_a_network_are_no_reason_to_be_restarted_but_a_silent_link_is() {
    let mut supervisor = Supervisor::new(START);
    let mut now = 0;
    for _ in 0..2_000 {
        supervisor.event(&failed(600), at(now));
        now += 630;
        assert_eq!(supervisor.stuck(at(now)), None);
    }
    assert!(supervisor.health().contains_key(&HealthCode::Offline));
    let limit = 600 + STUCK_GRACE.as_secs();
    assert_eq!(supervisor.stuck(at(now - 630 + limit)), None);
    let stuck = supervisor.stuck(at(now - 630 + limit + 1)).unwrap();
    assert!(stuck.contains("offline"), "{stuck}");
    supervisor.event(&UP, at(now));
    assert_eq!(supervisor.stuck(at(now + 1_000_000)), None);
}

#[test]
fn one_that_never_begins_to_connect_is_stuck() {
    let supervisor = Supervisor::new(START);
    assert_eq!(supervisor.stuck(START + STUCK_GRACE), None);
    assert!(
        supervisor
            .stuck(START + STUCK_GRACE + Duration::from_secs(1))
            .is_some()
    );
}

#[test]
fn time_with_and_without_a_connection_is_counted() {
    let mut supervisor = Supervisor::new(START);
    supervisor.event(&failed(1), at(10));
    supervisor.event(&UP, at(15));
    supervisor.event(&ended(), at(115));
    let stats = supervisor.stats(at(120));
    assert_eq!((stats.online.as_secs(), stats.offline.as_secs()), (100, 20));
    assert_eq!(
        (stats.connects, stats.disconnects, stats.failures),
        (1, 1, 1)
    );
}

#[test]
fn a_fight_for_the_client_identifier_is_recognised_and_forgotten() {
    let mut supervisor = Supervisor::new(START);
    for round in 0..3 {
        supervisor.event(&UP, at(round * 10));
        supervisor.event(&ended(), at(round * 10 + 5));
    }
    let code = HealthCode::DuplicateIdentity;
    assert!(supervisor.health().contains_key(&code));
    // The other one pauses, and comes back.
    supervisor.event(&UP, at(100));
    supervisor.event(&ended(), at(100 + 600));
    assert!(supervisor.health().contains_key(&code));
    supervisor.event(&UP, at(800));
    supervisor.settle(at(800 + 899));
    assert!(supervisor.health().contains_key(&code));
    let mut settled = supervisor.clone();
    settled.settle(at(800 + 900));
    assert!(!settled.health().contains_key(&code));
    supervisor.event(&ended(), at(800 + 3_600));
    assert!(!supervisor.health().contains_key(&code));
}

fn ended_on(topic: &str) -> Event {
    let packet = SentPacket::Publish {
        topic: topic.to_owned(),
    };
    let mut event = ended();
    if let Event::Disconnected { unanswered, .. } = &mut event {
        *unanswered = Some(Box::new(Unanswered::new(packet, 1)));
    }
    event
}

#[test]
fn a_packet_that_each_connection_ends_with_is_named_and_is_no_fight() {
    let mut supervisor = Supervisor::new(START);
    let refused = |supervisor: &Supervisor| {
        let found = supervisor.health().get(&HealthCode::RefusedTopic);
        found.map(|ailment| ailment.text.clone())
    };
    for (round, topic) in ["other", "secret", "secret", "secret"].iter().enumerate() {
        assert_eq!(refused(&supervisor), None, "{round}");
        supervisor.event(&UP, at(round as u64 * 10));
        supervisor.event(&ended_on(topic), at(round as u64 * 10 + 5));
    }
    let text = refused(&supervisor).unwrap();
    assert!(text.contains("PUBLISH \"secret\""), "{text}");
    let fight = HealthCode::DuplicateIdentity;
    assert!(!supervisor.health().contains_key(&fight));
    let last = supervisor.last_end().unwrap();
    assert!(
        last.contains("PUBLISH \"secret\" never acknowledged"),
        "{last}"
    );
    // A connection that lasts, or another end, says otherwise.
    supervisor.event(&UP, at(100));
    let mut later = supervisor.clone();
    later.settle(at(159));
    assert!(refused(&later).is_some());
    later.settle(at(160));
    assert_eq!(refused(&later), None);
    supervisor.event(&ended(), at(120));
    assert_eq!(refused(&supervisor), None);
}

#[test]
fn a_pause_leaves_a_connection_that_there_is_alone() {
    let mut supervisor = Supervisor::new(START);
    supervisor.event(&UP, at(1));
    let until = at(100);
    supervisor.event(&Event::Paused { until }, at(2));
    assert_eq!(supervisor.link().name(), "online");
    supervisor.event(&ended(), at(3));
    supervisor.event(&Event::Paused { until }, at(4));
    assert_eq!(supervisor.link(), &Link::Paused { until });
    assert_eq!(supervisor.stuck(until + STUCK_GRACE), None);
}
