//! The only place that prints: errors, help, and what `agent sub` and `agent run`
//! received.
//!
//! Errors go to the standard error output at once. What was received goes through a [`Printer`],
//! which writes on a thread beside, so that a slow reader of the standard output stops neither the
//! connection nor its keep-alive. Messages that come while a write is under way leave together in
//! the next one.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fiber::{Event, FiberBuilder, FiberList, SpawnError, Stopped};

use crate::args::Rejected;
use crate::failure::Failure;

/// Bytes that may wait to be written; who has more waits.
pub const PENDING_BYTES_MAX: usize = 1024 * 1024;

/// Errors and warnings are not printed any more.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Prints no errors and no warnings from now on (`--quiet`). The log is a matter of its own.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether somebody at a terminal reads the standard error output.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Prints why a command line was rejected, and where to find help.
pub fn rejected(rejected: &Rejected) {
    let tool = rejected.tool.as_str();
    error_line(format_args!(
        "Error: {rejected}\n\nUse '{tool} --help' to see usage."
    ));
}

/// Prints why a tool failed, and in another line what a person can do about it.
pub fn failure(failure: &Failure) {
    match failure {
        // Who closed the output knows.
        Failure::Unread => {}
        // In the words that scripts look for.
        Failure::Expired => error_line(format_args!("Timed out")),
        Failure::Config(errors) => error_line(format_args!("{errors}")),
        failure => match failure.remedy() {
            None => error_line(format_args!("Error: {failure}")),
            Some(remedy) => error_line(format_args!("Error: {failure}\nHelp: {remedy}")),
        },
    }
}

/// Prints why a program failed.
pub fn error(text: impl fmt::Display) {
    error_line(format_args!("Error: {text}"));
}

/// Prints why a program failed, and in another line what a person can do about it.
pub fn error_and_help(text: impl fmt::Display, help: Option<impl fmt::Display>) {
    match help {
        None => error(text),
        Some(help) => error_line(format_args!("Error: {text}\nHelp: {help}")),
    }
}

/// Whether colours on the standard output are seen, and not unwanted (`NO_COLOR`).
#[must_use]
pub fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a warning about something that the tool goes on after.
pub fn warning(text: impl fmt::Display) {
    error_line(format_args!("Warning: {text}"));
}

/// Prints a text that says itself what it is, to the standard error output.
pub fn plain(text: impl fmt::Display) {
    error_line(format_args!("{text}"));
}

/// Asks something at the terminal: the answer is typed behind it.
pub fn ask(question: &str) {
    let mut out = io::stderr().lock();
    // Who does not see it gives no answer.
    drop(
        out.write_all(question.as_bytes())
            .and_then(|()| out.flush()),
    );
}

/// Prints what the fibers do, a line for each, to the standard error output.
pub fn fibers(fibers: &FiberList) {
    error_line(format_args!("{fibers}"));
}

/// Prints a text to the standard output.
///
/// # Errors
///
/// [`Failure::Unread`] where nobody reads it any more, which is no fault and ends the program without a
/// word; [`Failure::Output`] where it could not be written, on a full disk for example.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Unread,
        _ => Failure::Output(error),
    })
}

fn error_line(line: fmt::Arguments<'_>) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    // There is no other place to tell it.
    drop(writeln!(io::stderr(), "{line}"));
}

/// Why something was not printed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PrintError {
    /// Nobody reads the output any more.
    Closed,
    /// The output failed.
    Io(Arc<io::Error>),
    /// The wait for it was stopped.
    Stopped(Stopped),
    /// No fiber could be started to write it.
    Spawn(Arc<SpawnError>),
}

impl fmt::Display for PrintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("nobody reads the output any more"),
            Self::Io(error) => error.fmt(f),
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::Spawn(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PrintError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Io(error) => Some(error),
            Self::Stopped(stopped) => Some(stopped),
            Self::Spawn(error) => Some(error),
        }
    }
}

impl From<Stopped> for PrintError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> Self {
        match fiber::cause(&error) {
            Some(stopped) => Self::Stopped(stopped),
            None if error.kind() == io::ErrorKind::BrokenPipe => Self::Closed,
            None => Self::Io(Arc::new(error)),
        }
    }
}

/// A position in the output: bytes since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputPosition(u64);

/// Writes one piece and passes it on to whoever reads.
type Sink = Arc<dyn Fn(&[u8]) -> io::Result<()> + Send + Sync>;

/// The output of `agent sub` and `agent run`, written in order by one fiber at a time. Clones share it.
#[derive(Clone)]
pub struct Printer(Rc<Shared>);

struct Shared {
    sink: Sink,
    state: RefCell<State>,
    /// Set whenever something was written, or failed.
    progress: Event,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    /// Where the pending bytes end.
    end: u64,
    /// Everything before this is with whoever reads.
    written: u64,
    /// A fiber is writing.
    writing: bool,
    failed: Option<PrintError>,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.borrow();
        f.debug_struct("Printer")
            .field("end", &state.end)
            .field("written", &state.written)
            .finish_non_exhaustive()
    }
}

impl Printer {
    /// Prints to the standard output.
    #[must_use]
    pub fn to_stdout() -> Self {
        Self::over(|bytes| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        })
    }

    /// Prints by calling `sink`, on another thread.
    pub fn over(sink: impl Fn(&[u8]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Rc::new(Shared {
            sink: Arc::new(sink),
            state: RefCell::default(),
            progress: Event::new(),
        }))
    }

    /// Takes the parts, to be written one after the other after everything taken before, and
    /// returns where they end. Yields while [`PENDING_BYTES_MAX`] bytes wait already.
    ///
    /// # Errors
    ///
    /// [`PrintError`]: also when what was taken before could not be written. Nothing was taken.
    pub fn print(&self, parts: &[&[u8]]) -> Result<OutputPosition, PrintError> {
        self.wait_until(|state| state.pending.len() < PENDING_BYTES_MAX)?;
        let (end, start) = {
            let mut state = self.0.state.borrow_mut();
            for part in parts {
                state.pending.extend_from_slice(part);
                state.end += part.len() as u64;
            }
            let start = !std::mem::replace(&mut state.writing, true);
            (state.end, start)
        };
        if start {
            let shared = Rc::clone(&self.0);
            let spawned = FiberBuilder::new()
                .name("print")
                .spawn(move || write_all(&shared));
            if let Err(error) = spawned {
                let error = PrintError::Spawn(Arc::new(error));
                self.0.fail(error.clone());
                return Err(error);
            }
        }
        Ok(OutputPosition(end))
    }

    /// Waits until everything before `position` is with whoever reads it. Yields until then.
    ///
    /// # Errors
    ///
    /// [`PrintError`].
    pub fn printed(&self, position: OutputPosition) -> Result<(), PrintError> {
        self.wait_until(|state| state.written >= position.0)
    }

    /// As [`Printer::printed`], for everything that was taken so far.
    ///
    /// # Errors
    ///
    /// [`PrintError`].
    pub fn flush(&self) -> Result<(), PrintError> {
        let end = self.0.state.borrow().end;
        self.printed(OutputPosition(end))
    }

    fn wait_until(&self, holds: impl Fn(&State) -> bool) -> Result<(), PrintError> {
        loop {
            {
                let state = self.0.state.borrow();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if holds(&state) {
                    return Ok(());
                }
            }
            self.0.progress.clear();
            self.0.progress.wait()?;
        }
    }
}

impl Shared {
    fn fail(&self, error: PrintError) {
        let mut state = self.state.borrow_mut();
        state.writing = false;
        state.failed = Some(error);
        state.pending = Vec::new();
        drop(state);
        self.progress.set();
    }
}

/// The body of the writing fiber: writes until nothing is pending.
fn write_all(shared: &Shared) {
    loop {
        let piece = std::mem::take(&mut shared.state.borrow_mut().pending);
        if piece.is_empty() {
            shared.state.borrow_mut().writing = false;
            return;
        }
        let len = piece.len() as u64;
        let sink = Arc::clone(&shared.sink);
        let written = fiber::offload(move || sink(&piece)).map_err(io::Error::from);
        if let Err(error) = written.and_then(|result| result) {
            shared.fail(error.into());
            return;
        }
        shared.state.borrow_mut().written += len;
        shared.progress.set();
    }
}
