//! A client and a broker that may send anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::fuzzing::clients(data));
