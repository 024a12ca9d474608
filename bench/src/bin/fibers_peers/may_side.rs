//! may, with one worker thread.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bench::program::{
    BUFFER, FLOOD, LOCALS, MESSAGE, Meter, report, report_delays, report_overshoots, report_port,
    report_share, resident, stamp, switches,
};
use bench::work::Work;
use may::coroutine::{self, JoinHandle};
use may::go;
use may::net::{TcpListener, TcpStream};
use may::sync::{SyncFlag, mpsc};

use crate::{Done, cannot};

pub(crate) fn perform(work: Work) -> Done {
    may::config().set_workers(1);
    // The work itself is a coroutine: what waits is never the thread that started them.
    let main = go!(move || match work {
        Work::Yield { fibers, count } => yields(fibers, count),
        Work::Spawn { count } => spawns(count),
        Work::Hop { count } => hops(count),
        Work::Tcp { pairs, count } => ping_pong(pairs, count),
        Work::Memory { fibers } => memory(fibers),
        Work::Most { fibers } => most(fibers),
        Work::Echo { connections } => echo(connections),
        Work::Firehose { quiet } => firehose(quiet),
        Work::Overshoot { micros, count } => overshoot(micros, count),
        Work::Idle { millis } => idle(millis),
        // A sleep cannot be cancelled, and there is no event that is set again and again.
        Work::Timer { .. } | Work::Event { .. } => cannot(work),
    });
    join(main)?
}

fn join<T>(handle: JoinHandle<T>) -> Result<T, String> {
    handle
        .join()
        .map_err(|_panic| "a coroutine panicked".to_owned())
}

fn yields(fibers: usize, count: usize) -> Done {
    let started = Arc::new(AtomicUsize::new(0));
    let mut children = Vec::with_capacity(fibers);
    for _ in 0..fibers {
        let started = Arc::clone(&started);
        children.push(go!(move || {
            started.fetch_add(1, Ordering::Relaxed);
            for _ in 0..count {
                coroutine::yield_now();
            }
        }));
    }
    wait_for(fibers, &started);
    let began = Instant::now();
    for child in children {
        join(child)?;
    }
    report_share(began, fibers * count);
    Ok(())
}

fn spawns(count: usize) -> Done {
    let began = Instant::now();
    for _ in 0..count {
        join(go!(|| ()))?;
    }
    report_share(began, count);
    Ok(())
}

fn hops(count: usize) -> Done {
    let (to, from_main) = mpsc::channel::<usize>();
    let (back, from_child) = mpsc::channel();
    go!(move || {
        while let Ok(value) = from_main.recv() {
            if back.send(value).is_err() {
                break;
            }
        }
    });
    let began = Instant::now();
    for round in 0..count / 2 {
        to.send(round)?;
        from_child.recv()?;
    }
    report_share(began, count);
    Ok(())
}

/// Waits until all have started. By sleeping: a coroutine that only yields keeps may's worker from
/// those that were spawned.
fn wait_for(fibers: usize, started: &AtomicUsize) {
    while started.load(Ordering::Relaxed) < fibers {
        coroutine::sleep(Duration::from_millis(1));
    }
}

/// A coroutine that waits with locals of its own.
fn parked(flag: &Arc<SyncFlag>, started: &Arc<AtomicUsize>) -> JoinHandle<usize> {
    let (flag, started) = (Arc::clone(flag), Arc::clone(started));
    go!(move || {
        let locals = [1_u8; LOCALS];
        black_box(&locals);
        started.fetch_add(1, Ordering::Relaxed);
        flag.wait();
        black_box(&locals).iter().copied().map(usize::from).sum()
    })
}

fn memory(fibers: usize) -> Done {
    let (flag, started) = (Arc::new(SyncFlag::new()), Arc::new(AtomicUsize::new(0)));
    let mut waiting = Vec::with_capacity(fibers);
    let _ = resident();
    let before = resident();
    for _ in 0..fibers {
        waiting.push(parked(&flag, &started));
    }
    wait_for(fibers, &started);
    report("bytes", (resident() - before) as f64 / fibers as f64);
    flag.fire();
    for coroutine in waiting {
        if join(coroutine)? != LOCALS {
            return Err("a coroutine lost its locals".into());
        }
    }
    Ok(())
}

/// may panics when it gets no further stack: the count is printed from the hook.
fn most(fibers: usize) -> Done {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    std::panic::set_hook(Box::new(move |_| {
        report("made", counted.load(Ordering::Relaxed) as f64);
        std::process::exit(0);
    }));
    let (flag, started) = (Arc::new(SyncFlag::new()), Arc::new(AtomicUsize::new(0)));
    let mut waiting = Vec::with_capacity(fibers);
    for _ in 0..fibers {
        waiting.push(parked(&flag, &started));
        made.fetch_add(1, Ordering::Relaxed);
    }
    wait_for(fibers, &started);
    report("made", fibers as f64);
    std::process::exit(0);
}

fn echo(connections: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    report_port(listener.local_addr()?.port());
    let mut served = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        served.push(go!(move || serve(stream)));
    }
    let meter = Meter::start();
    let mut requests = 0;
    for coroutine in served {
        requests += join(coroutine)??;
    }
    meter.report(requests);
    Ok(())
}

fn serve(mut stream: TcpStream) -> std::io::Result<u64> {
    let mut buffer = [0; BUFFER];
    let mut requests = 0;
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(requests);
        }
        stream.write_all(&buffer[..read])?;
        requests += 1;
    }
}

fn ping_pong(pairs: usize, count: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let each = count / 2 / pairs;
    let mut players = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let near = TcpStream::connect(address)?;
        let (far, _) = listener.accept()?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        go!(move || serve(far));
        players.push(near);
    }
    let began = Instant::now();
    let playing: Vec<_> = players
        .into_iter()
        .map(|near| go!(move || play(near, each)))
        .collect();
    for player in playing {
        join(player)??;
    }
    report_share(began, each * pairs * 2);
    Ok(())
}

fn play(mut stream: TcpStream, rounds: usize) -> std::io::Result<()> {
    let mut message = [7; MESSAGE];
    for _ in 0..rounds {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    Ok(())
}

fn firehose(quiet: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    report_port(listener.local_addr()?.port());
    let (mut flood, _) = listener.accept()?;
    go!(move || {
        let mut buffer = vec![0; FLOOD];
        while flood.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let mut waiting = Vec::with_capacity(quiet);
    for _ in 0..quiet {
        let (mut stream, _) = listener.accept()?;
        waiting.push(go!(move || {
            let mut delays = Vec::new();
            let mut sent = [0; 8];
            while stream.read_exact(&mut sent).is_ok() {
                delays.push(stamp().saturating_sub(u64::from_ne_bytes(sent)));
            }
            delays
        }));
    }
    let mut all = Vec::new();
    for coroutine in waiting {
        all.extend(join(coroutine)?);
    }
    report_delays(all);
    Ok(())
}

fn overshoot(micros: usize, count: usize) -> Done {
    let wait = Duration::from_micros(micros as u64);
    let mut overshoots = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        coroutine::sleep(wait);
        overshoots.push(began.elapsed().saturating_sub(wait));
    }
    report_overshoots(overshoots);
    Ok(())
}

fn idle(millis: usize) -> Done {
    let flag = Arc::new(SyncFlag::new());
    let heard = Arc::clone(&flag);
    go!(move || heard.wait());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    go!(move || listener.accept().map(drop));
    go!(|| coroutine::sleep(Duration::from_secs(3_600)));
    coroutine::yield_now();
    let before = switches();
    coroutine::sleep(Duration::from_millis(millis as u64));
    report("switches", (switches() - before) as f64);
    // The other coroutines wait for ever.
    std::process::exit(0);
}
