//! Segments: the files of a store, as bytes.
//!
//! ```text
//!   magic "MQLG" │ major u8 │ minor u8 │ 0 u16 │ number u64 │ salt u32 │ checksum u32 │ frames ..
//! ```
//! A segment is written from front to back and never again. What a power cut leaves of it is whole
//! frames and then anything: a torn tail. A frame that is damaged while whole ones follow is something
//! else: a fault of the disk. The salt keeps bytes that look like frames, inside a payload for
//! example, from being taken for some.

use super::checksum::crc32c;
use super::record;

const MAGIC: &[u8; 4] = b"MQLG";
/// A higher one is not understood here.
pub(super) const MAJOR: u8 = 1;
const MINOR: u8 = 0;

/// The length of what is before the first frame.
pub(super) const HEAD_LEN: usize = 24;

/// How many bytes at most are looked through, again and again, for the next whole frame.
const RESYNC_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) salt: u32,
}

/// What is wrong with the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// It is not whole, or no segment.
    Damaged,
    /// It was written by a newer program, in a format of this major version.
    Newer { major: u8 },
}

impl Head {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[MAJOR, MINOR, 0, 0]);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.salt.to_be_bytes());
        let crc = crc32c(0, &out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let Some((head, crc)) = bytes
            .get(..HEAD_LEN)
            .and_then(|head| head.split_last_chunk::<4>())
        else {
            return Err(HeadError::Damaged);
        };
        if !head.starts_with(MAGIC) || crc32c(0, head).to_be_bytes() != *crc {
            return Err(HeadError::Damaged);
        }
        let major = head[4];
        if major > MAJOR {
            return Err(HeadError::Newer { major });
        }
        match (head[8..16].try_into(), head[16..].try_into()) {
            (Ok(number), Ok(salt)) => Ok(Self {
                number: u64::from_be_bytes(number),
                salt: u32::from_be_bytes(salt),
            }),
            (_, _) => Err(HeadError::Damaged),
        }
    }
}

/// What lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole frame.
    Frame { offset: usize, frame: &'a [u8] },
    /// Damage, with a whole frame behind it, or with more behind it than was looked through.
    Gap { offset: usize, len: usize },
    /// No whole frame any more.
    Torn { offset: usize },
}

/// Goes through the frames of a segment, or of a part of one.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    offset: usize,
    salt: u32,
    /// How many more bytes may be looked through for whole frames; `None` if there were too few.
    budget: Option<usize>,
}

impl<'a> Scan<'a> {
    /// Begins at `offset`, where a frame should be.
    pub(super) const fn new(bytes: &'a [u8], offset: usize, salt: u32) -> Self {
        Self {
            bytes,
            offset,
            salt,
            budget: Some(RESYNC_BYTES_MAX),
        }
    }

    /// Returns the whole frame at `offset`.
    fn frame(&self, offset: usize) -> Option<&'a [u8]> {
        let rest = &self.bytes[offset..];
        let frame = &rest[..record::frame_len(rest)?];
        record::is_intact(frame, self.salt).then_some(frame)
    }

    fn resync(&mut self) -> Option<usize> {
        for offset in self.offset + 1..self.bytes.len() {
            let rest = &self.bytes[offset..];
            let Some(len) = record::frame_len(rest) else {
                continue;
            };
            self.budget = self.budget.and_then(|budget| budget.checked_sub(len));
            if self.budget.is_none() {
                return self.behind_damage();
            }
            if record::is_intact(&rest[..len], self.salt) {
                return Some(offset);
            }
        }
        None
    }

    /// Returns where the damaged frame says that the next one is, if there is one.
    fn behind_damage(&self) -> Option<usize> {
        let next = self.offset + record::frame_len(&self.bytes[self.offset..])?;
        self.frame(next).map(|_| next)
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let offset = self.offset;
        if offset >= self.bytes.len() {
            return None;
        }
        if let Some(frame) = self.frame(offset) {
            self.offset += frame.len();
            return Some(Found::Frame { offset, frame });
        }
        match self.resync() {
            Some(next) => {
                self.offset = next;
                let len = next - offset;
                Some(Found::Gap { offset, len })
            }
            None => {
                self.offset = self.bytes.len();
                Some(match self.budget {
                    Some(_) => Found::Torn { offset },
                    None => Found::Gap {
                        offset,
                        len: self.offset - offset,
                    },
                })
            }
        }
    }
}

/// Returns a segment without what is damaged in it; `None` where nothing is, but for a torn tail.
pub(super) fn repaired(bytes: &[u8], salt: u32) -> Option<Vec<u8>> {
    let is_gap = |found| matches!(found, Found::Gap { .. });
    let mut out = bytes.get(..HEAD_LEN)?.to_vec();
    // Almost none is, and a copy would take as much memory again.
    if !Scan::new(bytes, HEAD_LEN, salt).any(is_gap) {
        return None;
    }
    for found in Scan::new(bytes, HEAD_LEN, salt) {
        if let Found::Frame { frame, .. } = found {
            out.extend_from_slice(frame);
        }
    }
    Some(out)
}
