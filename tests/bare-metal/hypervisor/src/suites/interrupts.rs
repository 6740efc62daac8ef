//! Interrupts of devices go through the unit, too: what no entry of its table lets through does not arrive.
//!
//! Whether one arrives is seen in the local APIC, which notes it although interrupts are off here (Intel SDM volume 3,
//! section 10.8.4). Messages: Intel Virtualization Technology for Directed I/O, Revision 4.1, sections 5.1.2 and 9.10.

use core::sync::atomic::Ordering;

use pviommu_hypervisor::{
    abi::PciDevice,
    addr::{Mfn, PAGE_SHIFT},
    format::FormatKind,
    platform::RegisterBlock,
};

use super::{Bench, Report};
use crate::machine::{
    clock,
    memory::{PAGE, words},
    mmio, pci,
};

const LOCAL_APIC: u64 = 0xfee0_0000;
/// The message of an interrupt as without remapping, for the first processor.
const PLAIN: u32 = 0xfee0_0000;
/// The same for entry 5 of the unit's table: bit 4, and the index from bit 5 on.
const REMAPPED: u32 = 0xfee0_0000 | 1 << 4 | ENTRY << 5;
const ENTRY: u32 = 5;

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    let edu = bench.edu(0);
    report.holds("the unit says that it isolates interrupts", bench.unit().isolates_interrupts());
    let guest = bench.guest_with(&crate::domains::DomainConfig::default(), edu);
    let raise = |address, vector| raise(edu.function, edu.registers, address, vector);
    if bench.unit().facts().format == FormatKind::AmdV1 {
        report
            .holds("an interrupt that no entry lets through does not arrive", !raise(PLAIN, 0x51));
        const NAME: &str = "one that an entry lets through arrives";
        report.leave_out(NAME, "the hypervisor has AMD's unit refuse all of them");
        bench.end(guest.domain);
        return;
    }
    report
        .leave_out("none as without remapping arrives", "QEMU lets them pass, whatever CFIS says");
    report.leave_out("what is refused is recorded", "QEMU's unit records no interrupts");
    report.holds("none by an entry that is not there arrives", !raise(REMAPPED, 0x52));
    let table = mmio(0xfed9_0000, PAGE).map_or(0, |unit| unit.read64(0xb8) >> PAGE_SHIFT);
    let entry = |half: usize| {
        let word = words(Mfn(table), 1).get(2 * ENTRY as usize + half);
        word.expect("the unit has a table of interrupts")
    };
    // Of this function only (SVT 1), as vector 0x53 to the first processor; then of another one.
    let source = u64::from(edu.function.bus) << 8 | u64::from(edu.function.devfn);
    entry(1).store(1 << 18 | source, Ordering::SeqCst);
    entry(0).store(0x53 << 16 | 1, Ordering::SeqCst);
    report.holds("one that an entry lets through arrives", raise(REMAPPED, 0x53));
    entry(0).store(0, Ordering::SeqCst);
    entry(1).store(1 << 18 | (source ^ 8), Ordering::SeqCst);
    entry(0).store(0x54 << 16 | 1, Ordering::SeqCst);
    report.holds("but not by the entry of another device", !raise(REMAPPED, 0x54));
    entry(0).store(0, Ordering::SeqCst);
    bench.hypervisor.tell_faults();
    bench.end(guest.domain);
}

/// Has an `edu` device raise an interrupt by this message; true if `vector` arrives.
fn raise(function: PciDevice, registers: u64, address: u32, vector: u32) -> bool {
    const RAISE: usize = 0x60;
    const ACKNOWLEDGE: usize = 0x64;
    const STATUS: usize = 0x24;
    let message = capability(function, 5).expect("the device sends messages");
    let wide = pci::read(function, message) >> 16 & 1 << 7 != 0;
    pci::write(function, message + 4, address);
    pci::write(function, message + 8, 0);
    pci::write(function, message + if wide { 12 } else { 8 }, vector);
    pci::change(function, message, 0, 1 << 16);
    let apic = mmio(LOCAL_APIC, PAGE).expect("there is a local APIC");
    let requested = || apic.read32(0x200 + 0x10 * (vector as usize / 32)) >> (vector % 32) & 1 == 1;
    let device = mmio(registers, PAGE).expect("the device has registers");
    assert!(!requested(), "the vector was used before");
    device.write32(RAISE, 1);
    let arrived = clock::wait(2_000, requested);
    device.write32(ACKNOWLEDGE, device.read32(STATUS));
    pci::change(function, message, 1 << 16, 0);
    arrived
}

/// Where a capability of a function is.
fn capability(function: PciDevice, id: u32) -> Option<u16> {
    let mut at = pci::read(function, 0x34) & 0xfc;
    for _ in 0..48 {
        let head = pci::read(function, at as u16);
        if at == 0 {
            return None;
        }
        if head & 0xff == id {
            return Some(at as u16);
        }
        at = head >> 8 & 0xfc;
    }
    None
}
