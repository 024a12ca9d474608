//! The protocol core is pure: no socket, clock, thread, file, log or fiber.
//!
//! `cargo check -p mqtt --no-default-features` keeps our own crates out of it; this rule keeps the
//! impure half of the standard library out.

use crate::lex;
use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

/// The pure core, by the start of the path.
const CORE: [&str; 26] = [
    "crates/mqtt/src/packet/",
    "crates/mqtt/src/topic/",
    "crates/mqtt/src/session/",
    "crates/mqtt/src/outbound_log.rs",
    "crates/mqtt/src/control_buffer.rs",
    "crates/mqtt/src/time.rs",
    "crates/mqtt/src/store/batch.rs",
    "crates/mqtt/src/store/checksum.rs",
    "crates/mqtt/src/store/index.rs",
    "crates/mqtt/src/store/pos.rs",
    "crates/mqtt/src/store/record.rs",
    "crates/mqtt/src/store/recovered.rs",
    "crates/mqtt/src/store/replayed.rs",
    "crates/mqtt/src/store/segment.rs",
    "crates/mqtt/src/store/options.rs",
    "crates/mqtt/src/broker/core.rs",
    "crates/mqtt/src/broker/handle.rs",
    "crates/mqtt/src/broker/session.rs",
    "crates/mqtt/src/broker/queue.rs",
    "crates/mqtt/src/broker/retained.rs",
    "crates/mqtt/src/broker/message.rs",
    "crates/mqtt/src/broker/outgoing.rs",
    "crates/mqtt/src/broker/cut.rs",
    "crates/safe-rt/src/backoff.rs",
    "crates/agent/src/demo/count.rs",
    "crates/agent/src/demo/plan.rs",
];

const FORBIDDEN: [&str; 12] = [
    "fiber",
    "safe_rt",
    "log",
    "std::net",
    "std::io",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::*",
];

fn is_core(file: &File) -> bool {
    CORE.iter().any(|prefix| file.path.starts_with(prefix))
}

fn check(file: &File) -> Vec<Finding> {
    lex::paths(&file.tokens())
        .iter()
        .filter(|path| FORBIDDEN.iter().any(|forbidden| path.is_under(forbidden)))
        .map(|path| {
            let what = format!("`{}` does not belong into the pure core", path.text);
            Finding::new(&file.path, path.line, what)
        })
        .collect()
}

#[test]
fn the_protocol_core_is_pure() {
    let files = tree::sources();
    for prefix in CORE {
        let exists = files.iter().any(|f| f.path.starts_with(prefix));
        assert!(
            exists,
            "{prefix} does not exist: the rule would guard nothing"
        );
    }
    let findings: Vec<Finding> = files
        .iter()
        .filter(|f| is_core(f))
        .flat_map(check)
        .collect();
    expect_none(&findings);
}

#[test]
fn the_purity_rule_bites() {
    let text = "use std::{fmt, io::Read};\nuse std::time::{Duration, Instant};\nuse crate::outbound_log::LogOffset;\n\
        fn f() { log::trace!(\"x\"); fiber::yield_now(); }\n// use std::fs;\nuse crate::log::x;";
    let file = File {
        path: "crates/mqtt/src/packet/x.rs".to_owned(),
        text: text.to_owned(),
    };
    let expected = [
        (1, "std::io::Read"),
        (2, "std::time::Instant"),
        (4, "log::trace"),
        (4, "fiber::yield_now"),
    ];
    expect_findings(&check(&file), &expected);
}
