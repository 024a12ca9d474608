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
