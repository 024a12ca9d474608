//! TCP: servers, and both ends in one process.

use std::io::{Read, Write};
use std::time::Instant;

use bench::program::{
    BUFFER, FLOOD, MESSAGE, Meter, report_delays, report_port, report_share, stamp,
};
use fiber::net::{TcpListener, TcpStream};

use crate::Done;

pub(crate) fn echo(connections: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    report_port(listener.local_addr()?.port());
    let mut served = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        served.push(fiber::spawn(move || serve(&stream))?);
    }
    let meter = Meter::start();
    let mut requests = 0;
    for fiber in &mut served {
        requests += fiber.join()??;
    }
    meter.report(requests);
    Ok(())
}

/// Sends back what comes, until nothing more does; returns how many messages that were.
fn serve(mut stream: &TcpStream) -> std::io::Result<u64> {
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

pub(crate) fn ping_pong(pairs: usize, count: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    let each = count / 2 / pairs;
    let mut players = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let near = TcpStream::connect(address)?;
        let (far, _) = listener.accept()?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        fiber::spawn(move || serve(&far).map(drop))?;
        players.push(move || play(&near, each));
    }
    let began = Instant::now();
    let mut playing = Vec::with_capacity(pairs);
    for player in players {
        playing.push(fiber::spawn(player)?);
    }
    for player in &mut playing {
        player.join()??;
    }
    report_share(began, each * pairs * 2);
    Ok(())
}

fn play(mut stream: &TcpStream, rounds: usize) -> std::io::Result<()> {
    let mut message = [7; MESSAGE];
    for _ in 0..rounds {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    Ok(())
}

pub(crate) fn firehose(quiet: usize) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    report_port(listener.local_addr()?.port());
    let (flood, _) = listener.accept()?;
    fiber::spawn(move || swallow(&flood))?;
    let mut waiting = Vec::with_capacity(quiet);
    for _ in 0..quiet {
        let (stream, _) = listener.accept()?;
        waiting.push(fiber::spawn(move || delays(&stream))?);
    }
    let mut all = Vec::new();
    for fiber in &mut waiting {
        all.extend(fiber.join()??);
    }
    report_delays(all);
    Ok(())
}

/// Reads and throws away until nothing more comes.
fn swallow(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; FLOOD];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// The ages of the time stamps that come.
fn delays(mut stream: &TcpStream) -> std::io::Result<Vec<u64>> {
    let mut delays = Vec::new();
    let mut sent = [0; 8];
    while stream.read_exact(&mut sent).is_ok() {
        delays.push(stamp().saturating_sub(u64::from_ne_bytes(sent)));
    }
    Ok(delays)
}
