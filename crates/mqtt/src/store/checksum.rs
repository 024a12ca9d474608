//! CRC-32C (Castagnoli).

/// Returns the checksum of the bytes behind those of which it is `seed`, 0 for none.
#[inline]
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_examples_hold() {
        // RFC 3720, B.4.
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        let examples: [(&[u8], u32); 6] = [
            (b"", 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (&descending, 0x113f_db5c),
        ];
        for (bytes, expected) in examples {
            assert_eq!(crc32c(0, bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_checksum_goes_on_from_any_place() {
        let bytes: Vec<u8> = (0..100).map(|n: u8| n.wrapping_mul(7)).collect();
        let whole = crc32c(0, &bytes);
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(crc32c(crc32c(0, head), tail), whole);
        }
    }
}
