//! The bytes of guests.

use core::sync::atomic::{AtomicU8, Ordering};

use pviommu_hypervisor::{
    abi::{DomId, Gfn, GuestPtr},
    addr::PAGE_SHIFT,
    platform::{CopyFault, GuestMemory},
};

use super::Platform;
use crate::machine::memory::{PAGE, bytes};

impl Platform {
    /// Calls `act` with each byte of guest memory from `from` on, and its number, `length` times.
    fn each_byte(
        &self,
        domain: DomId,
        from: GuestPtr,
        length: usize,
        mut act: impl FnMut(usize, &AtomicU8),
    ) -> Result<(), CopyFault> {
        let domain = self.domain(domain).ok_or(CopyFault)?;
        // No page leaves the guest meanwhile.
        let _held = domain.p2m.lock.lock();
        let mut done = 0;
        while done < length {
            let address = from.checked_add(done as u64).ok_or(CopyFault)?.0;
            let frame = domain.p2m.frame(Gfn(address >> PAGE_SHIFT)).ok_or(CopyFault)?;
            let inside = address as usize % PAGE;
            for byte in bytes(frame).iter().skip(inside).take(length - done) {
                act(done, byte);
                done += 1;
            }
        }
        Ok(())
    }
}

impl GuestMemory for Platform {
    fn copy_in(&self, domain: DomId, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
        self.each_byte(domain, from, to.len(), |index, byte| {
            if let Some(to) = to.get_mut(index) {
                *to = byte.load(Ordering::Relaxed);
            }
        })
    }

    fn copy_out(&self, domain: DomId, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault> {
        self.each_byte(domain, to, from.len(), |index, byte| {
            byte.store(from.get(index).copied().unwrap_or_default(), Ordering::Relaxed);
        })
    }
}
