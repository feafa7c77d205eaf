#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moonport::fuzzing::config(data));
