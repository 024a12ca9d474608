//! A session with its log and the wire, for all tests of what a session does.
//!
//! The random histories are what fuzzers drive, too: these modules are there in a build for them.

#![cfg_attr(not(test), expect(dead_code, reason = "fuzzers need a part"))]
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[cfg(test)]
mod ahead;
mod answers;
#[cfg(test)]
mod canon;
#[cfg(test)]
mod cleared;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod completing;
mod ending;
#[cfg(test)]
mod exactly_once;
#[cfg(test)]
mod handed_back;
pub(crate) mod histories;
#[cfg(test)]
mod inbound;
mod keeper;
#[cfg(test)]
mod liveness;
#[cfg(test)]
mod model;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod peer_errors;
#[cfg(test)]
mod reconnect;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod resume;
mod server;
#[cfg(test)]
mod transmission;
mod world;
#[cfg(test)]
mod worlds;

#[cfg(test)]
pub(super) use self::canon::{Canon, ids};
use super::*;
use crate::packet::{Connect, ConnectFields, MAX_PACKET_LEN, PacketId, PacketRef, QoS, decode};

const VERSION: Version = Version::V311;

const fn at(secs: u64) -> Time {
    Time(secs * 1_000_000_000)
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

const fn completed(key: u32) -> Effect {
    Effect::Completed {
        key: TicketKey(key),
        maybe_twice: false,
    }
}

fn connect_packet(clean_start: bool, keep_alive_secs: u16) -> Connect<'static> {
    let fields = ConnectFields {
        clean_start,
        keep_alive_secs,
        client_id: "id",
        ..Default::default()
    };
    Connect::new(VERSION, fields).unwrap()
}

const CONNECT_LEN: usize = 16;

struct Rig {
    options: SessionOptions,
    session: Session,
    log: OutboundLog,
    now: Time,
}

impl Rig {
    /// A session before CONNECT, at time 0.
    fn idle(options: SessionOptions) -> Self {
        Self {
            options: options.clone(),
            session: Session::new(options),
            log: OutboundLog::default(),
            now: at(0),
        }
    }

    /// A session whose CONNECT was sent, with this keep-alive.
    fn connecting(options: SessionOptions, keep_alive_secs: u16) -> Self {
        let mut rig = Self::idle(options);
        rig.session
            .connect(&connect_packet(true, keep_alive_secs), rig.now)
            .unwrap();
        assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);
        rig
    }

    /// A session that is up, with keep-alive 60.
    fn up() -> Self {
        Self::up_with(SessionOptions::default(), 60)
    }

    fn up_with(options: SessionOptions, keep_alive_secs: u16) -> Self {
        let mut rig = Self::connecting(options, keep_alive_secs);
        assert_eq!(rig.receive(b"\x20\x02\x00\x00"), Ok(Effect::Nothing));
        let connected = Some(Output::Connected {
            session_present: false,
        });
        assert_eq!(rig.session.next_output(), connected);
        rig
    }

    /// Lets the transport take `n` bytes, in as many chunks as it needs, and returns them.
    fn write(&mut self, n: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        loop {
            let chunk = self.session.next_chunk(&self.log);
            let len = chunk.len().min(n - taken.len());
            if len == 0 {
                return taken;
            }
            taken.extend_from_slice(&chunk[..len]);
            self.session.advance(len, self.now, &mut self.log);
        }
    }

    /// Hands over one packet.
    fn receive(&mut self, bytes: &[u8]) -> Result<Effect, PeerError> {
        self.session.received(self.now);
        let packet = decode_whole(bytes);
        self.session
            .handle(Input::Packet(packet), self.now, &mut self.log)
    }

    /// Lets the time come, and says so.
    fn timer(&mut self, now: Time) {
        self.now = now;
        let effect = self.session.handle(Input::Timer, now, &mut self.log);
        assert_eq!(effect, Ok(Effect::Nothing));
    }

    fn publish(&mut self, topic: &str, qos: QoS, key: u32) -> Result<Admitted, Rejected> {
        self.publish_sized(topic, 0, qos, key)
    }

    fn publish_sized(
        &mut self,
        topic: &str,
        payload: usize,
        qos: QoS,
        key: u32,
    ) -> Result<Admitted, Rejected> {
        let payload = vec![b'.'; payload];
        let message = Outgoing {
            topic,
            payload: &payload,
            qos,
            retain: false,
        };
        self.session.publish(message, TicketKey(key), &mut self.log)
    }

    #[track_caller]
    fn check_closed(&mut self, cause: CloseCause) {
        assert_eq!(self.session.next_output(), Some(Output::Closed(cause)));
        assert_eq!(self.session.next_output(), None);
        assert_eq!(self.session.phase(), Phase::Closed);
        assert_eq!(self.write(usize::MAX), b"");
        assert_eq!(self.session.next_deadline(), None);
    }
}

/// Decodes bytes that are one packet.
#[track_caller]
fn decode_whole(bytes: &[u8]) -> PacketRef<'_> {
    let (packet, len) = decode(bytes, VERSION, MAX_PACKET_LEN).unwrap().unwrap();
    assert_eq!(len, bytes.len());
    packet
}
