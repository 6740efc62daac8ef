//! Bytes that nobody vouches for, read as a table of firmware.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pviommu_testbed::fuzzing::firmware_table(data));
