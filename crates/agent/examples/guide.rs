//! Makes the pages of the guide that show what the agent says.
//!
//! ```sh
//! cargo run -p agent --example guide -- first-boot > docs/guide/first-boot.md
//! cargo run -p agent --example guide -- doctor > docs/guide/doctor.md
//! ```

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints a page"
)]

#[path = "../tests/guide/doctor.rs"]
mod doctor;
#[path = "../tests/guide/first_boot.rs"]
mod first_boot;
#[allow(dead_code, reason = "it is for the test of the pages, too")]
#[path = "../tests/guide/page.rs"]
mod page;
#[path = "../tests/doctor/support.rs"]
#[allow(dead_code, reason = "it is for the tests of the doctor, too")]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    let page = match std::env::args().nth(1).as_deref() {
        Some("first-boot") => first_boot::page(),
        Some("doctor") => doctor::page(),
        _ => {
            eprintln!("which page? first-boot or doctor");
            return ExitCode::from(64);
        }
    };
    print!("{page}");
    ExitCode::SUCCESS
}
