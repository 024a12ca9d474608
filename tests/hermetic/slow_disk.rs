//! A store in memory that plays a disk.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, Stopped, sleep};
use mqtt::store::{
    ClaimError, Key, KeyState, Level, Memory, MessageRecord, Record, Recovered, Refused, Report,
    Store, StorePos, Stored, StoredMessage,
};
use safe_rt::Endpoint;

/// A store in memory that plays a disk: a record is durable a while after it was appended.
#[derive(Clone)]
pub(crate) struct SlowDisk(Rc<Slow>);

struct Slow {
    memory: Memory,
    takes: Duration,
    durable: Cell<StorePos>,
    work: Event,
    committed: Event,
    /// How many more reads fail.
    failing_reads: Cell<u32>,
    /// How long a read takes.
    read_takes: Cell<Duration>,
    /// A message that cannot be read.
    bad: Cell<Option<StorePos>>,
    /// What the disk answers to each commit; it panics at the next one.
    fails: Cell<Option<io::ErrorKind>>,
    panics: Cell<bool>,
    /// What it answered to the last one.
    failed: Cell<Option<io::ErrorKind>>,
    /// Why no message is taken.
    refusing: Cell<Option<Refused>>,
    /// Ends of messages and of sessions, in order.
    ends: RefCell<Vec<&'static str>>,
}

impl SlowDisk {
    pub(crate) fn new(takes: Duration) -> Self {
        Self::with(takes, Memory::default())
    }

    pub(crate) fn with(takes: Duration, memory: Memory) -> Self {
        let durable = Cell::new(memory.appended());
        Self(Rc::new(Slow {
            memory,
            takes,
            durable,
            work: Event::new(),
            committed: Event::new(),
            failing_reads: Cell::new(0),
            read_takes: Cell::default(),
            bad: Cell::new(None),
            fails: Cell::new(None),
            panics: Cell::new(false),
            failed: Cell::new(None),
            refusing: Cell::new(None),
            ends: RefCell::default(),
        }))
    }

    /// With records of which the disk is not sure, as where a sync failed when the store was opened.
    pub(crate) fn unsure(takes: Duration, memory: Memory) -> Self {
        let disk = Self::with(takes, memory);
        disk.0.durable.set(StorePos::default());
        disk.0.work.set();
        disk
    }

    /// Returns what ended, messages and sessions, in order.
    pub(crate) fn ends(&self) -> Vec<&'static str> {
        self.0.ends.borrow().clone()
    }

    /// Lets each commit fail, or none any more.
    pub(crate) fn fail_commits(&self, kind: Option<io::ErrorKind>) {
        self.0.fails.set(kind);
        self.0.work.set();
    }

    /// Lets the next commit panic.
    pub(crate) fn panic(&self) {
        self.0.panics.set(true);
        self.0.work.set();
    }

    /// Takes no messages from now on, or again.
    pub(crate) fn refuse(&self, refused: Option<Refused>) {
        self.0.refusing.set(refused);
    }

    /// Lets the next reads fail.
    pub(crate) fn fail_reads(&self, count: u32) {
        self.0.failing_reads.set(count);
    }

    /// Lets each read take so long.
    pub(crate) fn slow_reads(&self, takes: Duration) {
        self.0.read_takes.set(takes);
    }

    /// Lets each read of the message that was published first fail.
    pub(crate) fn fail_reads_of_first(&self) {
        let recovered = self.recovered();
        let all = recovered.in_flight.iter().chain(&recovered.queued);
        self.0.bad.set(all.map(|stored| stored.pos).min());
    }
}

impl Store for SlowDisk {
    fn claim(&self, client_id: &str, endpoint: Option<&Endpoint>) -> Result<(), ClaimError> {
        self.0.memory.claim(client_id, endpoint)
    }

    fn release(&self) {
        self.0.memory.release();
    }

    fn is_claimed(&self) -> bool {
        self.0.memory.is_claimed()
    }

    fn append(&self, record: &Record<'_>) -> Result<StorePos, Refused> {
        self.0.work.set();
        match record {
            Record::Done { .. } => self.0.ends.borrow_mut().push("message"),
            Record::SessionLost => self.0.ends.borrow_mut().push("session"),
            Record::Publish(_) => self.0.refusing.get().map_or(Ok(()), Err)?,
            _ => {}
        }
        self.0.memory.append(record)
    }

    fn admits(
        &self,
        message: &MessageRecord<'_>,
        others: &mut dyn Iterator<Item = StorePos>,
    ) -> Result<usize, Refused> {
        self.0.refusing.get().map_or(Ok(()), Err)?;
        self.0.memory.admits(message, others)
    }

    fn appended(&self) -> StorePos {
        self.0.memory.appended()
    }

    fn durable(&self) -> StorePos {
        self.0.durable.get()
    }

    fn is_durable(&self, pos: StorePos) -> bool {
        pos <= self.0.durable.get()
    }

    fn commit(&self) -> io::Result<()> {
        let appended = self.appended();
        sleep(self.0.takes)?;
        assert!(
            !self.0.panics.get(),
            "the store panics, as this test asks for"
        );
        self.0.failed.set(self.0.fails.get());
        if let Some(kind) = self.0.failed.get() {
            self.0.committed.set();
            self.0.committed.clear();
            return Err(kind.into());
        }
        self.0.durable.set(appended.max(self.0.durable.get()));
        self.0.committed.set();
        self.0.committed.clear();
        Ok(())
    }

    fn run(&self) -> Result<(), Stopped> {
        loop {
            self.0.work.wait()?;
            self.0.work.clear();
            if let Err(error) = self.commit() {
                if let Some(stopped) = fiber::cause(&error) {
                    return Err(stopped);
                }
                self.0.work.set();
                sleep(Duration::from_secs(1))?;
            }
        }
    }

    fn hurry(&self) {}

    fn wait_commit(&self) -> Result<(), Stopped> {
        self.0.committed.wait()
    }

    fn failure(&self) -> Option<io::ErrorKind> {
        self.0.failed.get()
    }

    fn level(&self) -> Option<Level> {
        Some(Level::Flushed)
    }

    fn recovered(&self) -> Recovered {
        self.0.memory.recovered()
    }

    fn recovered_in_part(&self) -> Recovered {
        self.0.memory.recovered_in_part()
    }

    fn queued(&self, from: StorePos, count: usize) -> Vec<Stored> {
        self.0.memory.queued(from, count)
    }

    fn read(&self, message: StorePos) -> io::Result<Option<StoredMessage>> {
        const EIO: i32 = 5;
        fiber::yield_now()?;
        let takes = self.0.read_takes.get();
        if !takes.is_zero() {
            sleep(takes)?;
        }
        let left = self.0.failing_reads.get();
        self.0.failing_reads.set(left.saturating_sub(1));
        if left > 0 || self.0.bad.get() == Some(message) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.0.memory.read(message)
    }

    fn key(&self, key: &Key) -> Option<KeyState> {
        self.0.memory.key(key)
    }

    fn next_report(&self) -> Option<Report> {
        None
    }
}
