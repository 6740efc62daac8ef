//! A small hypervisor that boots in QEMU: the example of embedding the service, and its test on units
//! that nobody here wrote.
//!
//! | where | what |
//! |---|---|
//! | `boot` | from the loader to `main` |
//! | `machine` | ports, memory, functions on the bus, firmware's tables |
//! | `domains` | whose each frame is, what backs guest frames |
//! | `glue` | all that an embedder writes for the service: read this |
//! | `svm` | guests in virtual machines of their own |
//! | `suites` | the tests |
#![no_std]
#![no_main]

mod boot;
mod domains;
mod glue;
mod machine;
mod suites;
mod svm;

use boot::Exit;
use machine::{acpi, frames::FREE, pci, start_info::StartInfo};

fn main(start_info: usize) -> Exit {
    let info = StartInfo::at(start_info).expect("the loader leaves a start info");
    FREE.fill(&info);
    if let Some(window) = acpi::configuration_window(info.rsdp()) {
        pci::use_window(window);
    }
    log::info!("{} of {} frames are free", FREE.count(), FREE.end());
    if suites::run(&info) { Exit::Passed } else { Exit::Failed }
}
