//! Registers and guest memory that nobody vouches for, into the hypercall.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pviommu_testbed::fuzzing::hypercall(data));
