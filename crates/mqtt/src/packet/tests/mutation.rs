//! Damaged packets: thousands of changes to good ones, the same on every run.

use super::golden;
use super::*;

/// How many damaged packets there are.
const CASES: usize = 60_000;
/// Where the generator starts.
const SEED: u64 = 0x5e_ed0f_c0de_c311;

/// Changes a few bytes, cuts, doubles or joins, and makes the length right again every other time,
/// so that the damage lies behind the header.
fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes[at] = [0x00, 0x01, 0x7f, 0x80, 0xff, b'+', b'#'][random.below(7)],
            3 => bytes.insert(at, random.below(256) as u8),
            4 if bytes.len() > 1 => drop(bytes.remove(at)),
            5 => bytes.truncate(at.max(1)),
            _ => bytes.extend_from_slice(&other[random.below(other.len())..]),
        }
    }
    if random.below(2) == 0 && bytes.len() >= 2 {
        *bytes = packet(bytes[0], &bytes[2..]);
    }
}

#[test]
fn damaged_packets_are_refused_or_are_packets_that_encode_to_the_same_bytes() {
    let goldens = golden::short();
    let random = &mut Random(SEED);
    let (mut taken, mut refused, mut unfinished) = (0, 0, 0);
    for case in 0..CASES {
        let mut bytes = goldens[random.below(goldens.len())].bytes.clone();
        let other = &goldens[random.below(goldens.len())].bytes;
        damage(&mut bytes, other, random);
        match decode(&bytes, Version::V311, NO_BOUND) {
            Ok(Some((packet, len))) => {
                taken += 1;
                same_bytes(&packet, &bytes[..len], case);
            }
            Ok(None) => unfinished += 1,
            Err(_) => refused += 1,
        }
    }
    // The damage is such that every outcome is common.
    assert!(taken > CASES / 10 && refused > CASES / 10 && unfinished > CASES / 10);
    assert_eq!(taken + refused + unfinished, CASES);
}

/// Checks that a decoded packet encodes to what it came from. There is one way only to encode a
/// packet of MQTT 3.1.1, but for a length in more bytes than needed.
#[track_caller]
fn same_bytes(packet: &PacketRef<'_>, bytes: &[u8], case: usize) {
    let length_len = 1 + bytes[1..].iter().take_while(|&&byte| byte >= 0x80).count();
    let shortest = super::packet(bytes[0], &bytes[1 + length_len..]);
    assert_eq!(encode(packet), shortest, "seed {SEED:#x}, case {case}");
}

#[test]
fn noise_is_never_taken_for_anything_else() {
    let random = &mut Random(SEED);
    for case in 0..CASES {
        let bytes: Vec<u8> = (0..=random.below(24))
            .map(|_| random.below(256) as u8)
            .collect();
        if let Ok(Some((packet, len))) = decode(&bytes, Version::V311, NO_BOUND) {
            same_bytes(&packet, &bytes[..len], case);
        }
    }
}

#[test]
fn whatever_is_taken_whole_was_asked_for_more_at_every_split_point() {
    let goldens = golden::short();
    let random = &mut Random(SEED);
    for case in 0..CASES / 10 {
        let mut bytes = goldens[random.below(goldens.len())].bytes.clone();
        damage(&mut bytes, b"\x00", random);
        let Ok(Some((_, len))) = decode(&bytes, Version::V311, NO_BOUND) else {
            continue;
        };
        for split in 0..len {
            let decoded = decode(&bytes[..split], Version::V311, NO_BOUND);
            assert_eq!(
                decoded,
                Ok(None),
                "seed {SEED:#x}, case {case}, split {split}"
            );
        }
    }
}
