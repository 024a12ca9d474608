//! A PUBLISH above the client's bound: it is read past and acknowledged, for a broker that kept it would
//! send it on every connection again.

use std::rc::Rc;

use super::error::EndCause;
use super::event::Event;
use super::read_buffer::ReadBuffer;
use super::shared::{Shared, State};
use crate::packet::{self, DecodeError, PacketRef, PacketType, Version};
use crate::session::{AckToken, Effect, Input};
use crate::time::Time;

/// The rest of a message that is read past.
#[derive(Debug)]
pub(super) struct Oversized {
    /// Bytes of it that are still to come.
    left: usize,
    /// Acknowledged when all has come; `None` for a message of QoS 0, and for one that has come before.
    ack: Option<AckToken>,
}

impl Oversized {
    /// Begins to read past the packet at the start of `unread`, which is refused for `error`: returns
    /// what is left of it and how many bytes are done with, or `None` while its topic name and packet
    /// identifier have not all come.
    pub(super) fn begin(
        state: &mut State,
        unread: &[u8],
        error: DecodeError,
        now: Time,
    ) -> Result<Option<(Self, usize)>, EndCause> {
        let DecodeError::PacketTooLarge {
            packet_type: PacketType::Publish,
            found,
            ..
        } = error
        else {
            return Err(EndCause::Malformed(error));
        };
        let head = packet::decode_publish_head(unread, Version::V311);
        let Some((publish, head_len)) = head.map_err(EndCause::Malformed)? else {
            return Ok(None);
        };
        let topic = publish.topic().to_owned();
        let effect = state
            .session
            .handle(
                Input::Packet(PacketRef::Publish(publish)),
                now,
                &mut state.log,
            )
            .map_err(EndCause::Peer)?;
        let ack = match effect {
            Effect::Deliver { ack } => {
                state.stats.oversized += 1;
                let bytes = found;
                state.events.push(Event::Oversized { topic, bytes });
                ack
            }
            _ => None,
        };
        let left = found - head_len;
        Ok(Some((Self { left, ack }, head_len)))
    }

    /// Takes what has come of it; tells whether that was all, and acknowledges it then.
    pub(super) fn take(&mut self, shared: &Rc<Shared>, input: &mut ReadBuffer) -> bool {
        let come = input.unconsumed().map_or(0, |(_, range)| range.len());
        let taken = come.min(self.left);
        input.consume(taken);
        self.left -= taken;
        if self.left == 0 {
            self.finish(shared);
        }
        self.left == 0
    }

    /// Acknowledges it. Where the connection is over before all has come, so that a QoS 2 message is not
    /// waited for: the broker sends it again, and it is read past again.
    pub(super) fn finish(&mut self, shared: &Shared) {
        if let Some(ack) = self.ack.take()
            && shared.state().finish_received(ack)
        {
            shared.wake.set();
        }
    }
}
