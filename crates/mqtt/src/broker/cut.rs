//! Where a cut on demand hit: what shows that it was inside a packet.

use crate::packet::{self, PacketType};

/// Where a connection was cut by [`Faults`](super::Faults).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutReport {
    /// Bytes of MQTT that the broker had received on the connection.
    pub received: u64,
    /// Bytes of MQTT that it had sent.
    pub sent: u64,
    /// The packet of the client that had come in part; `None` at a packet boundary.
    pub inside: Option<CutPacket>,
}

/// A packet that came in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutPacket {
    /// Its type; `None` for one that does not exist.
    pub packet_type: Option<PacketType>,
    /// How many bytes of it had come, from 1.
    pub received: usize,
    /// How many bytes it has; `None` if its length had not come.
    pub len: Option<usize>,
}

impl CutPacket {
    /// Finds the packet that `input`, which begins with a packet, has in part at its end.
    pub(super) fn find(mut input: &[u8], maximum_packet_size: usize) -> Option<Self> {
        loop {
            let first = *input.first()?;
            let len = packet::peek_len(input, maximum_packet_size).ok().flatten();
            match len.and_then(|len| input.get(len..)) {
                Some(rest) => input = rest,
                None => {
                    return Some(Self {
                        packet_type: PacketType::from_first_byte(first),
                        received: input.len(),
                        len,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_in_part_is_the_one_behind_the_last_whole_one() {
        let ping = [0xC0, 0];
        let publish = *b"\x30\x05\x00\x01ab!";
        let bytes: Vec<u8> = ping.iter().chain(&publish).copied().collect();
        let find = |len: usize| CutPacket::find(&bytes[..len], 1024);
        let inside = |packet_type, received, len| {
            Some(CutPacket {
                packet_type: Some(packet_type),
                received,
                len,
            })
        };
        assert_eq!(find(0), None);
        assert_eq!(find(1), inside(PacketType::PingReq, 1, None));
        assert_eq!(find(2), None);
        assert_eq!(find(3), inside(PacketType::Publish, 1, None));
        for received in 2..7 {
            let found = find(2 + received);
            assert_eq!(found, inside(PacketType::Publish, received, Some(7)));
        }
        assert_eq!(find(9), None);
        assert_eq!(
            CutPacket::find(&[0xF0, 0], 1024).map(|found| found.packet_type),
            Some(None)
        );
    }
}
