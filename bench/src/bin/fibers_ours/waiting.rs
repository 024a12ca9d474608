//! Fibers that wait: for time, for each other, for nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bench::program::{
    LOCALS, report, report_overshoots, report_share, resident, switches, timer_lengths,
};
use fiber::net::TcpListener;
use fiber::{Event, JoinHandle, SpawnError};

use crate::Done;

pub(crate) fn timers(live: usize, count: usize) -> Done {
    let mut lengths = timer_lengths();
    for _ in 0..live {
        let length = lengths();
        fiber::spawn(move || fiber::sleep(length))?;
    }
    fiber::yield_now()?;
    let from = fiber::Instant::now();
    let began = Instant::now();
    for _ in 0..count {
        fiber::deadline(from + lengths(), || ())?;
    }
    report_share(began, count);
    Ok(())
}

/// A fiber that waits with locals of its own.
fn parked(event: &Event) -> Result<JoinHandle<usize>, SpawnError> {
    let event = event.clone();
    fiber::spawn(move || {
        let locals = [1_u8; LOCALS];
        black_box(&locals);
        // At the end of the work the wait ends as well, in whatever way.
        let _ = event.wait();
        black_box(&locals).iter().copied().map(usize::from).sum()
    })
}

pub(crate) fn memory(fibers: usize) -> Done {
    let event = Event::new();
    let mut waiting = Vec::with_capacity(fibers);
    // Whatever reading the figure takes is there before the first one.
    let _ = resident();
    let before = resident();
    for _ in 0..fibers {
        waiting.push(parked(&event)?);
    }
    fiber::yield_now()?;
    report("bytes", (resident() - before) as f64 / fibers as f64);
    finish(&event, waiting)
}

pub(crate) fn most(fibers: usize) -> Done {
    let event = Event::new();
    let mut waiting = Vec::with_capacity(fibers);
    while waiting.len() < fibers {
        match parked(&event) {
            Ok(fiber) => waiting.push(fiber),
            Err(_) => break,
        }
    }
    fiber::yield_now()?;
    report("made", waiting.len() as f64);
    finish(&event, waiting)
}

/// Wakes them all and sees that each had what it held.
fn finish(event: &Event, waiting: Vec<JoinHandle<usize>>) -> Done {
    event.set();
    for mut fiber in waiting {
        if fiber.join()? != LOCALS {
            return Err("a fiber lost its locals".into());
        }
    }
    Ok(())
}

pub(crate) fn overshoot(micros: usize, count: usize) -> Done {
    let wait = Duration::from_micros(micros as u64);
    let mut overshoots = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        fiber::sleep(wait)?;
        overshoots.push(began.elapsed().saturating_sub(wait));
    }
    report_overshoots(overshoots);
    Ok(())
}

pub(crate) fn idle(millis: usize) -> Done {
    let event = Event::new();
    fiber::spawn(move || event.wait())?;
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    fiber::spawn(move || listener.accept().map(drop))?;
    fiber::spawn(|| fiber::sleep(Duration::from_secs(3_600)))?;
    fiber::yield_now()?;
    let before = switches();
    fiber::sleep(Duration::from_millis(millis as u64))?;
    report("switches", (switches() - before) as f64);
    Ok(())
}
