//! The limit of the mqtt suite: `mqtt_raw PORT TASK`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench::mqtt::raw;
use bench::program;

fn main() -> ExitCode {
    program::client(0, |_, port, task| {
        raw::perform(port, task).map_err(|error| error.to_string())
    })
}
