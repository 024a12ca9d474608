//! Dials an endpoint and says how long each phase took and, if it failed, why and what to do.
//!
//! `cargo run --release -p safe-rt --example dial -- mqtts://broker.example --ca authorities.pem`

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use safe_rt::{
    ClientTls, ClientTlsOptions, DialOptions, Endpoint, Identity, Socket, Step, Trust, dial_traced,
};

const USAGE: &str = "usage: dial ENDPOINT [--ca FILE] [--cert FILE --key FILE] [--alpn PROTOCOL]...
            [--proxy URL | --proxy-from-env] [--timeout SECONDS]

ENDPOINT is mqtt://HOST[:PORT], mqtts://HOST[:PORT], ws:// or wss:// with a path, or unix:/PATH.
Over TLS --ca names the authorities that are trusted; without it they are those of the system.";

/// How long the whole may take unless `--timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

struct Wanted {
    endpoint: Endpoint,
    options: DialOptions,
    timeout: Duration,
}

fn main() -> ExitCode {
    match fiber::run(run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dial: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("dial: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{}", wanted.endpoint);
    let began = fiber::Instant::now();
    let outcome = fiber::timeout(wanted.timeout, || {
        dial_traced(&wanted.endpoint, &wanted.options, print_step)
    });
    let took = began.elapsed();
    match outcome.unwrap_or_else(|elapsed| elapsed.0) {
        Ok(socket) => {
            println!("connected in {}", millis(took));
            print_socket(&socket);
            // It was only to be seen whether it works.
            if let Err(error) = socket.close() {
                println!("closing: {error}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("failed after {}", millis(took));
            println!("cause:  {error}");
            if let Some(remedy) = error.remedy() {
                println!("remedy: {remedy}");
            }
            ExitCode::FAILURE
        }
    }
}

fn print_step(step: &Step<'_>) {
    let (phase, took) = (format!("{:?}", step.phase()), millis(step.took()));
    let address = step.address();
    match step.error() {
        Some(error) => println!("  {phase:<9} {took:>12}  {address}  failed: {}", error.io()),
        None if step.addresses().is_empty() => println!("  {phase:<9} {took:>12}  {address}"),
        None => {
            let found: Vec<_> = step.addresses().iter().map(ToString::to_string).collect();
            println!("  {phase:<9} {took:>12}  {address} -> {}", found.join(", "));
        }
    }
}

fn print_socket(socket: &Socket) {
    if let Some(version) = socket.tls_version() {
        let alpn = socket
            .alpn()
            .map_or_else(|| "none".into(), String::from_utf8_lossy);
        let session = if socket.is_resumed() {
            "resumed"
        } else {
            "new"
        };
        println!("tls:    {version:?}, {session} session, application protocol {alpn}");
    }
    if let (Some(local), Some(peer)) = (socket.local_addr(), socket.peer()) {
        println!("tcp:    {local} -> {peer}");
    }
    let traffic = socket.traffic();
    let (received, sent) = (traffic.wire_received, traffic.wire_sent);
    println!("bytes:  {received} received, {sent} sent");
}

fn millis(took: Duration) -> String {
    format!("{:.3} ms", took.as_secs_f64() * 1e3)
}

/// Reads the command line: `None` if help is wanted. Yields while files are read.
fn wanted(args: impl Iterator<Item = String>) -> Result<Option<Wanted>, Box<dyn Error>> {
    let mut args = args;
    let (mut endpoint, mut timeout) = (None, TIMEOUT);
    let (mut ca, mut cert, mut key, mut alpn) = (None, None, None, Vec::new());
    let mut options = DialOptions::new();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--ca" => ca = Some(value()?),
            "--cert" => cert = Some(value()?),
            "--key" => key = Some(value()?),
            "--alpn" => alpn.push(value()?),
            "--proxy" => options = options.proxy(value()?.parse()?),
            "--proxy-from-env" => options = options.proxy_from_env(),
            "--timeout" => timeout = seconds(&value()?)?,
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}").into()),
            _ if endpoint.is_some() => return Err("more than one endpoint is given".into()),
            text => endpoint = Some(text.parse::<Endpoint>()?),
        }
    }
    let endpoint = endpoint.ok_or("no endpoint is given")?;
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => {
            let (chain, key) = (read(&cert)?, read(&key)?);
            Some(Identity::from_pem(&chain, &key)?)
        }
        (None, None) => None,
        _ => return Err("--cert and --key are given together".into()),
    };
    match ca {
        Some(ca) => options = options.tls(tls(Trust::from_pem(&read(&ca)?)?, identity, &alpn)?),
        None if endpoint.scheme().is_tls() => {
            options = options.tls(tls(Trust::system(), identity, &alpn)?);
        }
        None if identity.is_some() || !alpn.is_empty() => {
            return Err("TLS options are given, and the endpoint is plain text".into());
        }
        None => {}
    }
    Ok(Some(Wanted {
        endpoint,
        options,
        timeout,
    }))
}

fn tls(
    trust: Trust,
    identity: Option<Identity>,
    alpn: &[String],
) -> Result<ClientTls, Box<dyn Error>> {
    let mut options = ClientTlsOptions::new(trust).alpn(alpn);
    if let Some(identity) = identity {
        options = options.identity(identity);
    }
    Ok(options.build()?)
}

fn read(path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    fiber::fs::read(path).map_err(|error| format!("{path}: {error}").into())
}

/// A number of seconds, with or without an `s` behind it.
fn seconds(text: &str) -> Result<Duration, Box<dyn Error>> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let wrong = |_| format!("--timeout {text}: expected a number of seconds, for example 10s");
    Ok(Duration::from_secs(number.parse().map_err(wrong)?))
}
