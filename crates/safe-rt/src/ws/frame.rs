//! What both directions of a WebSocket have in common: who masks, and what a control frame carries.

/// Which side of the connection this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Masks what it sends (RFC 6455 section 5.3).
    Client,
    /// Masks nothing.
    Server,
}

/// Most bytes in a control frame (RFC 6455 section 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// The payload of a control frame.
#[derive(Clone, Copy)]
pub(super) struct Control {
    bytes: [u8; CONTROL_BYTES_MAX],
    len: usize,
}

impl Control {
    /// Copies a payload; none is longer than [`CONTROL_BYTES_MAX`].
    pub(super) fn new(payload: &[u8]) -> Self {
        let len = payload.len().min(CONTROL_BYTES_MAX);
        let mut bytes = [0; CONTROL_BYTES_MAX];
        bytes[..len].copy_from_slice(&payload[..len]);
        Self { bytes, len }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Masks or unmasks bytes that begin `offset` bytes into a payload (RFC 6455 section 5.3).
pub(super) fn apply_mask(bytes: &mut [u8], mut mask: [u8; 4], offset: usize) {
    mask.rotate_left(offset % 4);
    let mut words = bytes.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, key) in word.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_goes_on_where_the_bytes_before_ended() {
        // "Hello" of RFC 6455 section 5.7.
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let masked = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        for cut in 0..=masked.len() {
            let mut bytes = masked;
            let (one, other) = bytes.split_at_mut(cut);
            apply_mask(one, mask, 0);
            apply_mask(other, mask, cut);
            assert_eq!(&bytes, b"Hello", "cut after {cut}");
        }
    }
}
