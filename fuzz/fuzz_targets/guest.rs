//! A hypervisor that answers anything, to the guest driver.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pviommu_testbed::fuzzing::guest(data));
