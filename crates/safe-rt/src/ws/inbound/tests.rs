//! Frames in memory: every cut, every rule.

use super::*;

const BINARY: u8 = 2;
const CONTINUE: u8 = 0;
const FIN: u8 = 0x80;
const MASK: [u8; 4] = [0x9a, 0, 0xff, 0x31];

/// A frame by its first byte and its payload, written without any help from the library.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(masked | len as u8),
        len @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(
        mask.unwrap_or_default()
            .iter()
            .take(if mask.is_some() { 4 } else { 0 }),
    );
    let key = mask.unwrap_or_default();
    out.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

/// What came of a stream: payload, and what its control frames carried.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    payload: Vec<u8>,
    pings: Vec<Vec<u8>>,
    closes: Vec<Vec<u8>>,
}

/// Reads `stream`, which comes in pieces of these lengths in turn, `room` bytes at a time.
fn read(role: Role, stream: &[u8], pieces: &[usize], room: usize) -> Result<Found, WsError> {
    let mut inbound = Inbound::new(role, &[]);
    let mut found = Found::default();
    let mut out = vec![0; room];
    let (mut rest, mut pieces) = (stream, pieces.iter().cycle());
    loop {
        match inbound.next(&mut out)? {
            Event::Payload(len) => found.payload.extend_from_slice(&out[..len]),
            Event::Ping(payload) => found.pings.push(payload.as_slice().to_vec()),
            Event::Close(payload) => found.closes.push(payload.as_slice().to_vec()),
            Event::NeedMore if rest.is_empty() => return Ok(found),
            Event::NeedMore => {
                let piece = (*pieces.next().expect("a length")).min(rest.len());
                let place = inbound.room();
                assert!(!place.is_empty(), "it waits for more and has no room");
                let len = place.len().min(piece);
                place[..len].copy_from_slice(&rest[..len]);
                inbound.filled(len);
                rest = &rest[len..];
            }
        }
    }
}

/// Frames of every length format, a message in fragments with control frames between, nothing at
/// all as a fragment, and a Close frame.
fn every_sort(mask: Option<[u8; 4]>) -> (Vec<u8>, Found) {
    let long: Vec<u8> = (0..70_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let stream = [
        frame(FIN | BINARY, mask, b"one"),
        frame(BINARY, mask, b"tw"),
        frame(FIN | 9, mask, b"are you there?"),
        frame(CONTINUE, mask, b""),
        frame(FIN | 10, mask, b"an answer to nothing"),
        frame(FIN | CONTINUE, mask, b"o"),
        frame(FIN | BINARY, mask, b""),
        frame(FIN | BINARY, mask, &long[..126]),
        frame(FIN | BINARY, mask, &long),
        frame(FIN | 9, mask, &long[..125]),
        frame(FIN | 8, mask, b"\x03\xe8bye"),
    ];
    let found = Found {
        payload: [&b"onetwo"[..], &long[..126], &long].concat(),
        pings: vec![b"are you there?".to_vec(), long[..125].to_vec()],
        closes: vec![b"\x03\xe8bye".to_vec()],
    };
    (stream.concat(), found)
}

#[test]
fn frames_may_be_cut_anywhere() {
    for (role, mask) in [(Role::Client, None), (Role::Server, Some(MASK))] {
        let (stream, expected) = every_sort(mask);
        for pieces in [&[1][..], &[2, 3], &[7], &[125, 1, 4], &[4096], &[100_000]] {
            for room in [1, 5, 4096, 100_000] {
                let found = read(role, &stream, pieces, room).expect("no rule is broken");
                assert!(found == expected, "{role:?}, {pieces:?}, {room}");
            }
        }
        // Every single cut of the part where heads are close to each other.
        for cut in 0..120 {
            let found = read(role, &stream, &[cut.max(1), 100_000], 64).expect("no rule");
            assert!(found == expected, "{role:?}, cut after {cut}");
        }
    }
}

#[test]
fn every_broken_rule_is_found() {
    let plain = |first: u8, payload: &[u8]| frame(first, None, payload);
    let table: [(Vec<u8>, &str); 13] = [
        (plain(FIN | 1, b"text"), "the peer sent a text frame"),
        (plain(1, b"text"), "the peer sent a text frame"),
        (plain(FIN | 3, b""), "an opcode that does not exist"),
        (plain(FIN | 11, b""), "an opcode that does not exist"),
        (plain(FIN | 0x40 | BINARY, b""), "uses an extension"),
        (plain(FIN | 0x10 | 9, b""), "uses an extension"),
        (plain(FIN | CONTINUE, b""), "begins in its middle"),
        (
            [plain(BINARY, b"a"), plain(FIN | BINARY, b"b")].concat(),
            "before the one before it ended",
        ),
        (
            [plain(BINARY, b"a"), plain(FIN | 1, b"b")].concat(),
            "the peer sent a text frame",
        ),
        (plain(9, b""), "a control frame is cut"),
        (plain(FIN | 9, &[0; 126]), "above 125 bytes"),
        (
            vec![FIN | BINARY, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            "its highest bit set",
        ),
        (
            frame(FIN | BINARY, Some(MASK), b"x"),
            "the server masks its frames",
        ),
    ];
    for (stream, text) in table {
        for pieces in [&[1][..], &[1000]] {
            let error = read(Role::Client, &stream, pieces, 64).expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
    let error = read(Role::Server, &plain(FIN | BINARY, b"x"), &[9], 64).expect_err("no mask");
    assert!(error.to_string().contains("does not mask"), "{error}");
}

#[test]
fn a_length_alone_reserves_nothing() {
    // A frame of an exabyte, whose payload never comes.
    let stream = [FIN | BINARY, 127, 0x0f, 0, 0, 0, 0, 0, 0, 0, b'x'];
    let found = read(Role::Client, &stream, &[100], 64).expect("no rule is broken");
    assert_eq!(found.payload, b"x");
}

#[test]
fn payload_past_the_buffer_is_the_same() {
    let long: Vec<u8> = (0..9000_u32).map(|at| (at * 5) as u8).collect();
    let stream = frame(FIN | BINARY, Some(MASK), &long);
    let (head, masked) = stream.split_at(8);
    let mut inbound = Inbound::new(Role::Server, head);
    assert!(matches!(inbound.next(&mut [0]), Ok(Event::NeedMore)));
    let mut payload = Vec::new();
    while let Some(left) = inbound.direct() {
        assert_eq!(left, long.len() - payload.len());
        let at = payload.len();
        let mut piece = masked[at..at + 1001].to_vec();
        inbound.take_direct(&mut piece);
        payload.extend(piece);
    }
    assert_eq!(payload.len(), 5005);
    assert!(payload == long[..5005]);
    let room = inbound.room();
    room[..3995].copy_from_slice(&masked[5005..]);
    inbound.filled(3995);
    let mut rest = [0; 4096];
    assert!(matches!(inbound.next(&mut rest), Ok(Event::Payload(3995))));
    assert!(rest[..3995] == long[5005..]);
}
