//! Somebody in the middle of a connection, who does something to one byte of one direction.

use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::{PipeStream, Shutdown};
use fiber::{Elapsed, Instant};
use safe_rt::{ClientTls, Error, ServerTls, Socket};

use crate::pki::SERVER_NAME;
use crate::support::ROOMY;

/// A direction through the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Server,
    Client,
}

pub(crate) const BOTH: [Toward; 2] = [Toward::Server, Toward::Client];

/// What happens behind the bytes that are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Both connections end, in both directions.
    Cut,
    /// Nothing comes any more in this direction.
    Silence,
    /// The next byte is another one; all others pass.
    Changed,
}

/// One side's outcome, and how long it took.
pub(crate) struct Met {
    pub(crate) outcome: Result<Socket, Error>,
    pub(crate) took: Duration,
}

/// Runs both sides of a handshake through the middle, where the direction `toward` meets its fate
/// after `passed` bytes. Each side has `limit`; returns the client's outcome and the server's.
pub(crate) fn meet(
    (client, server): (ClientTls, ServerTls),
    (toward, fate, passed): (Toward, Fate, usize),
    limit: Duration,
) -> (Met, Met) {
    let (ours, near) = fiber::net::pipe(ROOMY);
    let (far, theirs) = fiber::net::pipe(ROOMY);
    let (near, far) = (Rc::new(near), Rc::new(far));
    for way in BOTH {
        let (from, to) = match way {
            Toward::Server => (Rc::clone(&near), Rc::clone(&far)),
            Toward::Client => (Rc::clone(&far), Rc::clone(&near)),
        };
        let fate = (way == toward).then_some((fate, passed));
        drop(fiber::spawn(move || carry(&from, &to, fate)).expect("a fiber"));
    }
    let timed = move |side: &dyn Fn() -> Result<Socket, Error>| {
        let began = Instant::now();
        let outcome = fiber::timeout(limit, side).unwrap_or_else(|Elapsed(outcome)| outcome);
        let took = began.elapsed();
        Met { outcome, took }
    };
    let mut serving = fiber::spawn(move || {
        let theirs = std::cell::Cell::new(Some(theirs));
        timed(&|| Socket::tls_server(theirs.take().expect("called once"), &server))
    })
    .expect("a fiber");
    let ours = std::cell::Cell::new(Some(ours));
    let client =
        timed(&|| Socket::tls_client(ours.take().expect("called once"), &client, SERVER_NAME));
    (client, serving.join().expect("no panic"))
}

/// Carries bytes until the end, or until their fate.
fn carry(from: &PipeStream, to: &PipeStream, fate: Option<(Fate, usize)>) {
    let mut left = fate.map_or(usize::MAX, |(_, passed)| passed);
    let mut buf = [0; 4096];
    loop {
        if let (0, Some((fate, _))) = (left, fate) {
            match fate {
                Fate::Cut => {
                    from.shutdown(Shutdown::Both);
                    to.shutdown(Shutdown::Both);
                    return;
                }
                // Whoever waits for the rest waits for as long as the test runs.
                Fate::Silence => drop(fiber::sleep(Duration::MAX)),
                Fate::Changed => {}
            }
        }
        let room = left.clamp(1, buf.len());
        let Ok(len @ 1..) = (&*from).read(&mut buf[..room]) else {
            break;
        };
        if left == 0 {
            buf[0] ^= 0x01;
            left = usize::MAX;
        } else {
            left -= len;
        }
        if (&*to).write_all(&buf[..len]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write);
}
