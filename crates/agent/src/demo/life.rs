//! The device as something that lives and dies: a process of its own that is started, killed without a
//! word and started again; and the line over which it tells what it does.
//!
//! Tests that need no death run it as a fiber of this process.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::{UnixListener, UnixStream};
use fiber::{FiberBuilder, JoinHandle};

use super::device;
use super::diary::Diary;
use super::error::DemoError;
use super::news::News;
use super::wire::{DEMO_LINE_BYTES_MAX, ENOUGH};

/// The device's end of the line, in the demonstration's folder.
pub(super) const SOCKET: &str = "demo.sock";

/// How the device runs.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// As a process of this program.
    Process(PathBuf),
    /// As a fiber, which cannot be killed.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for tests of the whole in one process")
    )]
    Fiber {
        /// Time between two readings.
        pace: Duration,
    },
}

enum Running {
    Process(Child),
    Fiber(JoinHandle<Result<(), DemoError>>),
}

/// The device's life.
pub(super) struct Life {
    folder: PathBuf,
    body: Body,
    listener: UnixListener,
    running: RefCell<Option<Running>>,
    line: RefCell<Option<Rc<UnixStream>>>,
    /// Whether the end of the line is no surprise.
    ends: Cell<bool>,
    diary: Rc<Diary>,
    news: News,
}

impl Life {
    /// Listens for the device in `folder`. Does not yield.
    pub(super) fn new(
        folder: &Path,
        body: Body,
        diary: &Rc<Diary>,
        news: &News,
    ) -> Result<Self, DemoError> {
        Ok(Self {
            listener: UnixListener::bind(folder.join(SOCKET)).map_err(DemoError::Line)?,
            folder: folder.to_owned(),
            body,
            running: RefCell::default(),
            line: RefCell::default(),
            ends: Cell::new(false),
            diary: Rc::clone(diary),
            news: news.clone(),
        })
    }

    /// Starts it. Yields.
    pub(super) fn start(&self) -> Result<(), DemoError> {
        let running = match &self.body {
            Body::Process(program) => {
                let mut command = Command::new(program);
                command
                    .args(["demo", "--device"])
                    .arg(&self.folder)
                    // Ctrl-C is for the demonstration, which ends the device in order.
                    .process_group(0)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null());
                let spawned = fiber::offload(move || command.spawn());
                Running::Process(
                    spawned
                        .map_err(DemoError::Offload)?
                        .map_err(DemoError::Process)?,
                )
            }
            Body::Fiber { pace } => {
                let (folder, pace) = (self.folder.clone(), *pace);
                let spawned = FiberBuilder::new()
                    .name("device")
                    .spawn(move || device::run(&folder, pace));
                Running::Fiber(spawned?)
            }
        };
        self.ends.set(false);
        *self.running.borrow_mut() = Some(running);
        Ok(())
    }

    /// Hears what the device tells, life after life, until the wait for it is stopped. Yields.
    ///
    /// # Errors
    ///
    /// [`DemoError::DeviceGone`] when it ends by itself.
    pub(super) fn hear(&self) -> Result<(), DemoError> {
        loop {
            let (stream, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if fiber::cause(&error).is_some() => return Ok(()),
                Err(error) => return Err(DemoError::Line(error)),
            };
            let stream = Rc::new(stream);
            *self.line.borrow_mut() = Some(Rc::clone(&stream));
            match self.hear_one(&stream) {
                Err(error) if fiber::cause(&error).is_some() => return Ok(()),
                heard => heard.map_err(DemoError::Line)?,
            }
            self.line.take();
            self.news.tell();
            if !self.ends.get() {
                return Err(DemoError::DeviceGone(self.ended()?));
            }
        }
    }

    /// Enters what comes on one line, until it ends.
    fn hear_one(&self, stream: &UnixStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        loop {
            line.clear();
            let mut limited = (&mut reader).take(DEMO_LINE_BYTES_MAX as u64);
            match limited.read_line(&mut line) {
                Ok(0) => return Ok(()),
                // Killed with words of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                read => drop(read?),
            }
            // A line that was cut off by death says nothing.
            let Some(text) = line.strip_suffix('\n') else {
                continue;
            };
            self.diary.enter(text.parse().map_err(io::Error::other)?);
        }
    }

    /// Returns the number of its process.
    pub(super) fn process(&self) -> Option<u32> {
        match &*self.running.borrow() {
            Some(Running::Process(child)) => Some(child.id()),
            Some(Running::Fiber(_)) | None => None,
        }
    }

    /// Kills it: it cannot do anything more. Yields until it is gone and what it told is entered.
    pub(super) fn kill(&self) -> Result<(), DemoError> {
        self.ends.set(true);
        if let Some(Running::Process(mut child)) = self.running.take() {
            let killed = fiber::offload(move || {
                child.kill()?;
                child.wait()
            });
            killed
                .map_err(DemoError::Offload)?
                .map_err(DemoError::Process)?;
        }
        Ok(self
            .news
            .until(|| self.line.borrow().is_none().then_some(()))?)
    }

    /// Tells it that it is enough, and waits until it has left. Yields until then.
    pub(super) fn finish(&self) -> Result<(), DemoError> {
        self.ends.set(true);
        let line = self.line.borrow().clone();
        if let Some(stream) = line {
            let text = format!("{ENOUGH}\n");
            (&*stream)
                .write_all(text.as_bytes())
                .map_err(DemoError::Line)?;
        }
        self.news
            .until(|| self.line.borrow().is_none().then_some(()))?;
        match self.ended()? {
            Some(status) if !status.success() => Err(DemoError::DeviceGone(Some(status))),
            _ => Ok(()),
        }
    }

    /// Waits until it has ended. Yields until then.
    fn ended(&self) -> Result<Option<ExitStatus>, DemoError> {
        match self.running.take() {
            Some(Running::Process(mut child)) => {
                let waited = fiber::offload(move || child.wait());
                let status = waited
                    .map_err(DemoError::Offload)?
                    .map_err(DemoError::Process)?;
                Ok(Some(status))
            }
            Some(Running::Fiber(mut device)) => {
                device.join().map_err(DemoError::Join)??;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // A run that failed: nothing of it stays.
        if let Some(Running::Process(mut child)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
