//! The server of the mqtt suite, which only answers; it ends when it is killed.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench::mqtt::sink;
use bench::program;

fn main() -> ExitCode {
    program::pin();
    match sink::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
