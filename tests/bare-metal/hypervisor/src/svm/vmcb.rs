//! The control block of a virtual processor: fields by their offsets (appendix B).
//!
//! It is a frame that the processor reads and writes while the guest runs, and nobody else does: so it is
//! words that are read and written as a whole.

use core::sync::atomic::Ordering;

use pviommu_hypervisor::addr::{Mfn, PAGE_SHIFT};

use crate::machine::memory;

/// Intercepts of instructions and events, words 3 and 4.
pub const INTERCEPTS: Field32 = Field32(0x00c);
/// The next ones.
pub const MORE_INTERCEPTS: Field32 = Field32(0x010);
/// The bitmap of ports.
pub const PORT_MAP: Field = Field(0x040);
/// The bitmap of model-specific registers.
pub const REGISTER_MAP: Field = Field(0x048);
/// Address space number, and in bits 39:32 what is thrown out of the TLB.
pub const ASID: Field = Field(0x058);
/// Virtual interrupts.
pub const INTERRUPTS: Field = Field(0x060);
/// Why the guest was left.
pub const EXIT_CODE: Field = Field(0x070);
/// What there is to say of it.
pub const EXIT_INFO_1: Field = Field(0x078);
/// And more of that.
pub const EXIT_INFO_2: Field = Field(0x080);
/// Bit 0: nested paging.
pub const NESTED: Field = Field(0x090);
/// The root of the nested tables.
pub const NESTED_ROOT: Field = Field(0x0b0);

/// Segment registers: selector, attributes and limit in one word, the base in the next.
pub const ES: Field = Field(0x400);
pub const CS: Field = Field(0x410);
pub const SS: Field = Field(0x420);
pub const DS: Field = Field(0x430);
pub const EFER: Field = Field(0x4d0);
pub const CR4: Field = Field(0x548);
pub const CR3: Field = Field(0x550);
pub const CR0: Field = Field(0x558);
pub const DR7: Field = Field(0x560);
pub const DR6: Field = Field(0x568);
pub const RFLAGS: Field = Field(0x570);
pub const RIP: Field = Field(0x578);
pub const RAX: Field = Field(0x5f8);
/// Memory types of the guest's own tables.
pub const PAT: Field = Field(0x668);

/// A field of 64 bits, by its offset.
#[derive(Clone, Copy, Debug)]
pub struct Field(usize);

/// A field of 32 bits, by its offset.
#[derive(Clone, Copy, Debug)]
pub struct Field32(usize);

/// A control block.
#[derive(Debug)]
pub struct Vmcb {
    frame: Mfn,
}

impl Vmcb {
    /// The block in a frame of zeros.
    pub const fn new(frame: Mfn) -> Self {
        Self { frame }
    }

    /// Its frame.
    pub const fn frame(&self) -> Mfn {
        self.frame
    }

    /// Its address.
    pub const fn address(&self) -> u64 {
        self.frame.0 << PAGE_SHIFT
    }

    /// Reads a field.
    pub fn get(&self, Field(offset): Field) -> u64 {
        memory::words(self.frame, 1)[offset / 8].load(Ordering::Relaxed)
    }

    /// Writes a field.
    pub fn set(&self, Field(offset): Field, value: u64) {
        memory::words(self.frame, 1)[offset / 8].store(value, Ordering::Relaxed);
    }

    /// Writes a field of half a word.
    pub fn set32(&self, Field32(offset): Field32, value: u32) {
        let word = Field(offset & !7);
        let (shift, old) = (offset % 8 * 8, self.get(word));
        let others = old & !(u64::from(u32::MAX) << shift);
        self.set(word, others | u64::from(value) << shift);
    }
}
