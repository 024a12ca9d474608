//! Leaving for as long as there is nothing to do.

use super::*;

#[test]
fn a_session_rests_only_when_everything_is_sent() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    assert!(!rig.session.rest(rig.now, &rig.log));
    rig.write(usize::MAX);
    rig.session.ping(rig.now, &rig.log).unwrap();
    assert!(!rig.session.rest(rig.now, &rig.log));
    rig.write(usize::MAX);
    assert!(rig.session.rest(rig.now, &rig.log));
    assert!(!rig.session.rest(rig.now, &rig.log));
    assert_eq!(rig.write(usize::MAX), b"\xe0\x00");
    rig.check_closed(CloseCause::Rested);
    let mut idle = Rig::idle(SessionOptions::default());
    assert!(!idle.session.rest(idle.now, &idle.log));
}

#[test]
fn what_is_published_behind_disconnect_waits_for_the_next_connection() {
    let mut rig = Rig::up();
    assert!(rig.session.rest(rig.now, &rig.log));
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    rig.publish("b", QoS::ExactlyOnce, 2).unwrap();
    assert_eq!(rig.session.ping(rig.now, &rig.log), Err(Rejected::NotUp));
    // What comes now is as good as not received.
    assert_eq!(
        rig.receive(b"\x32\x05\x00\x01a\x00\x01"),
        Ok(Effect::Nothing)
    );
    assert_eq!(rig.write(usize::MAX), b"\xe0\x00");
    assert_eq!(
        rig.session.next_output(),
        Some(Output::Closed(CloseCause::Rested))
    );
    rig.session.attach(&mut rig.log).unwrap();
    rig.publish("c", QoS::AtMostOnce, 0).unwrap();
    rig.session
        .connect(&connect_packet(false, 60), rig.now)
        .unwrap();
    assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);
    rig.receive(b"\x20\x02\x01\x00").unwrap();
    assert_eq!(
        rig.write(usize::MAX),
        b"\x32\x05\x00\x01a\x00\x01\x34\x05\x00\x01b\x00\x02\x30\x03\x00\x01c"
    );
}

#[test]
fn a_disconnect_that_does_not_leave_ends_the_connection_all_the_same() {
    let mut rig = Rig::up();
    assert!(rig.session.rest(rig.now, &rig.log));
    rig.timer(at(2));
    rig.check_closed(CloseCause::DisconnectTimeout);
}
