//! A session and a server that may send anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::fuzzing::peers(data));
