//! Answers that come together do what they do one by one.

use super::world::{Outcome, World};
use super::*;
use crate::packet;

impl World {
    /// The client receives the next answers to its messages together, if it is time for that.
    pub(super) fn receive_answers(&mut self) -> bool {
        let is_answer = |packet: &&Vec<u8>| matches!(packet[0], 0x40 | 0x50 | 0x70);
        let bytes = self.down.iter().take_while(is_answer).flatten();
        let bytes = Vec::from_iter(bytes.copied());
        self.in_runs = !self.in_runs;
        if !self.in_runs || bytes.is_empty() {
            return false;
        }
        #[cfg(test)]
        let before = (self.rig.session.clone(), self.rig.log.clone());
        self.rig.session.received(self.rig.now);
        let mut completed = Vec::new();
        let Rig {
            session, log, now, ..
        } = &mut self.rig;
        let len = session.handle_answers(&bytes, *now, log, |key, maybe_twice| {
            completed.push((key, maybe_twice));
        });
        #[cfg(test)]
        self.check_answers(before, &bytes[..len], &completed);
        for (key, maybe_twice) in completed {
            self.settle(key, Outcome::Completed { maybe_twice });
        }
        self.down.drain(..len / packet::ANSWER_LEN);
        self.outputs();
        len > 0
    }

    /// Checks that the answers did what they do one by one.
    #[cfg(test)]
    fn check_answers(
        &self,
        (session, log): (Session, OutboundLog),
        bytes: &[u8],
        completed: &[(TicketKey, bool)],
    ) {
        let now = self.rig.now;
        let mut alone = Rig {
            options: self.rig.options.clone(),
            session,
            log,
            now,
        };
        let mut one_by_one = Vec::new();
        for packet in bytes.chunks(packet::ANSWER_LEN) {
            match alone.receive(packet).unwrap() {
                Effect::Completed { key, maybe_twice } => one_by_one.push((key, maybe_twice)),
                effect => assert_eq!(effect, Effect::Nothing),
            }
        }
        assert_eq!(completed, one_by_one);
        let (session, log) = (self.rig.session.clone(), self.rig.log.clone());
        let mut together = Rig {
            options: self.rig.options.clone(),
            session,
            log,
            now,
        };
        for rig in [&mut together, &mut alone] {
            assert_eq!(rig.session.counters(), self.rig.session.counters());
            assert_eq!(
                rig.session.next_deadline(),
                self.rig.session.next_deadline()
            );
            let unacknowledged = self.rig.session.unacknowledged();
            assert_eq!(rig.session.unacknowledged(), unacknowledged);
            let (head, tail) = (self.rig.log.head(), self.rig.log.tail());
            assert_eq!((rig.log.head(), rig.log.tail()), (head, tail));
        }
        assert_eq!(together.write(usize::MAX), alone.write(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(rig: &mut Rig, bytes: &[u8]) -> (usize, Vec<(u32, bool)>) {
        let Rig {
            session, log, now, ..
        } = rig;
        let mut completed = Vec::new();
        let len = session.handle_answers(bytes, *now, log, |key, maybe_twice| {
            completed.push((key.0, maybe_twice));
        });
        (len, completed)
    }

    #[test]
    fn answers_are_handled_as_far_as_they_are_nothing_special() {
        let mut rig = Rig::up();
        for key in 1..=2 {
            rig.publish("a", QoS::AtLeastOnce, key).unwrap();
        }
        rig.publish("a", QoS::ExactlyOnce, 3).unwrap();
        rig.write(usize::MAX);
        let answers = b"\x40\x02\x00\x02\x40\x02\x00\x02\x50\x02\x00\x03\x40\x02\x00\x01";
        let behind = b"\xd0\x00\x40\x02\x00\x01";
        let bytes = [&answers[..], behind].concat();
        let handled = handle(&mut rig, &bytes);
        assert_eq!(handled, (answers.len(), vec![(2, false), (1, false)]));
        assert_eq!(rig.session.counters().unknown_acks, 1);
        assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x03");
        let handled = handle(&mut rig, b"\x70\x02\x00\x03\x70\x02\x00");
        assert_eq!(handled, (4, vec![(3, false)]));
        assert!(rig.log.is_empty());
    }

    #[test]
    fn what_is_no_plain_answer_is_left_to_the_decoder() {
        let mut rig = Rig::up();
        rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
        rig.write(usize::MAX);
        for bytes in [
            &b""[..],
            b"\x40\x02\x00",
            b"\x40\x02\x00\x00",
            b"\x40\x03\x00\x01\x00",
            b"\x41\x02\x00\x01",
            b"\x62\x02\x00\x01",
        ] {
            assert_eq!(handle(&mut rig, bytes), (0, vec![]), "{bytes:?}");
        }
        let mut connecting = Rig::connecting(SessionOptions::default(), 60);
        assert_eq!(handle(&mut connecting, b"\x40\x02\x00\x01"), (0, vec![]));
        let recorded = SessionOptions {
            recorded: true,
            ..SessionOptions::default()
        };
        let mut recorded = Rig::up_with(recorded, 60);
        assert_eq!(handle(&mut recorded, b"\x50\x02\x00\x01"), (0, vec![]));
    }
}
