//! The work of the fibers suite, done by the peers: `fibers_peers PEER WORK`.
//!
//! Each peer is used as its own documentation says, on one thread: tokio's `current_thread` runtime,
//! may with one worker, async-executor's `LocalExecutor` on async-io's reactor (`smol`). What a peer
//! has no call for it does not do, and says so.

#![forbid(unsafe_code)]

mod may_side;
mod smol_side;
mod tokio_side;

use std::process::ExitCode;

use bench::program;
use bench::work::Work;

fn main() -> ExitCode {
    program::main(1, |peer, work| {
        let done = match peer {
            [peer] if peer == "tokio" => tokio_side::perform(work),
            [peer] if peer == "may" => may_side::perform(work),
            [peer] if peer == "smol" => smol_side::perform(work),
            _ => return Err("no such peer: tokio, may, smol".to_owned()),
        };
        done.map_err(|error| error.to_string())
    })
}

/// What goes wrong in a piece of work.
type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What is said of work that a peer has no call for.
fn cannot(work: Work) -> Done {
    Err(format!("has no call for {work:?}").into())
}
