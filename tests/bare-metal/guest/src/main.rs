//! The guest of the small hypervisor: it drives devices that it was given through `pviommu-guest`, and
//! misbehaves where it is told to.
//!
//! It has no interrupts, no heap and no time of day, and ends by a hypercall. Which program it runs is
//! told in a register ([`entry`]).
#![no_std]
#![no_main]

mod check;
mod clock;
mod edu;
mod entry;
mod kernel;
mod memory;
mod pci;
mod programs;
mod xen;
