//! Into the guest and back, on this processor.
#![expect(unsafe_code, reason = "the world switch is instructions")]

use core::arch::{asm, global_asm};

use pviommu_hypervisor::addr::{Mfn, PAGE_SHIFT};

use super::vmcb::Vmcb;
use crate::machine::frames::FREE;

/// Registers that the control block does not hold, in the order of the assembly.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8_to_r15: [u64; 8],
}

const _: () = assert!(size_of::<Registers>() == 14 * 8);

global_asm!(
    ".pushsection .text.svm, \"ax\", @progbits",
    // rdi: registers of the guest; rsi: its control block; rdx: a block for what vmrun does not save.
    "svm_switch:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "clgi",
    "push rdi",
    "push rdx",
    "mov rax, rdx",
    "vmsave rax",
    "mov rax, rsi",
    "vmload rax",
    "mov rbx, [rdi + 0x00]",
    "mov rcx, [rdi + 0x08]",
    "mov rdx, [rdi + 0x10]",
    "mov rsi, [rdi + 0x18]",
    "mov rbp, [rdi + 0x28]",
    "mov r8,  [rdi + 0x30]",
    "mov r9,  [rdi + 0x38]",
    "mov r10, [rdi + 0x40]",
    "mov r11, [rdi + 0x48]",
    "mov r12, [rdi + 0x50]",
    "mov r13, [rdi + 0x58]",
    "mov r14, [rdi + 0x60]",
    "mov r15, [rdi + 0x68]",
    "mov rdi, [rdi + 0x20]",
    "vmrun rax",
    // rax and rsp are as they were; everything else is the guest's.
    "vmsave rax",
    "push rdi",
    "mov rdi, [rsp + 16]",
    "mov [rdi + 0x00], rbx",
    "mov [rdi + 0x08], rcx",
    "mov [rdi + 0x10], rdx",
    "mov [rdi + 0x18], rsi",
    "mov [rdi + 0x28], rbp",
    "mov [rdi + 0x30], r8",
    "mov [rdi + 0x38], r9",
    "mov [rdi + 0x40], r10",
    "mov [rdi + 0x48], r11",
    "mov [rdi + 0x50], r12",
    "mov [rdi + 0x58], r13",
    "mov [rdi + 0x60], r14",
    "mov [rdi + 0x68], r15",
    "pop rax",
    "mov [rdi + 0x20], rax",
    "pop rax",
    "vmload rax",
    "pop rdi",
    "stgi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".popsection",
);

unsafe extern "sysv64" {
    fn svm_switch(registers: *mut Registers, guest: u64, host: u64);
}

const EFER: u32 = 0xc000_0080;
const EFER_SVME: u64 = 1 << 12;
const VM_CR: u32 = 0xc001_0114;
const VM_CR_SVMDIS: u64 = 1 << 4;
const VM_HSAVE_PA: u32 = 0xc001_0117;

fn read_register(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: ring 0, and the callers name registers that processors with SVM have.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
///
/// What the register then means is what the processor is to do.
unsafe fn write_register(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: ring 0; the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags));
    }
}

/// EAX, ECX and EDX of a leaf.
fn cpuid(leaf: u32) -> [u32; 3] {
    let (first, third, fourth): (u32, u32, u32);
    // SAFETY: all processors with 64 bits have the instruction; rbx, which the compiler keeps to itself, is
    // as it was.
    unsafe {
        asm!(
            "mov {kept}, rbx",
            "cpuid",
            "mov rbx, {kept}",
            kept = out(reg) _,
            inout("eax") leaf => first,
            inout("ecx") 0 => third,
            out("edx") fourth,
            options(nomem, nostack, preserves_flags),
        );
    }
    [first, third, fourth]
}

/// Whether this processor can run guests with nested paging.
fn is_able() -> bool {
    const LEAF: u32 = 0x8000_000a;
    let [highest, ..] = cpuid(0x8000_0000);
    let [_, features, _] = cpuid(0x8000_0001);
    let [.., svm] = cpuid(LEAF);
    highest >= LEAF
        && features & 1 << 2 != 0
        && svm & 1 != 0
        && read_register(VM_CR) & VM_CR_SVMDIS == 0
}

/// The processor that this was made on, able to run guests for as long as there is this.
#[derive(Debug)]
pub struct Enabled {
    /// Where vmrun saves the host's state, and a block for what it does not save.
    frames: Mfn,
}

impl Enabled {
    /// Switches SVM on; `None` if the processor has none, or there is no memory.
    pub fn on_this_processor() -> Option<Self> {
        let frames = is_able().then(|| FREE.alloc(2, 1))??;
        // SAFETY: nothing but SVM's instructions are made to work by it.
        unsafe { write_register(EFER, read_register(EFER) | EFER_SVME) };
        // SAFETY: the frame is for this, and nobody else writes it.
        unsafe { write_register(VM_HSAVE_PA, frames.0 << PAGE_SHIFT) };
        Some(Self { frames })
    }

    /// Runs the guest until it is left for a reason that is intercepted.
    pub fn run(&self, vmcb: &Vmcb, registers: &mut Registers) {
        let host = (self.frames.0 + 1) << PAGE_SHIFT;
        // SAFETY: the blocks are frames of their own. `Vcpu::new` has set the guest's so that it reaches
        // nothing but what its nested tables lead to, and comes back; all that it changes of this processor
        // is saved and restored, or given up by the calling convention.
        unsafe { svm_switch(registers, vmcb.address(), host) };
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        // SAFETY: no guest runs here any longer, so the frame is not written again.
        unsafe { write_register(VM_HSAVE_PA, 0) };
        // SAFETY: as it was before.
        unsafe { write_register(EFER, read_register(EFER) & !EFER_SVME) };
        FREE.free(self.frames, 2);
    }
}
