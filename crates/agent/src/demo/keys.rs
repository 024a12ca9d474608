//! The buttons of `--interactive`: a letter and Enter on the standard input.

use std::io::{self, Read};

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
    /// End; so do the end of the input and a signal.
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
pub(super) struct Keys(Lines<Box<dyn Read + Send>>);

impl Keys {
    /// What they are for.
    pub(super) const HELP: &str = "
Press a letter and Enter:  c cut the link     s stall it         a drop acks
                           b kill the broker  p power cut        m send a command
                           q end, and compare the counts

";

    /// Those of the keyboard, or what is typed in its place.
    pub(super) fn new(typed: Option<&'static str>) -> Self {
        Self(Lines::new(match typed {
            Some(typed) => Box::new(typed.as_bytes()),
            None => Box::new(io::stdin()),
        }))
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
