//! Ways to reach what is not the guest's: each has to end the guest, with a device still about to write.
#![expect(unsafe_code, reason = "it does what it may not")]

use core::arch::asm;

use pviommu_abi::{Background, MapFlags};
use pviommu_guest::{DeviceSpace, IommuClient};

use super::edu::context_for;
use crate::{check::check, edu::Edu, memory::Shared, pci, xen::transport};

/// Vendor and device of a disk, which has a table of interrupts.
const DISK: u32 = 0x1042_1af4;
const TABLE_REGION: u8 = 1;

/// Tries it in way number `variant`. It comes back only if that was allowed.
pub fn run(variant: u64) {
    let iommu = IommuClient::new(transport());
    let edu = Edu::all().next().expect("the guest was given an edu");
    let context = context_for(&iommu, edu.device, Background::FAULT).expect("it can be moved");
    let mut space = DeviceSpace::<_, 16>::new(iommu, context, u64::MAX).expect("there is room");
    let memory = Shared::take(1);
    let bfn = space.map(1, MapFlags::WRITEABLE, |_| Some(memory.frame(0)));
    edu.start_write(bfn.expect("it can be mapped").0 << 12, 8);

    match variant {
        // SAFETY: nothing is there.
        0 => _ = unsafe { (0x7000_0000 as *const u64).read_volatile() },
        // The machine has memory there, and it is not the guest's.
        // SAFETY: nothing is there.
        1 => unsafe { (0x0200_0000 as *mut u64).write_volatile(7) },
        2 => {
            let disk = pci::find(DISK).next().expect("the guest was given a disk");
            let table = pci::region(disk, TABLE_REGION).expect("it has a table of interrupts");
            // SAFETY: it can be read, so only the write is refused.
            let old = unsafe { (table as *const u32).read_volatile() };
            // SAFETY: as above.
            unsafe { (table as *mut u32).write_volatile(old) };
        }
        // SAFETY: the register stays as it is, if it can be written at all.
        3 => unsafe {
            asm!("wrmsr", in("ecx") 0xc000_0080_u32, in("eax") 0x500_u32, in("edx") 0, options(nostack));
        },
        // SAFETY: there is no control block at 0.
        4 => unsafe { asm!("vmrun rax", in("rax") 0_u64, options(nostack)) },
        // SAFETY: there are no handlers of exceptions, so it does not come back.
        5 => unsafe { asm!("ud2", options(nostack)) },
        _ => panic!("there is no way {variant}"),
    }
    check("it is refused", Err::<(), _>("it was not"));
}
