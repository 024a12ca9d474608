//! What must hold in a world in which nothing moves any more.

use super::world::{Message, Outcome, World};
use super::*;
use crate::outbound_log::LOG_BYTES_MIN;

impl World {
    /// Checks what must hold when nothing is under way any more.
    pub(super) fn check_end(&self) {
        for (number, message) in self.messages.iter().enumerate() {
            let Message {
                qos,
                delivered,
                outcome,
                lossy,
                ..
            } = *message;
            let what = format!(
                "{number}: {message:?}, {:?}, late {}",
                self.policy, self.server.late
            );
            let maybe_twice = match outcome {
                None if qos == QoS::AtMostOnce => {
                    assert!(delivered <= 1, "{what}");
                    continue;
                }
                None => panic!("{what}"),
                Some(Outcome::GivenUp) => {
                    assert!(delivered <= 1, "{what}");
                    continue;
                }
                Some(Outcome::Completed { maybe_twice }) => maybe_twice,
            };
            assert!(delivered >= 1, "{what}");
            assert!(delivered == 1 || maybe_twice, "{what}");
            if qos == QoS::ExactlyOnce {
                assert!(lossy || !maybe_twice, "{what}");
                assert!(
                    delivered == 1 || self.policy == OnSessionLoss::Resend,
                    "{what}"
                );
            }
        }
        let has_crashed = self
            .keeper
            .as_ref()
            .is_some_and(|keeper| keeper.has_crashed);
        for (number, (qos, count)) in &self.inbound {
            let fits = match (qos, count) {
                (_, None) => true,
                (0, Some(n)) => *n <= 1,
                (1, Some(n)) => *n >= 1,
                (_, Some(n)) => *n == 1 || (*n > 1 && has_crashed),
            };
            assert!(
                fits,
                "message {number} of the server at QoS {qos} came {count:?} times"
            );
        }
        assert!(self.server.flight.is_empty() && self.server.held.is_empty());
        assert!(self.requests.is_empty() && self.rig.log.is_empty());
        assert_eq!(self.rig.session.unacknowledged(), 0);
        assert_eq!(self.rig.session.inbound_remembered(), 0);
        assert_eq!(self.rig.session.inbound_held(), 0);
        if let Some(keeper) = &self.keeper {
            keeper.check_end();
        }
        // A lost session takes PUBRELs back, and the next ones may go beyond the bound.
        assert!(has_crashed || self.rig.log.capacity() <= LOG_BYTES_MIN + 4 * 1024);
    }
}
