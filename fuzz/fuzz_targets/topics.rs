//! Topic names, topic filters and the router.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::fuzzing::topics(data));
