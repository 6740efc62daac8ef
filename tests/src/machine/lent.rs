//! References that a domain took on pages of another: so that what is given back is what was taken.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use pviommu_abi::DomId;
use pviommu_hypervisor::addr::{Mfn, MfnRange};
use rustc_hash::FxHashMap;

use super::frames::lock;

/// By who took them and frame: whose it is, and how many.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    any: AtomicBool,
    taken: Mutex<FxHashMap<(u16, u64), (DomId, u32)>>,
}

impl Lent {
    /// `domain` took a reference on each of `frames`, which are `owner`'s.
    pub(crate) fn add(&self, domain: DomId, owner: DomId, frames: MfnRange) {
        self.any.store(true, Ordering::Release);
        let mut taken = lock(&self.taken);
        for frame in frames.first().0..=frames.last().0 {
            taken.entry((domain.0, frame)).or_insert((owner, 0)).1 += 1;
        }
    }

    /// `domain` gives one back; whose frame it is, if another's.
    pub(crate) fn take(&self, domain: DomId, frame: Mfn) -> Option<DomId> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut taken = lock(&self.taken);
        let (owner, count) = taken.get_mut(&(domain.0, frame.0))?;
        let owner = *owner;
        *count -= 1;
        if *count == 0 {
            taken.remove(&(domain.0, frame.0));
        }
        Some(owner)
    }
}
