//! Configuration space and facts of functions that nobody vouches for, into the topology.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pviommu_testbed::fuzzing::topology(data));
