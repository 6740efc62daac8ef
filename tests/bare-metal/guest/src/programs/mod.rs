//! What the guest can be asked to do.

mod blk;
mod disk;
mod edu;
mod escape;
mod faults;
mod hostile;
mod raw;
mod shared;
mod smp;
mod waiting;

use crate::{check::all_held, xen::shutdown};

/// Bit of the flags: what a device is refused comes back through `read_faults`, on the unit of this
/// machine.
const FAULTS_ARE_TOLD: u64 = 1;

/// From this bit on: which one of several ways is meant, or how many processors there are.
const VARIANT: u32 = 8;

/// Runs a program on one of its processors, and ends the domain.
pub fn run(processor: u64, name: [u8; 8], flags: u64) -> ! {
    let told = flags & FAULTS_ARE_TOLD != 0;
    match &name {
        b"blk\0\0\0\0\0" => blk::run(told),
        b"edu\0\0\0\0\0" => edu::run(told),
        b"escape\0\0" => escape::run(flags >> VARIANT),
        b"hostile\0" => hostile::run(processor, flags >> VARIANT),
        b"smp\0\0\0\0\0" => smp::run(processor),
        _ => panic!("there is no program {name:?}"),
    }
    shutdown(if all_held() { 0 } else { 3 })
}
