//! The buttons of `--interactive`: a letter and Enter on the standard input.

use std::io::{self, Stdin};

use super::error::DemoError;
use crate::args::Fault;
use crate::publish::Lines;

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Do this.
    Fault(Fault),
    /// Send a command.
    Command,
    /// None of the buttons.
    Unknown,
    /// End; so does the end of the input.
    Enough,
}

impl Key {
    fn of(line: &[u8]) -> Self {
        match line.trim_ascii() {
            b"c" => Self::Fault(Fault::Cut),
            b"s" => Self::Fault(Fault::Stall),
            b"a" => Self::Fault(Fault::DropAcks),
            b"b" => Self::Fault(Fault::KillBroker),
            b"p" => Self::Fault(Fault::PowerCut),
            b"m" => Self::Command,
            b"q" => Self::Enough,
            _ => Self::Unknown,
        }
    }
}

/// The buttons, as they are pressed.
#[derive(Debug)]
pub(super) struct Keys(Lines<Stdin>);

impl Keys {
    /// What they are for.
    pub(super) const HELP: &str = "
Press a letter and Enter:  c cut the link     s stall it         a drop acks
                           b kill the broker  p power cut        m send a command
                           q end, and compare the counts

";

    pub(super) fn new() -> Self {
        Self(Lines::new(io::stdin()))
    }

    /// Waits for the next. Yields until then.
    pub(super) fn next(&mut self) -> Result<Key, DemoError> {
        let line = self.0.next_line().map_err(DemoError::Keys)?;
        Ok(line.map_or(Key::Enough, Key::of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_button_is_in_the_help() {
        for letter in Keys::HELP.split_whitespace().filter(|word| word.len() == 1) {
            assert_ne!(Key::of(letter.as_bytes()), Key::Unknown, "{letter}");
        }
        assert_eq!(Key::of(b" p\r"), Key::Fault(Fault::PowerCut));
        for line in [&b""[..], b"x", b"cc"] {
            assert_eq!(Key::of(line), Key::Unknown);
        }
    }
}
