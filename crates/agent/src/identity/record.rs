//! One state record as bytes: what a power cut may tear, and what tells that it did.
//!
//! ```text
//!   0       8        12       16           24                    4092    4096
//!   | magic | format | length | generation | payload, then zeros | CRC-32 |
//! ```
//!
//! Numbers are little endian; the checksum is of everything before it. Pure.

use std::fmt;

/// Length of a record.
pub(super) const RECORD_BYTES: usize = 4_096;
/// Longest payload of a record.
pub const RECORD_PAYLOAD_MAX: usize = CHECKSUM_AT - PAYLOAD_AT;

const MAGIC: [u8; 8] = *b"agent-id";
const FORMAT: u32 = 1;
const FORMAT_AT: usize = 8;
const LENGTH_AT: usize = 12;
const GENERATION_AT: usize = 16;
const PAYLOAD_AT: usize = 24;
const CHECKSUM_AT: usize = RECORD_BYTES - 4;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// Not as long as a record.
    Length(usize),
    /// Nothing but zeros: made, and never written.
    Empty,
    /// It does not begin as a record.
    Magic,
    /// The checksum is wrong: torn, or damaged.
    Checksum,
    /// Written by another version of the program.
    Format(u32),
    /// The payload would be longer than [`RECORD_PAYLOAD_MAX`].
    Payload(usize),
    /// What it holds is not understood.
    State,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(found) => {
                write!(f, "expected {RECORD_BYTES} bytes, found {found}")
            }
            Self::Empty => f.write_str("never written"),
            Self::Magic => f.write_str("it does not begin as a state record"),
            Self::Checksum => f.write_str("the checksum is wrong"),
            Self::State => f.write_str("what it holds is not understood"),
            Self::Format(found) => write!(f, "expected format {FORMAT}, found {found}"),
            Self::Payload(found) => {
                write!(
                    f,
                    "expected at most {RECORD_PAYLOAD_MAX} bytes of state, found {found}"
                )
            }
        }
    }
}

impl std::error::Error for RecordError {}

/// Returns the record with this generation and payload.
pub(super) fn encode(generation: u64, payload: &[u8]) -> Result<Vec<u8>, RecordError> {
    encode_as(FORMAT, generation, payload)
}

pub(super) fn encode_as(
    format: u32,
    generation: u64,
    payload: &[u8],
) -> Result<Vec<u8>, RecordError> {
    if payload.len() > RECORD_PAYLOAD_MAX {
        return Err(RecordError::Payload(payload.len()));
    }
    let length = u32::try_from(payload.len()).map_err(|_| RecordError::Payload(payload.len()))?;
    let mut bytes = vec![0; RECORD_BYTES];
    bytes[..FORMAT_AT].copy_from_slice(&MAGIC);
    bytes[FORMAT_AT..LENGTH_AT].copy_from_slice(&format.to_le_bytes());
    bytes[LENGTH_AT..GENERATION_AT].copy_from_slice(&length.to_le_bytes());
    bytes[GENERATION_AT..PAYLOAD_AT].copy_from_slice(&generation.to_le_bytes());
    bytes[PAYLOAD_AT..PAYLOAD_AT + payload.len()].copy_from_slice(payload);
    let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// Returns generation and payload of a record.
pub(super) fn decode(bytes: &[u8]) -> Result<(u64, &[u8]), RecordError> {
    match decode_any(bytes)? {
        (FORMAT, generation, payload) => Ok((generation, payload)),
        (other, ..) => Err(RecordError::Format(other)),
    }
}

/// Returns format, generation and payload of a whole record, which may be of another version of the
/// program: all of them begin and end alike.
pub(super) fn decode_any(bytes: &[u8]) -> Result<(u32, u64, &[u8]), RecordError> {
    if bytes.len() != RECORD_BYTES {
        return Err(RecordError::Length(bytes.len()));
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(RecordError::Empty);
    }
    if bytes[..FORMAT_AT] != MAGIC {
        return Err(RecordError::Magic);
    }
    let number = |at: usize| {
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[at..at + 4]);
        u32::from_le_bytes(four)
    };
    if crc32fast::hash(&bytes[..CHECKSUM_AT]) != number(CHECKSUM_AT) {
        return Err(RecordError::Checksum);
    }
    let length = number(LENGTH_AT) as usize;
    let payload = bytes[PAYLOAD_AT..CHECKSUM_AT]
        .get(..length)
        .ok_or(RecordError::Payload(length))?;
    let generation = u64::from(number(GENERATION_AT + 4)) << 32 | u64::from(number(GENERATION_AT));
    Ok((number(FORMAT_AT), generation, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        for (generation, payload) in [
            (0, &b""[..]),
            (1, b"{}"),
            (u64::MAX, &[7; RECORD_PAYLOAD_MAX]),
            (1 << 32, b"state"),
        ] {
            let record = encode(generation, payload).unwrap();
            assert_eq!(record.len(), RECORD_BYTES);
            assert_eq!(decode(&record), Ok((generation, payload)));
        }
        let long = vec![0; RECORD_PAYLOAD_MAX + 1];
        assert_eq!(encode(1, &long), Err(RecordError::Payload(long.len())));
    }

    #[test]
    fn every_prefix_over_an_older_record_is_told_from_both() {
        let older = encode(1, b"the older state").unwrap();
        let newer = encode(2, b"the newer state, which is longer").unwrap();
        for written in 0..=RECORD_BYTES {
            let mut torn = older.clone();
            torn[..written].copy_from_slice(&newer[..written]);
            match decode(&torn) {
                // The rest of both are equal zeros, but for the checksum at the end.
                Ok(found) => assert!(
                    found == decode(&older).unwrap() || torn == newer,
                    "{written}"
                ),
                Err(error) => assert_eq!(error, RecordError::Checksum, "{written}"),
            }
        }
    }

    #[test]
    fn every_choice_of_sectors_over_an_older_record_is_told_from_both() {
        const SECTOR: usize = 512;
        let older = encode(1, &[b'o'; RECORD_PAYLOAD_MAX]).unwrap();
        let newer = encode(2, &[b'n'; RECORD_PAYLOAD_MAX]).unwrap();
        for chosen in 1..u32::from(u8::MAX) {
            let mut torn = older.clone();
            for sector in (0..8).filter(|sector| chosen >> sector & 1 == 1) {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                torn[range.clone()].copy_from_slice(&newer[range]);
            }
            assert_eq!(decode(&torn), Err(RecordError::Checksum), "{chosen:b}");
        }
    }

    #[test]
    fn what_is_no_record_is_named() {
        let record = encode(3, b"state").unwrap();
        assert_eq!(decode(b""), Err(RecordError::Length(0)));
        assert_eq!(decode(&[0; RECORD_BYTES]), Err(RecordError::Empty));
        let mut other = record.clone();
        other[0] ^= 1;
        assert_eq!(decode(&other), Err(RecordError::Magic));
        for byte in FORMAT_AT..RECORD_BYTES {
            let mut damaged = record.clone();
            damaged[byte] ^= 1;
            assert_eq!(decode(&damaged), Err(RecordError::Checksum), "{byte}");
        }
        let mut future = record;
        future[FORMAT_AT] = 2;
        let checksum = crc32fast::hash(&future[..CHECKSUM_AT]);
        future[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode(&future), Err(RecordError::Format(2)));
    }
}
