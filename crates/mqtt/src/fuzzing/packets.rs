//! The codec: bytes that come whole or in pieces, and packets written again.

use super::input::Input;
use crate::packet::{DecodeError, MAX_PACKET_LEN, PacketRef, Version, decode, peek_len};

const VERSION: Version = Version::V311;

/// What a stream of bytes begins with: whole packets, each with its end, and what follows them.
struct Decoded<'a> {
    packets: Vec<(PacketRef<'a>, usize)>,
    end: Result<(), DecodeError>,
}

/// Checks that a stream gives the same packets, or the same error, whole, in pieces and byte by
/// byte, and that each packet is written as the bytes that it came from.
///
/// The input: a bound on packets (two bytes, 0 for none), the number of cuts, the cuts (two bytes
/// each), the stream.
pub fn packets(data: &[u8]) {
    let mut input = Input::new(data);
    let maximum = match input.u16() {
        0 => MAX_PACKET_LEN,
        maximum => maximum.into(),
    };
    let cuts: Vec<u16> = (0..input.below(8)).map(|_| input.u16()).collect();
    let stream = input.rest();
    let whole = decode_whole(stream, maximum);

    let mut pieces: Vec<usize> = cuts
        .into_iter()
        .map(|cut| usize::from(cut) % (stream.len() + 1))
        .collect();
    pieces.sort_unstable();
    pieces.push(stream.len());
    expect_same_in_pieces(stream, maximum, &whole, pieces.into_iter());
    if stream.len() <= 512 {
        expect_same_in_pieces(stream, maximum, &whole, 1..=stream.len());
    }

    let mut start = 0;
    for (packet, end) in &whole.packets {
        expect_same_bytes(packet, &stream[start..*end]);
        start = *end;
    }
    if let Err(error) = whole.end {
        assert!(!error.to_string().is_empty());
        let _ = error.connect_reason();
    }
}

fn decode_whole(stream: &[u8], maximum: usize) -> Decoded<'_> {
    let (mut packets, mut at) = (Vec::new(), 0);
    loop {
        let rest = &stream[at..];
        let (decoded, peeked) = (decode(rest, VERSION, maximum), peek_len(rest, maximum));
        let end = match decoded {
            Ok(Some((packet, len))) => {
                assert_eq!(peeked, Ok(Some(len)));
                assert!((2..=maximum.min(rest.len())).contains(&len));
                at += len;
                packets.push((packet, at));
                continue;
            }
            Ok(None) => {
                let is_longer = |peeked: Option<usize>| peeked.is_none_or(|len| len > rest.len());
                assert!(peeked.is_ok_and(is_longer), "{peeked:?}");
                Ok(())
            }
            Err(error) => {
                let is_whole = |peeked: Option<usize>| peeked.is_some_and(|len| len <= rest.len());
                assert!(peeked == Err(error) || peeked.is_ok_and(is_whole));
                Err(error)
            }
        };
        return Decoded { packets, end };
    }
}

/// Gives the stream to the codec up to each of `ends`, as a connection would.
fn expect_same_in_pieces(
    stream: &[u8],
    maximum: usize,
    whole: &Decoded<'_>,
    ends: impl Iterator<Item = usize>,
) {
    let (mut at, mut found) = (0, 0);
    for end in ends {
        loop {
            match decode(&stream[at..end], VERSION, maximum) {
                Ok(Some((packet, len))) => {
                    at += len;
                    assert_eq!(Some(&(packet, at)), whole.packets.get(found));
                    found += 1;
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(Err(error), whole.end);
                    assert_eq!(found, whole.packets.len());
                    return;
                }
            }
        }
    }
    assert_eq!(found, whole.packets.len());
    assert_eq!(whole.end, Ok(()));
}

/// There is one way only to encode a packet of MQTT 3.1.1, but for a length in more bytes than it
/// needs.
fn expect_same_bytes(packet: &PacketRef<'_>, bytes: &[u8]) {
    let length_len = 1 + bytes[1..].iter().take_while(|&&byte| byte >= 0x80).count();
    let body = &bytes[1 + length_len..];
    let mut written = vec![0xaa; packet.encoded_len(VERSION)];
    assert_eq!(packet.encode(VERSION, &mut written), written.len());
    assert!(written.ends_with(body) && written[0] == bytes[0]);
    assert!(written.len() <= bytes.len());
    if length_len == 1 {
        assert_eq!(written, bytes);
    }
    let again = decode(&written, VERSION, MAX_PACKET_LEN);
    assert_eq!(again, Ok(Some((*packet, written.len()))));
}
