//! The pages of the guide that show what the agent says are what it says: each is made anew, and equal
//! to what lies in the repository but for times.

#![forbid(unsafe_code)]
#![cfg(feature = "demo")]

mod doctor;
mod first_boot;
mod page;
#[allow(dead_code, reason = "it is for the tests of the doctor, too")]
#[path = "../doctor/support.rs"]
mod support;

use std::fs;

#[track_caller]
#[allow(clippy::disallowed_methods, reason = "there are no fibers to stop")]
fn is_up_to_date(name: &str, made: &str) {
    let path = format!("{}/../../docs/guide/{name}.md", env!("CARGO_MANIFEST_DIR"));
    let found = page::compared(&fs::read_to_string(path).unwrap_or_default());
    let made = page::compared(made);
    let command = format!("cargo run -p agent --example guide -- {name} > docs/guide/{name}.md");
    for (found, made) in found.lines().zip(made.lines()) {
        assert_eq!(found, made, "out of date: `{command}`");
    }
    assert_eq!(
        found.lines().count(),
        made.lines().count(),
        "out of date: `{command}`"
    );
}

#[test]
fn the_page_of_a_first_boot_is_what_a_first_boot_is_like() {
    is_up_to_date("first-boot", &first_boot::page());
}

#[test]
fn the_page_of_the_doctor_is_what_the_doctor_says() {
    is_up_to_date("doctor", &doctor::page());
}

#[test]
fn times_are_no_difference_and_words_are() {
    let (one, other) = ("up  12.250 s, 7 ms after", "up   3.001 s, 12 ms after");
    assert_eq!(page::compared(one), page::compared(other));
    assert_ne!(page::compared("port 443"), page::compared("port 444"));
    let device = "```timeline\n 0.1 s  device  a\n 0.1 s  cloud   b\n```\n";
    let cloud = "```timeline\n 0.1 s  cloud   b\n 0.2 s  device  a\n```\n";
    assert_eq!(page::compared(device), page::compared(cloud));
}
