//! A small hypervisor that boots in QEMU: the example of embedding the service, and its test on units
//! that nobody here wrote.
#![no_std]
#![no_main]

mod boot;
mod machine;

use machine::{acpi, edu::Edu, frames::FREE, pci, processors, start_info::StartInfo};

fn main(start_info: usize) {
    let info = StartInfo::at(start_info).expect("the loader leaves a start info");
    FREE.fill(&info);
    log::info!("{:?}: {} frames are free", info.command_line(), FREE.count());
    if let Some(window) = acpi::configuration_window(info.rsdp()) {
        pci::use_window(window);
    }
    for function in pci::functions() {
        log::info!("{function} {:08x}", pci::read(function, 0));
        if let Some(edu) = Edu::find(function) {
            log::info!("an edu with registers at {:#x}", edu.registers);
        }
    }
    for name in [b"DMAR", b"IVRS"] {
        let table = acpi::table(info.rsdp(), name);
        log::info!("{} of {:?} bytes", name.escape_ascii(), table.map(<[u8]>::len));
    }
    log::info!("{} processors", processors::start());
}
