//! Gives a real server of the mqtt suite the messages of a client: `mqtt_feeder ADDRESS TASK`. It ends when
//! it is killed.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench::mqtt::feeder;
use bench::program;

fn main() -> ExitCode {
    program::client(0, |_, address, task| {
        feeder::feed(address.port, task).map_err(|error| error.to_string())
    })
}
