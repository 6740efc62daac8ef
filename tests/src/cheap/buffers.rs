//! Memory of the guest for arguments of hypercalls: a buffer for each of its CPUs.
#![expect(unsafe_code, reason = "copies between the service and guest memory are plain copies")]

use std::{cell::UnsafeCell, fmt};

use pviommu_abi::GuestPtr;
use pviommu_hypervisor::platform::CopyFault;

/// Guest physical address of the first buffer.
const BASE: u64 = 0x10_0000;

/// Bytes of a buffer: a page for the argument, and some for arrays.
const BYTES: usize = 1 << 16;

#[repr(align(4096))]
struct Buffer(UnsafeCell<[u8; BYTES]>);

/// A buffer for each CPU. One thread at a time uses that of a CPU, as guest and in the service.
pub struct Buffers(Box<[Buffer]>);

// SAFETY: the bytes are only touched by copies in and out of them, and callers keep to the buffer of
// their CPU, of which one thread at a time makes calls.
unsafe impl Sync for Buffers {}

impl Buffers {
    /// Zeroed buffers for `cpus` CPUs.
    #[must_use]
    pub fn new(cpus: usize) -> Self {
        Self((0..cpus).map(|_| Buffer(UnsafeCell::new([0; BYTES]))).collect())
    }

    /// The guest's address of byte `offset` of the buffer of `cpu`.
    #[must_use]
    pub const fn address(cpu: usize, offset: usize) -> GuestPtr {
        GuestPtr(BASE + (cpu * BYTES + offset) as u64)
    }

    /// Where the `bytes` bytes at `address` are, if all of them are of one buffer.
    #[inline]
    fn at(&self, address: GuestPtr, bytes: usize) -> Result<*mut u8, CopyFault> {
        let offset = usize::try_from(address.0.checked_sub(BASE).ok_or(CopyFault)?);
        let offset = offset.map_err(|_| CopyFault)?;
        let buffer = self.0.get(offset / BYTES).ok_or(CopyFault)?;
        let inside = offset % BYTES;
        if bytes > BYTES - inside {
            return Err(CopyFault);
        }
        Ok(buffer.0.get().cast::<u8>().wrapping_add(inside))
    }

    /// Copies out of a buffer.
    ///
    /// # Errors
    /// [`CopyFault`] if the bytes are not all of one buffer.
    #[inline]
    pub fn read(&self, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
        let from = self.at(from, to.len())?;
        // SAFETY: so many bytes of a live buffer are there, and nobody else uses it meanwhile.
        unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies into a buffer.
    ///
    /// # Errors
    /// [`CopyFault`] if there is no room in one buffer.
    #[inline]
    pub fn write(&self, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault> {
        let to = self.at(to, from.len())?;
        // SAFETY: as in `read`.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").field("cpus", &self.0.len()).finish_non_exhaustive()
    }
}
