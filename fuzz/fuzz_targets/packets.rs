//! Streams of packets.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::fuzzing::packets(data));
