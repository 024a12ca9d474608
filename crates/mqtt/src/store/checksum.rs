//! CRC-32C (Castagnoli), four bytes at a time.

/// The reflected polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[0]` is the checksum of each byte, `TABLES[n]` that of the byte with `n` zeros behind it.
static TABLES: [[u32; 256]; 4] = tables();

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// Returns the checksum of the bytes behind those of which it is `seed`, 0 for none.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let mut crc = !seed;
    let mut fours = bytes.chunks_exact(4);
    for four in &mut fours {
        let mixed = crc ^ u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        crc = 0;
        for (at, byte) in mixed.to_le_bytes().into_iter().enumerate() {
            crc ^= TABLES[3 - at][usize::from(byte)];
        }
    }
    for byte in fours.remainder() {
        crc = crc >> 8 ^ TABLES[0][usize::from(*byte ^ crc as u8)];
    }
    !crc
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
