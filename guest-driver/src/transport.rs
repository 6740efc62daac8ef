//! The hypercall instruction on x86-64.
//!
//! The number of the hypercall goes in rax, arguments in rdi and rsi, the result comes back in rax;
//! the argument registers are clobbered (Xen `public/arch-x86/xen-x86_64.h`). Registers that only
//! the fourth to sixth argument would use are given up too, and rcx and r11, which `syscall` inside
//! a hypercall page overwrites.
//!
//! Which one to use: a PV or PVH guest of Xen, and a guest whose kernel has a hypercall page,
//! [`HypercallPage`]; else the instruction of the processor, [`Vmcall`] on Intel and [`Vmmcall`] on
//! AMD.

#![expect(unsafe_code, reason = "hypercalls are instructions, and pass addresses")]

use core::arch::asm;
use core::ptr::NonNull;

use pviommu_abi::{Errno, HYPERCALL_IOMMU_OP, Subop};

use crate::hypercall::{Hypercall, check, set_pointers};

/// Bytes between the entries of a hypercall page.
const PAGE_ENTRY_SIZE: usize = 32;
/// Where the entry of `iommu_op` is.
const IOMMU_OP_ENTRY: usize = 43 * PAGE_ENTRY_SIZE;

const _: () = assert!(HYPERCALL_IOMMU_OP == 43);

/// Makes a call ready for the instruction, or says what to answer instead of executing it.
fn prepare(subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> Result<*mut u8, Errno> {
    let Some(buffer) = buffer else {
        check(subop, arg, None)?;
        return Ok(arg.as_mut_ptr());
    };
    let address = u64::try_from(buffer.as_ptr().addr()).map_err(|_| Errno::EINVAL)?;
    // Checks, too.
    set_pointers(subop, arg, buffer, address)?;
    // Exposed, because what the hypervisor writes behind it is written through this address; and
    // last, because the reference is not used again.
    let _ = buffer.as_mut_ptr().expose_provenance();
    Ok(arg.as_mut_ptr())
}

macro_rules! instruction {
    ($(#[$attr:meta])* $Name:ident, $mnemonic:literal) => {
        $(#[$attr])*
        #[derive(Debug)]
        pub struct $Name(());

        impl $Name {
            /// The instruction, once it is known to be served.
            ///
            /// # Safety
            ///
            /// 1. The code runs as a guest at the privilege level whose hypercalls are served, on a
            ///    processor with this instruction.
            /// 2. The hypervisor takes it for a Xen hypercall, keeps every register but those the
            ///    module names, and of `iommu_op` writes only the argument and the buffer that its
            ///    pointer names, for no longer than the call lasts.
            /// 3. The address of every byte of both is one the hypervisor resolves to that byte.
            #[must_use]
            pub const unsafe fn new() -> Self {
                Self(())
            }
        }

        impl Hypercall for $Name {
            fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
                let arg = match prepare(subop, arg, buffer) {
                    Ok(arg) => arg,
                    Err(errno) => return errno.to_ret(),
                };
                let result: i64;
                // SAFETY:
                // 1. The instruction exists and is served: promise 1 of `new`.
                // 2. Memory: the hypervisor writes only argument and buffer (promise 2), at these
                //    addresses (promise 3). Both are borrowed mutably for the length of this
                //    function, and `prepare` has checked that they are as long as the ABI lets it
                //    write, and that the lists it reads lie in the buffer. The block has no `nomem` or `readonly`, so the compiler assumes that
                //    both changed.
                // 3. Registers: all that the calling convention may change are outputs; flags are
                //    clobbered by default; the stack is not used.
                unsafe {
                    asm!(
                        $mnemonic,
                        inlateout("rax") u64::from(HYPERCALL_IOMMU_OP) => result,
                        inlateout("rdi") u64::from(subop.0) => _,
                        inlateout("rsi") arg => _,
                        lateout("rdx") _,
                        lateout("r10") _,
                        lateout("r8") _,
                        lateout("r9") _,
                        lateout("rcx") _,
                        lateout("r11") _,
                        options(nostack),
                    );
                }
                result
            }
        }
    };
}

instruction! {
    /// Hypercalls by `vmcall`, the instruction of Intel processors.
    Vmcall, "vmcall"
}

instruction! {
    /// Hypercalls by `vmmcall`, the instruction of AMD processors.
    Vmmcall, "vmmcall"
}

/// Hypercalls through the page of entries that Xen fills for its guests.
#[derive(Debug)]
pub struct HypercallPage {
    entry: NonNull<u8>,
}

// SAFETY: the entry is code that is only called, and Xen's entries may be called on every vCPU at
// once (promise 1 of `new` is for as long as the value lives, whichever thread holds it).
unsafe impl Send for HypercallPage {}

// SAFETY: as for `Send`; the value itself is never written.
unsafe impl Sync for HypercallPage {}

impl HypercallPage {
    /// The entry of `iommu_op` in a hypercall page.
    ///
    /// # Safety
    ///
    /// 1. `page` is a hypercall page of 4 KiB that Xen has filled, mapped executable for as long as
    ///    the value lives and on every processor that uses it.
    /// 2. The hypervisor keeps every register but those the module names, and of `iommu_op` writes
    ///    only the argument and the buffer that its pointer names, for no longer than the call
    ///    lasts.
    /// 3. The address of every byte of both is one the hypervisor resolves to that byte.
    #[must_use]
    pub const unsafe fn new(page: NonNull<u8>) -> Self {
        // SAFETY: the entry is 1376 bytes into a page of 4096 (promise 1).
        let entry = unsafe { page.add(IOMMU_OP_ENTRY) };
        Self { entry }
    }
}

impl Hypercall for HypercallPage {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        let arg = match prepare(subop, arg, buffer) {
            Ok(arg) => arg,
            Err(errno) => return errno.to_ret(),
        };
        let result: i64;
        // SAFETY:
        // 1. The target is an entry of the page, which is mapped and returns: promise 1 of `new`.
        // 2. Memory: the hypervisor writes only argument and buffer (promise 2), at these addresses
        //    (promise 3). Both are borrowed mutably for the length of this function, and `prepare`
        //    has checked that they are as long as the ABI lets it write, and that the lists it
        //    reads lie in the buffer. The block has no `nomem` or `readonly`, so the compiler
        //    assumes that both changed.
        // 3. Registers: all that the calling convention may change are outputs; flags are clobbered
        //    by default. The entry sets rax itself.
        // 4. Stack: `nostack` is not given, so the return address may be pushed.
        unsafe {
            asm!(
                "call {entry}",
                // A register of its own that is read before any is written, and is none of the
                // outputs.
                entry = in(reg) self.entry.as_ptr(),
                out("rax") result,
                inout("rdi") u64::from(subop.0) => _,
                inout("rsi") arg => _,
                out("rdx") _,
                out("r10") _,
                out("r8") _,
                out("r9") _,
                out("rcx") _,
                out("r11") _,
            );
        }
        result
    }
}
