//! Words that anybody may have written, into the formats of page tables.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pviommu_testbed::fuzzing::format(data));
