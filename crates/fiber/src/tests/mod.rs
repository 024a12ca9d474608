//! Tests of the crate's behaviour, one file per subject, named by the property they prove.
//!
//! All are hermetic: sockets are on loopback, and time is virtual but where the kernel's own
//! behaviour is the subject.

mod alarm;
mod allocation;
mod big_stack;
mod cancel;
mod channel;
pub(crate) mod child;
mod datagrams;
mod debug;
mod fairness;
mod files;
mod fork;
mod inspect;
mod io;
mod laws;
mod local;
mod no_park;
mod offload;
mod order;
mod overflow;
mod panic;
mod park;
mod permits;
mod remote;
mod scale;
mod scope;
mod second_runtime;
mod select;
mod selector;
mod shield;
mod shutdown;
mod signal;
#[cfg(feature = "sim")]
mod sim;
pub(crate) mod stack;
mod unix;
mod vectored;
mod wait_ready;
mod wait_table;
mod watchdog;

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use crate::core;
use crate::net::{TcpListener, TcpStream};
use crate::park::WaitReason;
use crate::scheduler::State;
use crate::{Instant, Runtime};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Runs a test on virtual time.
#[track_caller]
fn paused<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    Runtime::builder().paused_clock(true).run(body).unwrap()
}

/// Runs a test on real time.
#[track_caller]
fn real<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    crate::run(body).unwrap()
}

/// Far more than a test on loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on real time that must not hang.
#[track_caller]
fn patiently(body: impl FnOnce() + 'static) {
    real(|| crate::timeout(PATIENCE, body).expect("it ends long before"));
}

/// Runs a test on real time, and where the simulator is built in it as well, under some seeds.
#[track_caller]
fn on_both_sides(body: fn()) {
    patiently(body);
    #[cfg(feature = "sim")]
    for seed in 0..20 {
        let in_world = move |_: &crate::sim::World| {
            crate::fs::create_dir_all(std::env::temp_dir()).unwrap();
            body();
        };
        let ran = crate::sim::SimBuilder::new(seed).run(in_world);
        if let Err(failure) = ran {
            panic!("in the simulator: {failure}");
        }
    }
}

/// Two connected TCP streams.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = crate::spawn(move || TcpStream::connect(address).unwrap()).unwrap();
    let (server, from) = listener.accept().unwrap();
    let client = client.join().unwrap();
    assert_eq!(
        (client.peer_addr().unwrap(), client.local_addr().unwrap()),
        (address, from)
    );
    (client, server)
}

/// Spawns a fiber and forgets its handle.
#[track_caller]
fn go<T: 'static>(body: impl FnOnce() -> T + 'static) {
    drop(crate::spawn(body).unwrap());
}

/// Lets every fiber that can run do so, `turns` times over.
fn turns(turns: usize) {
    for _ in 0..turns {
        crate::yield_now().unwrap();
    }
}

/// What the parked fibers wait for, in order of their slots.
fn parked_reasons() -> Vec<WaitReason> {
    let core = core::current().unwrap();
    let fibers = core.fibers.borrow();
    (0..)
        .map_while(|index| fibers.get(index))
        .filter(|fiber| fiber.state == State::Parked)
        .map(|fiber| fiber.reason)
        .collect()
}

/// The time that `body` takes by the runtime's clock.
fn timed<T>(body: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let value = body();
    (value, began.elapsed())
}

/// A list that several fibers write to.
#[derive(Debug)]
struct Trace<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Trace<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: Clone + Debug + PartialEq> Trace<T> {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(Vec::new())))
    }

    fn note(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    fn entries(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    #[track_caller]
    fn expect(&self, expected: impl Into<Vec<T>>) {
        assert_eq!(self.entries(), expected.into());
    }
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // The reactor logs too, also when a thread that ends drops its last socket.
        let _ = LOGGED.try_with(|lines| lines.borrow_mut().push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// What is logged on this thread while `body` runs.
fn logged(body: impl FnOnce()) -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    LOGGED.take();
    body();
    LOGGED.take()
}
