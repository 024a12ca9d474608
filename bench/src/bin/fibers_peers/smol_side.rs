//! async-executor's `LocalExecutor`, driven by async-io's reactor, as smol's users have it.

use std::hint::black_box;
use std::net::TcpListener as StdListener;
use std::net::TcpStream as StdStream;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::{Async, Timer, block_on};
use bench::program::{
    BUFFER, FLOOD, LOCALS, MESSAGE, Meter, report, report_delays, report_overshoots, report_port,
    report_share, resident, stamp, switches, timer_lengths,
};
use bench::work::Work;
use futures_lite::future::{poll_once, yield_now};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Done, cannot};

type Listener = Async<StdListener>;
type Stream = Async<StdStream>;

pub(crate) fn perform(work: Work) -> Done {
    let executor = LocalExecutor::new();
    let executor = &executor;
    block_on(executor.run(async move {
        match work {
            Work::Yield { fibers, count } => yields(executor, fibers, count).await,
            Work::Spawn { count } => spawns(executor, count).await,
            Work::Hop { count } => hops(executor, count).await,
            Work::Timer { live, count } => timers(live, count).await,
            Work::Tcp { pairs, count } => ping_pong(executor, pairs, count).await,
            Work::Memory { fibers } => memory(executor, fibers).await,
            Work::Echo { connections } => echo(executor, connections).await,
            Work::Firehose { quiet } => firehose(executor, quiet).await,
            Work::Overshoot { micros, count } => overshoot(micros, count).await,
            Work::Idle { millis } => idle(executor, millis).await,
            // Its signals are a crate of their own, event-listener, which its channels are made of.
            Work::Event { .. } | Work::Most { .. } => cannot(work),
        }
    }))
}

async fn yields(executor: &LocalExecutor<'_>, fibers: usize, count: usize) -> Done {
    let mut children = Vec::with_capacity(fibers);
    for _ in 0..fibers {
        children.push(executor.spawn(async move {
            for _ in 0..count {
                yield_now().await;
            }
        }));
    }
    yield_now().await;
    let began = Instant::now();
    for child in children {
        child.await;
    }
    report_share(began, fibers * count);
    Ok(())
}

async fn spawns(executor: &LocalExecutor<'_>, count: usize) -> Done {
    let began = Instant::now();
    for _ in 0..count {
        executor.spawn(async {}).await;
    }
    report_share(began, count);
    Ok(())
}

async fn hops(executor: &LocalExecutor<'_>, count: usize) -> Done {
    let (to, from_main) = async_channel::bounded::<usize>(1);
    let (back, from_child) = async_channel::bounded(1);
    let child = executor.spawn(async move {
        while let Ok(value) = from_main.recv().await {
            if back.send(value).await.is_err() {
                break;
            }
        }
    });
    let began = Instant::now();
    for round in 0..count / 2 {
        to.send(round).await?;
        from_child.recv().await?;
    }
    report_share(began, count);
    drop(child);
    Ok(())
}

async fn timers(live: usize, count: usize) -> Done {
    let mut lengths = timer_lengths();
    let mut armed = Vec::with_capacity(live);
    for _ in 0..live {
        let mut timer = Timer::after(lengths());
        poll_once(&mut timer).await;
        armed.push(timer);
    }
    let began = Instant::now();
    for _ in 0..count {
        poll_once(Timer::at(began + lengths())).await;
    }
    report_share(began, count);
    Ok(())
}

async fn memory(executor: &LocalExecutor<'_>, fibers: usize) -> Done {
    let (gate, closed) = async_channel::bounded::<()>(1);
    let mut waiting = Vec::with_capacity(fibers);
    let _ = resident();
    let before = resident();
    for _ in 0..fibers {
        let closed = closed.clone();
        waiting.push(executor.spawn(async move {
            let locals = [1_u8; LOCALS];
            black_box(&locals);
            let _ = closed.recv().await;
            black_box(&locals)
                .iter()
                .copied()
                .map(usize::from)
                .sum::<usize>()
        }));
    }
    yield_now().await;
    report("bytes", (resident() - before) as f64 / fibers as f64);
    gate.close();
    for task in waiting {
        if task.await != LOCALS {
            return Err("a task lost its locals".into());
        }
    }
    Ok(())
}

fn listen() -> std::io::Result<Listener> {
    Listener::bind(([127, 0, 0, 1], 0))
}

async fn echo(executor: &LocalExecutor<'_>, connections: usize) -> Done {
    let listener = listen()?;
    report_port(listener.get_ref().local_addr()?.port());
    let mut served = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (stream, _) = listener.accept().await?;
        stream.get_ref().set_nodelay(true)?;
        served.push(executor.spawn(serve(stream)));
    }
    let meter = Meter::start();
    let mut requests = 0;
    for task in served {
        requests += task.await?;
    }
    meter.report(requests);
    Ok(())
}

async fn serve(mut stream: Stream) -> std::io::Result<u64> {
    let mut buffer = [0; BUFFER];
    let mut requests = 0;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(requests);
        }
        stream.write_all(&buffer[..read]).await?;
        requests += 1;
    }
}

async fn ping_pong(executor: &LocalExecutor<'_>, pairs: usize, count: usize) -> Done {
    let listener = listen()?;
    let address = listener.get_ref().local_addr()?;
    let each = count / 2 / pairs;
    let mut players = Vec::with_capacity(pairs);
    let mut servers = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let near = Stream::connect(address).await?;
        let (far, _) = listener.accept().await?;
        near.get_ref().set_nodelay(true)?;
        far.get_ref().set_nodelay(true)?;
        servers.push(executor.spawn(serve(far)));
        players.push(play(near, each));
    }
    let began = Instant::now();
    let playing: Vec<_> = players
        .into_iter()
        .map(|player| executor.spawn(player))
        .collect();
    for player in playing {
        player.await?;
    }
    report_share(began, each * pairs * 2);
    Ok(())
}

async fn play(mut stream: Stream, rounds: usize) -> std::io::Result<()> {
    let mut message = [7; MESSAGE];
    for _ in 0..rounds {
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
    }
    Ok(())
}

async fn firehose(executor: &LocalExecutor<'_>, quiet: usize) -> Done {
    let listener = listen()?;
    report_port(listener.get_ref().local_addr()?.port());
    let (mut flood, _) = listener.accept().await?;
    let flooded = executor.spawn(async move {
        let mut buffer = vec![0; FLOOD];
        while flood.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    });
    let mut waiting = Vec::with_capacity(quiet);
    for _ in 0..quiet {
        let (mut stream, _) = listener.accept().await?;
        waiting.push(executor.spawn(async move {
            let mut delays = Vec::new();
            let mut sent = [0; 8];
            while stream.read_exact(&mut sent).await.is_ok() {
                delays.push(stamp().saturating_sub(u64::from_ne_bytes(sent)));
            }
            delays
        }));
    }
    let mut all = Vec::new();
    for task in waiting {
        all.extend(task.await);
    }
    report_delays(all);
    drop(flooded);
    Ok(())
}

async fn overshoot(micros: usize, count: usize) -> Done {
    let wait = Duration::from_micros(micros as u64);
    let mut overshoots = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        Timer::after(wait).await;
        overshoots.push(began.elapsed().saturating_sub(wait));
    }
    report_overshoots(overshoots);
    Ok(())
}

async fn idle(executor: &LocalExecutor<'_>, millis: usize) -> Done {
    let (gate, heard) = async_channel::bounded::<()>(1);
    let waiting = executor.spawn(async move { heard.recv().await });
    let listener = listen()?;
    let accepting = executor.spawn(async move { listener.accept().await.map(drop) });
    let sleeping = executor.spawn(async { Timer::after(Duration::from_secs(3_600)).await });
    yield_now().await;
    let before = switches();
    Timer::after(Duration::from_millis(millis as u64)).await;
    report("switches", (switches() - before) as f64);
    drop((gate, waiting, accepting, sleeping));
    Ok(())
}
