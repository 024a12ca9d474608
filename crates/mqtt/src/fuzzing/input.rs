//! The bytes of a fuzzer as decisions.

/// Bytes that are used up from the front; behind their end everything is zero or empty.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `bound`, from one byte where that is enough, else from two.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let number: usize = if bound > 256 {
            self.u16().into()
        } else {
            self.byte().into()
        };
        number % bound.max(1)
    }

    /// The next bytes, as many as there are of `len`.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(len.min(self.0.len()));
        self.0 = left;
        taken
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }
}
