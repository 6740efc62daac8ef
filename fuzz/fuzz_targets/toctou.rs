//! Guest memory that changes while the service reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pviommu_testbed::fuzzing::toctou(data));
