//! The variable-length integer of the Remaining Length (MQTT3-2.2.3): seven bits a byte, the
//! lowest first, the top bit says that another byte follows; four bytes at most.
//!
//! MQTT 3.1.1 does not ask for the shortest form, so a longer one is read; we write the shortest.

use super::error::DecodeError;

/// The largest value, and so the largest remaining length: four bytes of seven bits.
pub(super) const MAX: usize = 268_435_455;
/// The most bytes a value takes.
const MAX_LEN: usize = 4;

/// Returns how many bytes `value` takes: 1 to 4.
#[inline]
pub(super) const fn encoded_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Writes `value`, which is at most [`MAX`], in its shortest form and returns how many bytes that
/// took. `out` has room for it.
pub(super) fn encode(value: usize, out: &mut [u8]) -> usize {
    debug_assert!(value <= MAX, "a packet's constructor bounds its length");
    let len = encoded_len(value);
    for (i, byte) in out[..len].iter_mut().enumerate() {
        let more = if i + 1 < len { 0x80 } else { 0 };
        *byte = (value >> (7 * i)) as u8 & 0x7f | more;
    }
    len
}

/// Reads a value and the number of bytes it took; `None` while its last byte is not there.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(MAX_LEN).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() >= MAX_LEN {
        return Err(DecodeError::RemainingLengthTooLong {
            fourth_byte: bytes[MAX_LEN - 1],
        });
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of the four ranges in the table of MQTT3-2.2.3.
    const RANGE_ENDS: [(usize, &[u8]); 8] = [
        (0, &[0x00]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xff, 0x7f]),
        (16_384, &[0x80, 0x80, 0x01]),
        (2_097_151, &[0xff, 0xff, 0x7f]),
        (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        (268_435_455, &[0xff, 0xff, 0xff, 0x7f]),
    ];

    #[test]
    fn the_ends_of_every_range_have_the_bytes_of_the_standard() {
        for (value, bytes) in RANGE_ENDS {
            let mut out = [0; 4];
            assert_eq!(encode(value, &mut out), bytes.len(), "{value}");
            assert_eq!(&out[..bytes.len()], bytes, "{value}");
            assert_eq!(encoded_len(value), bytes.len(), "{value}");
            assert_eq!(decode(bytes), Ok(Some((value, bytes.len()))));
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        // A prime step hits every residue of the seven-bit groups.
        for value in (0..=MAX).step_by(10_007) {
            let mut out = [0; 4];
            let len = encode(value, &mut out);
            assert_eq!(decode(&out[..len]), Ok(Some((value, len))));
        }
    }

    #[test]
    fn an_unfinished_value_asks_for_more() {
        for bytes in [&[][..], &[0x80], &[0xff, 0xff], &[0x80, 0x80, 0x80]] {
            assert_eq!(decode(bytes), Ok(None), "{bytes:x?}");
        }
    }

    #[test]
    fn a_fourth_byte_that_announces_a_fifth_is_refused_before_the_fifth_is_there() {
        for fourth_byte in 0x80..=0xff {
            let expected = Err(DecodeError::RemainingLengthTooLong { fourth_byte });
            assert_eq!(decode(&[0x80, 0x80, 0x80, fourth_byte]), expected);
            assert_eq!(decode(&[0xff, 0xff, 0xff, fourth_byte, 0x00]), expected);
        }
    }

    #[test]
    fn a_form_longer_than_needed_is_read() {
        assert_eq!(decode(&[0x80, 0x00]), Ok(Some((0, 2))));
        assert_eq!(decode(&[0x82, 0x80, 0x80, 0x00]), Ok(Some((2, 4))));
    }
}
