//! The timeline: when, who, what. One line each, as it happens.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use fiber::Instant;

use crate::out::{PrintError, Printer};

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Cloud,
    Device,
    /// What is done to the link between them.
    Fault,
}

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Device => "device",
            Self::Fault => "fault",
        }
    }

    /// The colour on a terminal (ECMA-48 section 8.3.117).
    const fn colour(self) -> &'static str {
        match self {
            Self::Cloud => "\x1B[36m",
            Self::Device => "\x1B[32m",
            Self::Fault => "\x1B[31m",
        }
    }
}

/// Columns of a terminal that is none too wide, and where the text of a line begins.
const COLUMNS: usize = 80;
const INDENT: usize = 20;

/// The text in lines that fit: a word that does not begins the next one.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut column = INDENT;
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > INDENT && column + 1 + len > COLUMNS {
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', INDENT));
            column = INDENT;
        } else if column > INDENT {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += len;
    }
    folded
}

/// Prints what happens, with the time since it began. Clones share it.
#[derive(Clone)]
pub(super) struct Timeline(Rc<State>);

struct State {
    printer: Printer,
    began: Instant,
    coloured: bool,
    failed: RefCell<Option<PrintError>>,
}

impl Timeline {
    /// Begins now.
    pub(super) fn new(printer: Printer, coloured: bool) -> Self {
        Self(Rc::new(State {
            printer,
            began: Instant::now(),
            coloured,
            failed: RefCell::default(),
        }))
    }

    pub(super) fn began(&self) -> Instant {
        self.0.began
    }

    /// Prints a line. Yields only while much waits to be printed.
    pub(super) fn say(&self, who: Who, what: impl fmt::Display) {
        let seconds = self.0.began.elapsed().as_secs_f64();
        let (on, off) = if self.0.coloured {
            (who.colour(), "\x1B[0m")
        } else {
            ("", "")
        };
        let name = who.name();
        let what = folded(&what.to_string());
        self.print(&format!("{seconds:>8.3} s  {on}{name:<6}{off}  {what}\n"));
    }

    /// Prints a text as it is; otherwise as [`Timeline::say`].
    pub(super) fn print(&self, text: &str) {
        if let Err(error) = self.0.printer.print(&[text.as_bytes()]) {
            self.0.failed.borrow_mut().get_or_insert(error);
        }
    }

    /// Waits until everything is printed. Yields until then.
    ///
    /// That nobody reads any more is no error: the run counts, not the reader.
    pub(super) fn finish(&self) -> Result<(), PrintError> {
        let flushed = self.0.printer.flush();
        match self.0.failed.borrow_mut().take().map_or(flushed, Err) {
            Err(PrintError::Closed) => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_into_80_columns_unless_a_word_does_not() {
        let text = "x".repeat(70) + " and " + &"a few words more ".repeat(9);
        let lines = folded(&text);
        let mut lines = lines.split('\n');
        assert_eq!(lines.next(), Some("x".repeat(70).as_str()));
        let mut words = 0;
        for line in lines {
            assert!(line.chars().count() <= COLUMNS, "{line}");
            assert!(line.starts_with(&" ".repeat(INDENT)), "{line}");
            words += line.split_whitespace().count();
        }
        assert_eq!(words, 1 + 4 * 9);
        assert_eq!(folded("short"), "short");
        assert_eq!(folded(""), "");
    }
}
