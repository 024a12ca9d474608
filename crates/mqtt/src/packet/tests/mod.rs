//! Tables for the whole codec: golden bytes, every refusal with its exact text, streams, mutations.

mod connect;
mod decode_errors;
mod encode_errors;
mod fields;
mod fixed_header;
mod golden;
mod mutation;
mod round_trip;
mod stream;

use super::*;

/// A bound that no packet of these tests reaches.
const NO_BOUND: usize = MAX_PACKET_LEN;

/// Returns the encoded packet, written into a slice of exactly the length it says it has.
#[track_caller]
fn encode(packet: &PacketRef<'_>) -> Vec<u8> {
    let mut bytes = vec![0xaa; packet.encoded_len(Version::V311)];
    assert_eq!(packet.encode(Version::V311, &mut bytes), bytes.len());
    bytes
}

/// Decodes bytes that are one whole packet or wrong.
#[track_caller]
fn decode_whole(bytes: &[u8]) -> Result<PacketRef<'_>, DecodeError> {
    let (packet, len) = decode(bytes, Version::V311, NO_BOUND)?.expect("a whole packet");
    assert_eq!(len, bytes.len());
    Ok(packet)
}

/// Returns a packet of this first byte and body, with the length in between.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0, 0, 0, 0];
    let header_len = 1 + var_int::encode(body.len(), &mut bytes[1..]);
    bytes.truncate(header_len);
    bytes.extend_from_slice(body);
    bytes
}

/// Returns the identifier with this number.
const fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("identifiers of tests are not zero")
}

/// A generator of the same numbers on every run (xorshift64).
struct Random(u64);

impl Random {
    /// Returns a number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
