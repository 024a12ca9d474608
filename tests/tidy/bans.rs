//! Calls and crates that have one home, and may be used nowhere else.
//!
//! Clippy bans single functions; it cannot ban a module (`clippy.toml`). This rule bans the rest by
//! the path as written. Tests in files of their own (`tests/`, `crates/NAME/tests/`, `tests.rs`) are free of
//! it but for printing: they drive servers and peers that are not ours.

use crate::lex::{self, Path, Token};
use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

struct Ban {
    path: &'static str,
    /// Names below `path` that do no I/O and wait for nothing.
    harmless: &'static [&'static str],
    /// Where it is at home, by the start of the file's path.
    homes: &'static [&'static str],
    instead: &'static str,
}

/// The doors to the outside world and the raw system calls.
const DOORS: &[&str] = &["crates/fiber/src/world/", "crates/fiber/src/sys.rs"];

const BANS: [Ban; 11] = [
    Ban {
        path: "std::fs",
        harmless: &[],
        homes: DOORS,
        instead: "it stops every fiber: `fiber::fs`",
    },
    Ban {
        path: "std::thread",
        harmless: &["panicking", "LocalKey", "AccessError"],
        homes: DOORS,
        instead: "threads belong to the offload door: `fiber::offload`",
    },
    Ban {
        path: "std::net",
        harmless: &[
            "AddrParseError",
            "IpAddr",
            "Ipv4Addr",
            "Ipv6Addr",
            "Shutdown",
            "SocketAddr",
            "SocketAddrV4",
            "SocketAddrV6",
        ],
        homes: DOORS,
        instead: "it stops every fiber: `fiber::net`",
    },
    Ban {
        path: "std::os::unix::net",
        harmless: &["SocketAddr"],
        homes: DOORS,
        instead: "it stops every fiber: `fiber::net`",
    },
    Ban {
        path: "std::time::Instant",
        harmless: &[],
        homes: DOORS,
        instead: "time comes from the clock door: `fiber::Instant`",
    },
    Ban {
        path: "std::process::exit",
        harmless: &[],
        homes: &["crates/agent/src/main.rs"],
        instead: "only the agent's `main` ends the process",
    },
    Ban {
        path: "rustls",
        harmless: &[],
        homes: &["crates/safe-rt/src/tls/"],
        instead: "TLS has one home: `safe_rt::tls`",
    },
    Ban {
        path: "rustls_pemfile",
        harmless: &[],
        homes: &["crates/safe-rt/src/tls/pem.rs"],
        instead: "PEM is read in one file",
    },
    Ban {
        path: "corosensei",
        harmless: &[],
        homes: &["crates/fiber/src/coroutine.rs", "crates/fiber/src/stack/"],
        instead: "stacks are switched in one file",
    },
    Ban {
        path: "mio",
        harmless: &[],
        homes: &[
            "crates/fiber/src/world/",
            "crates/fiber/src/net/",
            "crates/fiber/src/signal.rs",
        ],
        instead: "sockets and their reactor have one home: `fiber::net`",
    },
    Ban {
        path: "signal_hook",
        harmless: &[],
        homes: &["crates/fiber/src/signal.rs"],
        instead: "signals come in through `fiber::signal`",
    },
];

const PRINTING: [&str; 5] = ["println", "eprintln", "print", "eprint", "dbg"];
const PRINTING_HOME: &str = "crates/agent/src/out.rs";

fn is_banned(ban: &Ban, path: &Path) -> bool {
    if !path.is_under(ban.path) {
        return false;
    }
    let below = path.text[ban.path.len()..].trim_start_matches("::");
    let first = below.split("::").next().unwrap_or_default();
    !ban.harmless.contains(&first)
}

fn check_paths(file: &File, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in lex::paths(tokens) {
        for ban in &BANS {
            let at_home = ban.homes.iter().any(|home| file.path.starts_with(home));
            if is_banned(ban, &path) && !at_home {
                let what = format!("`{}`: {}", path.text, ban.instead);
                findings.push(Finding::new(&file.path, path.line, what));
            }
        }
        // The type itself is harmless: only reading the clock is not.
        let reads_clock = path.text.ends_with("SystemTime::now");
        if reads_clock && !DOORS.iter().any(|home| file.path.starts_with(home)) {
            let what = format!(
                "`{}`: wall time comes from the clock door: `fiber::wall_time`",
                path.text
            );
            findings.push(Finding::new(&file.path, path.line, what));
        }
    }
    findings
}

fn check_printing(file: &File, tokens: &[Token]) -> Vec<Finding> {
    tokens
        .windows(2)
        .filter(|pair| PRINTING.contains(&pair[0].text.as_str()) && pair[1].is("!"))
        .filter(|_| file.path != PRINTING_HOME && !is_example(&file.path))
        .map(|pair| {
            let what = format!("`{}!`: only {PRINTING_HOME} prints", pair[0].text);
            Finding::new(&file.path, pair[0].line, what)
        })
        .collect()
}

fn check(file: &File) -> Vec<Finding> {
    let tokens = file.tokens();
    let mut findings = check_printing(file, &tokens);
    let drives_peers = file.path.starts_with("tests/") || is_integration_test(&file.path);
    if !drives_peers && !file.is_test_file() {
        findings.extend(check_paths(file, &tokens));
    }
    findings
}

fn is_example(path: &str) -> bool {
    let mut folders = path.split('/');
    folders.next() == Some("crates") && folders.nth(1) == Some("examples")
}

fn is_integration_test(path: &str) -> bool {
    let mut folders = path.split('/');
    folders.next() == Some("crates") && folders.nth(1) == Some("tests")
}

#[test]
fn every_banned_call_stays_in_its_home() {
    let findings: Vec<Finding> = tree::sources().iter().flat_map(check).collect();
    expect_none(&findings);
}

#[test]
fn the_ban_rule_bites() {
    let text = "use std::{fs, net::{SocketAddr, TcpStream}};\n\
        use std::time::{Duration, Instant, SystemTime};\n\
        fn f() { std::thread::sleep(d); let now = SystemTime::now(); std::thread::panicking(); }\n\
        use rustls::ClientConfig;\nuse rustls_pemfile::certs;\nuse corosensei::Coroutine;\n\
        fn g() { println!(\"std::fs\"); std::process::exit(1) }\nuse mio::Poll;\n\
        use std::os::unix::net::UnixStream;";
    let file = File {
        path: "crates/mqtt/src/client/x.rs".to_owned(),
        text: text.to_owned(),
    };
    let expected = [
        (7, "println"),
        (1, "`std::fs`"),
        (1, "std::net::TcpStream"),
        (2, "std::time::Instant"),
        (3, "std::thread::sleep"),
        (3, "SystemTime::now"),
        (4, "rustls::ClientConfig"),
        (5, "rustls_pemfile::certs"),
        (6, "corosensei::Coroutine"),
        (7, "std::process::exit"),
        (8, "mio::Poll"),
        (9, "std::os::unix::net::UnixStream"),
    ];
    expect_findings(&check(&file), &expected);
}

#[test]
fn the_ban_rule_leaves_the_homes_alone() {
    let homes = [
        (
            "crates/fiber/src/world/clock.rs",
            "use std::time::Instant; use std::fs; use mio::Poll;",
        ),
        (
            "crates/safe-rt/src/tls/pem.rs",
            "use rustls_pemfile::certs; use rustls::RootCertStore;",
        ),
        (
            "crates/agent/src/main.rs",
            "fn main() { std::process::exit(3) }",
        ),
        ("crates/agent/src/out.rs", "fn f() { println!() }"),
        (
            "crates/fiber/src/coroutine.rs",
            "use corosensei::Coroutine;",
        ),
        (
            "tests/src/mosquitto.rs",
            "use std::fs; use std::net::TcpListener;",
        ),
        (
            "crates/safe-rt/tests/peer.rs",
            "use rustls::ServerConnection;",
        ),
        (
            "crates/safe-rt/src/dial.rs",
            "use fiber::net::TcpStream; use std::net::SocketAddr;",
        ),
    ];
    for (path, text) in homes {
        expect_none(&check(&File {
            path: path.to_owned(),
            text: text.to_owned(),
        }));
    }
}
