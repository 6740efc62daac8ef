//! A small hypervisor that boots in QEMU: the example of embedding the service, and its test on units
//! that nobody here wrote.
#![no_std]
#![no_main]

mod boot;
mod machine;

fn main(start_info: usize) {
    log::info!("start info at {start_info:#x}");
}
