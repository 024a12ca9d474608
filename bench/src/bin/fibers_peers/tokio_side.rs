//! tokio, `current_thread`, with what its features io-util, net, rt, sync and time give.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::program::{
    BUFFER, FLOOD, LOCALS, MESSAGE, Meter, report, report_delays, report_overshoots, report_port,
    report_share, resident, stamp, switches, timer_lengths,
};
use bench::work::Work;
use futures_lite::future::poll_once;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::{task, time};

use crate::{Done, cannot};

pub(crate) fn perform(work: Work) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        match work {
            Work::Yield { fibers, count } => yields(fibers, count).await,
            Work::Spawn { count } => spawns(count).await,
            Work::Hop { count } => hops(count).await,
            Work::Event { count } => events(count).await,
            Work::Timer { live, count } => timers(live, count).await,
            Work::Tcp { pairs, count } => ping_pong(pairs, count).await,
            Work::Memory { fibers } => memory(fibers).await,
            Work::Echo { connections } => echo(connections).await,
            Work::Firehose { quiet } => firehose(quiet).await,
            Work::Overshoot { micros, count } => overshoot(micros, count).await,
            Work::Idle { millis } => idle(millis).await,
            Work::Most { .. } => cannot(work),
        }
    })
}

async fn yields(fibers: usize, count: usize) -> Done {
    let mut children = Vec::with_capacity(fibers);
    for _ in 0..fibers {
        children.push(task::spawn(async move {
            for _ in 0..count {
                task::yield_now().await;
            }
        }));
    }
    task::yield_now().await;
    let began = Instant::now();
    for child in children {
        child.await?;
    }
    report_share(began, fibers * count);
    Ok(())
}

async fn spawns(count: usize) -> Done {
    let began = Instant::now();
    for _ in 0..count {
        task::spawn(async {}).await?;
    }
    report_share(began, count);
    Ok(())
}

async fn hops(count: usize) -> Done {
    let (to, mut from_main) = mpsc::channel::<usize>(1);
    let (back, mut from_child) = mpsc::channel(1);
    task::spawn(async move {
        while let Some(value) = from_main.recv().await {
            if back.send(value).await.is_err() {
                break;
            }
        }
    });
    let began = Instant::now();
    for round in 0..count / 2 {
        to.send(round).await?;
        from_child.recv().await;
    }
    report_share(began, count);
    Ok(())
}

async fn events(count: usize) -> Done {
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (heard, answer) = (Arc::clone(&ping), Arc::clone(&pong));
    task::spawn(async move {
        loop {
            heard.notified().await;
            answer.notify_one();
        }
    });
    let began = Instant::now();
    for _ in 0..count / 2 {
        ping.notify_one();
        pong.notified().await;
    }
    report_share(began, count);
    Ok(())
}

async fn timers(live: usize, count: usize) -> Done {
    let mut lengths = timer_lengths();
    for _ in 0..live {
        task::spawn(time::sleep(lengths()));
    }
    task::yield_now().await;
    let began = Instant::now();
    for _ in 0..count {
        // A sleep is armed by its first poll and cancelled when it is dropped.
        let sleep = pin!(time::sleep_until((began + lengths()).into()));
        poll_once(sleep).await;
    }
    report_share(began, count);
    Ok(())
}

async fn memory(fibers: usize) -> Done {
    let gate = Arc::new(Semaphore::new(0));
    let mut waiting = Vec::with_capacity(fibers);
    let _ = resident();
    let before = resident();
    for _ in 0..fibers {
        let gate = Arc::clone(&gate);
        waiting.push(task::spawn(async move {
            let locals = [1_u8; LOCALS];
            black_box(&locals);
            drop(gate.acquire().await);
            black_box(&locals)
                .iter()
                .copied()
                .map(usize::from)
                .sum::<usize>()
        }));
    }
    task::yield_now().await;
    report("bytes", (resident() - before) as f64 / fibers as f64);
    gate.close();
    for task in waiting {
        if task.await? != LOCALS {
            return Err("a task lost its locals".into());
        }
    }
    Ok(())
}

async fn echo(connections: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    report_port(listener.local_addr()?.port());
    let mut served = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        served.push(task::spawn(serve(stream)));
    }
    let meter = Meter::start();
    let mut requests = 0;
    for task in served {
        requests += task.await??;
    }
    meter.report(requests);
    Ok(())
}

async fn serve(mut stream: TcpStream) -> std::io::Result<u64> {
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

async fn ping_pong(pairs: usize, count: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let each = count / 2 / pairs;
    let mut players = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let near = TcpStream::connect(address).await?;
        let (far, _) = listener.accept().await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        task::spawn(serve(far));
        players.push(play(near, each));
    }
    let began = Instant::now();
    let playing: Vec<_> = players.into_iter().map(task::spawn).collect();
    for player in playing {
        player.await??;
    }
    report_share(began, each * pairs * 2);
    Ok(())
}

async fn play(mut stream: TcpStream, rounds: usize) -> std::io::Result<()> {
    let mut message = [7; MESSAGE];
    for _ in 0..rounds {
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
    }
    Ok(())
}

async fn firehose(quiet: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    report_port(listener.local_addr()?.port());
    let (mut flood, _) = listener.accept().await?;
    task::spawn(async move {
        let mut buffer = vec![0; FLOOD];
        while flood.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    });
    let mut waiting = Vec::with_capacity(quiet);
    for _ in 0..quiet {
        let (mut stream, _) = listener.accept().await?;
        waiting.push(task::spawn(async move {
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
        all.extend(task.await?);
    }
    report_delays(all);
    Ok(())
}

async fn overshoot(micros: usize, count: usize) -> Done {
    let wait = Duration::from_micros(micros as u64);
    let mut overshoots = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        time::sleep(wait).await;
        overshoots.push(began.elapsed().saturating_sub(wait));
    }
    report_overshoots(overshoots);
    Ok(())
}

async fn idle(millis: usize) -> Done {
    let heard = Arc::new(Notify::new());
    task::spawn(async move { heard.notified().await });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    task::spawn(async move { listener.accept().await.map(drop) });
    task::spawn(time::sleep(Duration::from_secs(3_600)));
    task::yield_now().await;
    let before = switches();
    time::sleep(Duration::from_millis(millis as u64)).await;
    report("switches", (switches() - before) as f64);
    Ok(())
}
