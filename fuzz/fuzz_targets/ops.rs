//! Sequences of everything that can happen to several domains, against a model that knows what must come of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pviommu_testbed::fuzzing::ops(data));
