//! The limit of the mqtt suite: `mqtt_raw ADDRESS TASK`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench::mqtt::raw;
use bench::program;

fn main() -> ExitCode {
    program::client(0, |_, address, task| {
        if address.authority.is_some() {
            return Err("it has no TLS".to_owned());
        }
        raw::perform(address.port, task).map_err(|error| error.to_string())
    })
}
