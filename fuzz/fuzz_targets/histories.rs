//! A session and an honest server.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::fuzzing::histories(data));
