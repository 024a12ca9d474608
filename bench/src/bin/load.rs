//! The other end of the servers, the same for all of them: `echo PORT CONNECTIONS REQUESTS
//! PAUSE` keeps one message under way on each connection, and waits for PAUSE microseconds before each; `firehose PORT QUIET MILLIS` floods one connection and sends
//! time stamps on the others.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench::program::{self, FLOOD, MESSAGE};
use mio::{Events, Interest, Poll, Token};

/// Stamps that are sent at once, each on another connection, and how often.
const STAMPS: usize = 4;
const STAMPS_EVERY: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    program::pin();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = words.iter().skip(1).flat_map(|word| word.parse()).collect();
    let outcome = match (words.first().map(String::as_str), numbers.as_slice()) {
        (Some("echo"), &[port, connections, requests, pause]) => echo(
            here(port),
            connections,
            requests,
            Duration::from_micros(pause as u64),
        ),
        (Some("firehose"), &[port, quiet, millis]) => {
            firehose(here(port), quiet, Duration::from_millis(millis as u64))
        }
        _ => Err(io::Error::other(
            "load echo PORT CONNECTIONS REQUESTS PAUSE | load firehose PORT QUIET MILLIS",
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn here(port: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap_or(0)))
}

/// One connection of the closed loop.
struct Talk {
    stream: mio::net::TcpStream,
    /// Messages that are still to be sent.
    left: usize,
    /// Before each message.
    pause: Duration,
    /// Bytes of the answer that have come.
    come: usize,
}

fn echo(
    server: SocketAddr,
    connections: usize,
    requests: usize,
    pause: Duration,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut talks = Vec::with_capacity(connections);
    for index in 0..connections {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry()
            .register(&mut stream, Token(index), Interest::READABLE)?;
        talks.push(Talk {
            stream,
            left: requests / connections,
            pause,
            come: 0,
        });
    }
    let mut open = 0;
    for talk in &mut talks {
        open += usize::from(talk.send()?);
    }
    while open > 0 {
        poll.poll(&mut events, None)?;
        for event in &events {
            if !talks[event.token().0].hear()? {
                open -= 1;
            }
        }
    }
    Ok(())
}

impl Talk {
    /// Sends the next message; false when there is none.
    fn send(&mut self) -> io::Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        if !self.pause.is_zero() {
            thread::sleep(self.pause);
        }
        // A socket with nothing under way takes a message of this size whole.
        self.stream.write_all(&[7; MESSAGE])?;
        Ok(true)
    }

    /// Takes in what has come and answers it; false when that was the last.
    fn hear(&mut self) -> io::Result<bool> {
        let mut buffer = [0; MESSAGE];
        match self.stream.read(&mut buffer[self.come..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.come += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
        if self.come < MESSAGE {
            return Ok(true);
        }
        self.come = 0;
        self.send()
    }
}

fn firehose(server: SocketAddr, quiet: usize, length: Duration) -> io::Result<()> {
    let mut flood = TcpStream::connect(server)?;
    let mut streams = Vec::with_capacity(quiet);
    for _ in 0..quiet {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    let flooding = thread::spawn(move || {
        let data = vec![7; FLOOD];
        while !end.load(Ordering::Relaxed) && flood.write_all(&data).is_ok() {}
    });
    let end_by = Instant::now() + length;
    for at in (0..quiet).step_by(STAMPS).cycle() {
        if Instant::now() >= end_by {
            break;
        }
        for stream in streams.iter_mut().skip(at).take(STAMPS) {
            stream.write_all(&program::stamp().to_ne_bytes())?;
        }
        thread::sleep(STAMPS_EVERY);
    }
    // The quiet ones end first: the flood lasts for as long as anything is measured.
    drop(streams);
    over.store(true, Ordering::Relaxed);
    drop(flooding.join());
    Ok(())
}
