//! Configuration space, by its two ports, as the hypervisor lets the guest see it.
#![expect(unsafe_code, reason = "ports are reached by instructions of their own")]

use core::arch::asm;

use pviommu_abi::PciDevice;
use spin::Mutex;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
/// May answer and may send requests.
const MEMORY_AND_BUS_MASTER: u32 = 0b110;

/// The address is written before the data, and nobody comes in between.
static PORTS: Mutex<()> = Mutex::new(());

fn port_in(port: u16) -> u32 {
    let value;
    // SAFETY: it touches no memory; the hypervisor serves these ports and no others.
    unsafe {
        asm!("in eax, dx", out("eax") value, in("dx") port, options(nomem, nostack, preserves_flags));
    }
    value
}

fn port_out(port: u16, value: u32) {
    // SAFETY: as above.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
    }
}

fn select(device: PciDevice, offset: u8) {
    let at = u32::from(device.bus) << 16 | u32::from(device.devfn) << 8;
    port_out(ADDRESS, 1 << 31 | at | u32::from(offset & 0xfc));
}

/// Reads 32 bits; ones where there is nothing for this guest.
pub fn read(device: PciDevice, offset: u8) -> u32 {
    let _turn = PORTS.lock();
    select(device, offset);
    port_in(DATA)
}

/// Writes 32 bits.
pub fn write(device: PciDevice, offset: u8, value: u32) {
    let _turn = PORTS.lock();
    select(device, offset);
    port_out(DATA, value);
}

/// Lets a device answer, and send requests.
pub fn enable(device: PciDevice) {
    // Ones written to the status would clear it.
    let command = read(device, 4) & 0xffff;
    write(device, 4, command | MEMORY_AND_BUS_MASTER);
}

/// The devices of this guest with this vendor and device number.
pub fn find(id: u32) -> impl Iterator<Item = PciDevice> {
    (0..=u16::MAX)
        .map(|at| PciDevice { seg: 0, bus: (at >> 8) as u8, devfn: at as u8 })
        // Each look is two exits, and no machine of ours has more buses.
        .take_while(|device| device.bus < 8)
        .filter(move |device| read(*device, 0) == id)
}

/// The memory region at `index`, below 4 GiB.
pub fn region(device: PciDevice, index: u8) -> Option<u64> {
    let low = read(device, 0x10 + 4 * index);
    let high = if low & 0b110 == 0b100 { read(device, 0x14 + 4 * index) } else { 0 };
    (low & 1 == 0 && low & !0xf != 0 && high == 0).then_some(u64::from(low & !0xf))
}

/// The same for `virtio-drivers`.
#[derive(Debug)]
pub struct Ports;

/// How this guest names a function that `virtio-drivers` names.
pub const fn device_of(function: DeviceFunction) -> PciDevice {
    PciDevice { seg: 0, bus: function.bus, devfn: function.device << 3 | function.function }
}

impl ConfigurationAccess for Ports {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        read(device_of(function), offset)
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        write(device_of(function), offset, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}
