//! Lines of an input that is read on a thread beside.

use std::io::{self, Read};

use crate::failure::Failure;

/// Longest line that is taken, in bytes without its end.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are asked for in one read.
pub const INPUT_READ_BYTES: usize = 64 * 1024;

/// The lines of an input: what stands between line feeds, byte for byte, and what stands after the
/// last one if that is not empty.
#[derive(Debug)]
pub struct Lines<R> {
    /// `None` after the end, and after a read that was given up.
    input: Option<R>,
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// Up to here there is no line feed.
    searched: usize,
    count: u64,
}

impl<R: Read + Send + 'static> Lines<R> {
    /// Starts at the input's present place.
    pub const fn new(input: R) -> Self {
        Self {
            input: Some(input),
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            count: 0,
        }
    }

    /// Returns the next line without its end, or `None` after the last. Yields until it is there;
    /// the read that is waited for goes on when the wait is stopped, and what it gives is lost.
    ///
    /// # Errors
    ///
    /// [`Failure::LineTooLong`], [`Failure::Input`], and [`Failure::Stopped`].
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, Failure> {
        let (line, next) = loop {
            let found = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let end = self.searched + at;
                break (self.start..end, end + 1);
            }
            self.searched = self.buffer.len();
            if self.searched - self.start > LINE_BYTES_MAX {
                return Err(Failure::LineTooLong {
                    line: self.count + 1,
                });
            }
            if !self.fill()? {
                if self.start == self.buffer.len() {
                    return Ok(None);
                }
                break (self.start..self.buffer.len(), self.buffer.len());
            }
        };
        if line.len() > LINE_BYTES_MAX {
            return Err(Failure::LineTooLong {
                line: self.count + 1,
            });
        }
        self.count += 1;
        self.start = next;
        self.searched = next;
        Ok(Some(&self.buffer[line]))
    }

    /// Reads once; false at the end of the input.
    fn fill(&mut self) -> Result<bool, Failure> {
        let Some(mut input) = self.input.take() else {
            return Ok(false);
        };
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let read = fiber::offload(move || {
            let mut piece = vec![0; INPUT_READ_BYTES];
            loop {
                match input.read(&mut piece) {
                    Ok(n) => {
                        piece.truncate(n);
                        return Ok((input, piece));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        });
        let (input, piece) = match read {
            Ok(read) => read.map_err(Failure::Input)?,
            Err(fiber::OffloadError::Stopped(stopped)) => return Err(Failure::Stopped(stopped)),
            Err(error) => return Err(Failure::Input(error.into())),
        };
        if piece.is_empty() {
            return Ok(false);
        }
        self.buffer.extend_from_slice(&piece);
        self.input = Some(input);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces one per read.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buf[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: &[&[u8]]) {
        let input = Pieces(pieces.iter().map(|piece| piece.to_vec()).collect());
        let lines = fiber::run(move || {
            let mut lines = Lines::new(input);
            let mut found = Vec::new();
            while let Some(line) = lines.next_line().unwrap() {
                found.push(line.to_vec());
            }
            // The end stays the end.
            assert!(lines.next_line().unwrap().is_none());
            found
        });
        assert_eq!(lines.unwrap(), expected);
    }

    #[test]
    fn lines_are_found_however_they_arrive() {
        check(&[], &[]);
        check(&[b"one\ntwo\n"], &[b"one", b"two"]);
        check(
            &[b"on", b"e\n", b"\n", b"thr", b"ee"],
            &[b"one", b"", b"three"],
        );
        check(&[b"\n\n"], &[b"", b""]);
        check(&[b"a\r\nb\0c\n", b"\xff"], &[b"a\r", b"b\0c", b"\xff"]);
    }

    #[test]
    fn the_longest_line_is_taken_and_a_longer_one_refused() {
        let read = |len: usize, end: &'static [u8]| {
            let mut bytes = b"first\n".to_vec();
            bytes.extend(vec![b'x'; len]);
            bytes.extend(end);
            fiber::run(move || {
                let mut lines = Lines::new(io::Cursor::new(bytes));
                lines.next_line().unwrap();
                lines.next_line().map(|line| line.map(<[u8]>::len))
            })
            .unwrap()
        };
        for end in [b"\n".as_slice(), b""] {
            assert_eq!(read(LINE_BYTES_MAX, end).unwrap(), Some(LINE_BYTES_MAX));
            let error = read(LINE_BYTES_MAX + 1, end).unwrap_err();
            assert!(matches!(error, Failure::LineTooLong { line: 2 }), "{error}");
        }
    }

    #[test]
    fn an_input_that_fails_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::PermissionDenied))
            }
        }
        let error = fiber::run(|| Lines::new(Broken).next_line().map(drop).unwrap_err()).unwrap();
        assert!(matches!(error, Failure::Input(_)), "{error}");
    }
}
