//! Ways to reach what is not the guest's: each has to end the guest, with a device still about to write.
#![expect(unsafe_code, reason = "it does what it may not")]

use core::arch::asm;

use pviommu_guest::dma::{Direction, DmaSpace, DmaStorage};

use crate::{check::check, edu::Edu, kernel::Metal, memory::Shared, pci};

static STORAGE: DmaStorage<64, 1> = DmaStorage::new();

/// Vendor and device of a disk, which has a table of interrupts.
const DISK: u32 = 0x1042_1af4;
const TABLE_REGION: u8 = 1;

/// Tries it in way number `variant`. It comes back only if that was allowed.
pub fn run(variant: u64) {
    let edu = Edu::all().next().expect("the guest was given an edu");
    let space = DmaSpace::open(Metal::new(), &STORAGE).expect("there is a service");
    let device = space.attach(edu.device, u64::MAX).expect("it can be moved");
    let target = device.map(Shared::take(1), Direction::FromDevice).expect("it can be mapped");
    edu.start_write(target.address(), 8);

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
