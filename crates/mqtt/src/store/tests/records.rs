//! Records and segments as bytes.

use super::*;
use crate::store::record::{self, FRAME_HEAD};
use crate::store::segment::{Found, HEAD_LEN, Head, HeadError, Scan, repaired};

fn samples() -> Vec<Record<'static>> {
    let key = Some(Key::new("k").unwrap());
    let mut samples = vec![
        Record::Publish(message("t", b"")),
        Record::Publish(MessageRecord {
            key: Some(Key::new([0xff; KEY_BYTES_MAX]).unwrap()),
            qos: QoS::ExactlyOnce,
            retain: true,
            published: u64::MAX,
            expires: u64::MAX - 1,
            topic: "Zähler/1",
            payload: &[0, 1, 2, 0xff],
        }),
        Record::Assigned {
            message: StorePos(7),
            packet_id: PacketId::MAX,
        },
        Record::Recorded {
            message: StorePos(u64::MAX),
        },
        Record::MaybeSent {
            message: StorePos(8),
        },
        Record::Received(PacketId::MIN),
        Record::Released(id(300)),
        Record::SessionLost,
    ];
    for mode in [Mode::Clean, Mode::CleanFirst, Mode::Kept] {
        let mut identity = identity("");
        identity.mode = mode;
        samples.push(Record::Identity(identity));
    }
    let causes = [
        ACKED,
        DoneCause::Acked { maybe_twice: true },
        DoneCause::Refused(0x87),
        DoneCause::Expired,
        DoneCause::Dropped,
        DoneCause::SessionLost,
        DoneCause::Withdrawn,
    ];
    for cause in causes {
        for key in [None, key] {
            let message = StorePos(9);
            samples.push(Record::Done {
                message,
                cause,
                key,
            });
        }
    }
    samples
}

fn frame(record: &Record<'_>, at: u64, salt: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    record.encode(StorePos(at), &mut frame);
    record::seal(&mut frame, salt);
    frame
}

#[test]
fn every_record_is_read_as_it_was_written() {
    for sample in samples() {
        let frame = frame(&sample, 5, 1);
        assert_eq!(record::frame_len(&frame), Some(frame.len()));
        assert!(record::is_intact(&frame, 1) && !record::is_intact(&frame, 2));
        let read = Record::decode(record::body(&frame));
        assert_eq!(read, Some((StorePos(5), sample.clone())));
        if let Record::Publish(message) = sample {
            assert_eq!(message.frame_len(), frame.len());
        }
    }
}

#[test]
fn a_format_once_written_stays_readable() {
    let mut message = message("ab", b"cd");
    message.key = Some(Key::new("k").unwrap());
    message.published = 0x0102;
    let publish = frame(&Record::Publish(message), 3, 0);
    assert_eq!(
        publish,
        b"\0\0\0\x1a\x48\xaa\x76\xc6\x01\0\0\0\0\0\0\0\x03\x01\0\0\0\0\0\0\x01\x02\x01k\0\x02abcd"
    );
    let mut head = Vec::new();
    let (number, salt) = (2, 3);
    Head { number, salt }.encode(&mut head);
    assert_eq!(
        head,
        b"MQLG\x01\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x03\xe8\xf7\xfb\xcf"
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    for sample in samples() {
        let frame = frame(&sample, 5, 1);
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let is_whole = record::frame_len(&damaged) == Some(damaged.len());
            assert!(!is_whole || !record::is_intact(&damaged, 1), "{sample:?}");
        }
    }
}

#[test]
fn a_body_that_is_cut_or_unknown_says_nothing_wrong() {
    for sample in samples() {
        let frame = frame(&sample, 5, 1);
        let body = record::body(&frame);
        for len in 0..body.len() {
            let read = Record::decode(&body[..len]);
            // What is at the end of these may be of any length.
            let is_open = matches!(sample, Record::Publish(_) | Record::Identity(_));
            assert!(read.is_none() || is_open, "{sample:?} cut to {len}");
        }
        for kind in (10..=u8::MAX).chain([0]) {
            let mut unknown = body.to_vec();
            unknown[0] = kind;
            assert_eq!(Record::decode(&unknown), None);
        }
    }
}

#[test]
fn a_position_that_is_never_given_is_passed_over() {
    let highest = 1 << 60;
    let read = |at| Record::decode(record::body(&frame(&Record::SessionLost, at, 1))).is_some();
    assert!(read(highest));
    for at in [highest + 1, u64::MAX - 1, u64::MAX] {
        assert!(!read(at));
        let machine = Machine::default();
        let mut content = Vec::new();
        let (number, salt) = (1, 1);
        Head { number, salt }.encode(&mut content);
        content.extend(frame(&Record::Publish(message("t", b"first")), 1, 1));
        content.extend(frame(&Record::Publish(message("t", b"beyond")), at, 1));
        machine.put("0000000000000001.log", content);
        let store = open(&machine, &options(Level::Synced));
        assert_eq!(reports(&store), [Report::Skipped { records: 1 }]);
        let pos = publish(&store, b"next");
        assert!(pos > StorePos(1) && pos < StorePos(highest));
        assert_eq!(payloads(&store), [b"first".to_vec(), b"next".to_vec()]);
    }
}

#[test]
fn fields_with_no_meaning_are_not_guessed() {
    let cases: [(&Record<'_>, usize, u8); 5] = [
        (&Record::Publish(message("t", b"x")), 9, 3),
        (&Record::Publish(message("t", b"x")), 9, 0x10),
        (&Record::Publish(message("t", b"x")), 18, 17),
        (&Record::Identity(identity("x")), 10, 3),
        (
            &Record::Done {
                message: StorePos(1),
                cause: ACKED,
                key: None,
            },
            17,
            6,
        ),
    ];
    for (record, at, value) in cases {
        let mut body = record::body(&frame(record, 1, 0)).to_vec();
        body[at] = value;
        assert_eq!(
            Record::decode(&body),
            None,
            "{record:?} with {value} at {at}"
        );
    }
    let received = record::body(&frame(&Record::Received(id(1)), 1, 0)).to_vec();
    let zero = [&received[..9], &[0, 0]].concat();
    assert_eq!(Record::decode(&zero), None);
}

#[test]
fn a_key_has_one_to_sixteen_bytes() {
    for found in [0, 17, 1_000] {
        assert_eq!(Key::new(vec![1; found]), Err(KeyLength { found }));
    }
    for len in 1..=KEY_BYTES_MAX {
        assert_eq!(Key::new(vec![1; len]).unwrap().as_bytes(), vec![1; len]);
    }
}

#[test]
fn the_head_of_a_segment_is_whole_or_damaged_or_newer() {
    let mut bytes = Vec::new();
    let head = Head {
        number: 77,
        salt: 0xdead_beef,
    };
    head.encode(&mut bytes);
    assert_eq!((Head::decode(&bytes), bytes.len()), (Ok(head), HEAD_LEN));
    for len in 0..HEAD_LEN {
        assert_eq!(Head::decode(&bytes[..len]), Err(HeadError::Damaged));
    }
    for bit in 0..HEAD_LEN * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Head::decode(&damaged), Err(HeadError::Damaged));
    }
    assert_eq!(Head::decode(&newer(77)), Err(HeadError::Newer { major: 2 }));
}

/// The head of a segment that a newer program wrote.
pub(super) fn newer(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head { number, salt: 1 }.encode(&mut bytes);
    bytes[4] = 2;
    let crc = checksum::crc32c(0, &bytes[..HEAD_LEN - 4]);
    bytes[HEAD_LEN - 4..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_scan_finds_the_frames_around_any_damage() {
    let frames: Vec<_> = (0..4)
        .map(|n| frame(&Record::Publish(message("topic", &[n; 20])), n.into(), 9))
        .collect();
    let whole = frames.concat();
    let len = frames[0].len();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        let hit = at / len;
        let mut expected: Vec<_> = (0..4)
            .filter(|n| *n != hit)
            .map(|n| (n * len, len, true))
            .collect();
        expected.insert(hit, (hit * len, len, false));
        let found: Vec<_> = Scan::new(&damaged, 0, 9)
            .map(|found| match found {
                Found::Frame { offset, frame } => (offset, frame.len(), true),
                Found::Gap { offset, len } => (offset, len, false),
                Found::Torn { offset } => (offset, damaged.len() - offset, false),
            })
            .collect();
        assert_eq!(found, expected, "damage at {at}");
    }
}

#[test]
fn a_payload_that_looks_like_a_record_is_none() {
    let forged = frame(&Record::SessionLost, 99, 0);
    let hidden = Record::Publish(message("t", &forged));
    let mut bytes = [frame(&hidden, 1, 5), frame(&hidden, 2, 5)].concat();
    bytes[FRAME_HEAD] ^= 1;
    let frames = Scan::new(&bytes, 0, 5).filter(|found| matches!(found, Found::Frame { .. }));
    assert_eq!(frames.count(), 1);
    // With the salt of another file it would have been one.
    let frames = Scan::new(&bytes, 0, 0).filter(|found| matches!(found, Found::Frame { .. }));
    assert_eq!(frames.count(), 2);
}

#[test]
fn a_repaired_segment_has_the_frames_and_nothing_else() {
    let mut head = Vec::new();
    Head { number: 1, salt: 9 }.encode(&mut head);
    let [one, two, three] = [1, 2, 3].map(|n| frame(&Record::Received(id(n)), n.into(), 9));
    let sound = [&head[..], &one, &two].concat();
    assert_eq!(repaired(&sound, 9), None);
    assert_eq!(
        repaired(&[&sound[..], &three[..5]].concat(), 9),
        None,
        "a torn tail"
    );
    let damaged = [&head[..], &one, b"damage", &two, &three[..5]].concat();
    assert_eq!(repaired(&damaged, 9), Some(sound));
}
