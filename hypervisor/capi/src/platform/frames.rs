//! Memory for page tables.
#![expect(unsafe_code, reason = "C vouches for its functions")]

use core::sync::atomic::AtomicU64;

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    platform::{Pool, TABLE_ENTRIES, TableFrames},
};

use super::{Embedder, done, pages::found};

/// `PVIOMMU_POOL_*`.
fn number(pool: Pool) -> u32 {
    match pool {
        Pool::Open => 0,
        Pool::Reserved => 1,
    }
}

// SAFETY: whoever calls `pviommu_machine_init` promises it of these functions.
unsafe impl TableFrames for Embedder {
    fn alloc(&self, domain: DomId, pool: Pool) -> Option<Mfn> {
        let alloc = self.calls.alloc_table?;
        let mut frame = 0;
        // SAFETY: the header's promise of this function, which may write a number there.
        let status = unsafe { alloc(self.context, domain.0, number(pool), &mut frame) };
        found(status, frame).map(Mfn)
    }

    fn free(&self, domain: DomId, frame: Mfn, pool: Pool) {
        let Some(free) = self.calls.free_table else { return };
        // SAFETY: the header's promise of this function.
        unsafe { free(self.context, domain.0, frame.0, number(pool)) };
    }

    fn reserve(&self, domain: DomId, frames: u32) -> bool {
        let Some(reserve) = self.calls.reserve_tables else { return false };
        // SAFETY: the header's promise of this function.
        done(unsafe { reserve(self.context, domain.0, frames) })
    }

    fn unreserve(&self, domain: DomId, frames: u32) {
        let Some(unreserve) = self.calls.unreserve_tables else { return };
        // SAFETY: the header's promise of this function.
        unsafe { unreserve(self.context, domain.0, frames) };
    }

    fn alloc_scratch(&self, domain: DomId) -> Option<Mfn> {
        let Some(alloc) = self.calls.alloc_scratch else { return self.alloc(domain, Pool::Open) };
        let mut frame = 0;
        // SAFETY: the header's promise of this function, which may write a number there.
        let status = unsafe { alloc(self.context, domain.0, &mut frame) };
        found(status, frame).map(Mfn)
    }

    fn free_scratch(&self, domain: DomId, frame: Mfn) {
        // Where it was taken from.
        let free = self.calls.free_scratch.filter(|_| self.calls.alloc_scratch.is_some());
        let Some(free) = free else { return self.free(domain, frame, Pool::Open) };
        // SAFETY: the header's promise of this function.
        unsafe { free(self.context, domain.0, frame.0) };
    }

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        let Some(table) = self.calls.table else { return &[] };
        // SAFETY: the header's promise of this function.
        let words = unsafe { table(self.context, frame.0) }.cast::<AtomicU64>();
        if words.is_null() || !words.is_aligned() {
            return &[];
        }
        // SAFETY: the header's promise: what is not null is a table of 512 words, where it stays until it is
        // freed, and the service uses it no longer.
        unsafe { core::slice::from_raw_parts(words, TABLE_ENTRIES) }
    }

    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        // Without an answer all of them might be.
        let Some(first_table) = self.calls.first_table else { return Some(frames.first()) };
        let (first, last) = (frames.first().0, frames.last().0);
        let mut frame = 0;
        // SAFETY: the header's promise of this function, which may write a number there.
        let status = unsafe { first_table(self.context, first, last, &mut frame) };
        found(status, frame).map(Mfn)
    }

    fn publish(&self, frame: Mfn, first: usize, last: usize) {
        let Some(publish) = self.calls.publish else { return };
        let (first, last) = (u32::try_from(first), u32::try_from(last));
        let (Ok(first), Ok(last)) = (first, last) else { return };
        // SAFETY: the header's promise of this function.
        unsafe { publish(self.context, frame.0, first, last) };
    }
}
