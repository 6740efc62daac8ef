//! The record of a domain: what any hypervisor has of it, and the service's part.

use core::sync::atomic::{AtomicBool, Ordering};

use pviommu_hypervisor::{
    Background, Context, DefaultMap, DomainIommu, Limits, OptIns, Role,
    abi::{DomId, Gfn, PciDevice},
    addr::Mfn,
};
use spin::Mutex;

use super::{Block, P2m};
use crate::machine::frames::FREE;

/// What a domain is to be.
#[derive(Clone, Copy, Debug)]
pub struct DomainConfig {
    /// Pages of its memory, a power of two.
    pub pages: usize,
    /// How much of it follows on in the machine.
    pub block: Block,
    /// What it is to the machine.
    pub role: Role,
    /// What a bus frame that nobody mapped hits.
    pub background: Background,
    /// The map its devices start with.
    pub default_map: DefaultMap,
    /// The risks that are taken with it.
    pub opt_ins: OptIns,
    /// What it may use.
    pub limits: Limits,
}

impl Default for DomainConfig {
    /// A guest of 8 MiB whose devices may do no DMA until it says so. Without interrupt remapping a device can
    /// raise any interrupt, so to give it away is a risk; interrupts are off here.
    fn default() -> Self {
        Self {
            pages: 2048,
            block: Block::Page,
            role: Role::Guest,
            background: Background::Fault,
            default_map: DefaultMap::Blocked,
            opt_ins: OptIns::UNSAFE_INTERRUPTS,
            limits: Limits::default(),
        }
    }
}

/// A domain.
pub struct Domain {
    /// Its number.
    pub id: DomId,
    /// What backs its guest frames.
    pub p2m: P2m,
    /// The service's part.
    pub iommu: DomainIommu<'static>,
    /// Nothing is done for it any more.
    pub dying: AtomicBool,
    /// The functions it was given.
    functions: Mutex<[Option<PciDevice>; 16]>,
}

impl Domain {
    /// A domain whose memory is the frames from `first` on.
    pub fn new(id: DomId, config: &DomainConfig, first: Mfn) -> Self {
        // The default context, and as many as it may have.
        let contexts = FREE.place(usize::from(config.limits.max_contexts) + 1, |_| Context::new());
        let iommu = DomainIommu::new(id, config.role, contexts, config.limits)
            .with_background(config.background)
            .with_opt_ins(config.opt_ins);
        let p2m = P2m::new(first, config.pages, config.block);
        let (dying, functions) = (AtomicBool::new(false), Mutex::new([None; 16]));
        Self { id, p2m, iommu, dying, functions }
    }

    /// True if nothing is done for it any more.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.dying.load(Ordering::Acquire)
    }

    /// Notes that it was given a function, or that it has it no more.
    pub fn note(&self, function: PciDevice, has: bool) {
        let mut functions = self.functions.lock();
        let (old, new) = if has { (None, Some(function)) } else { (Some(function), None) };
        if let Some(place) = functions.iter_mut().find(|place| **place == old) {
            *place = new;
        }
    }

    /// True if it was given that function.
    #[must_use]
    pub fn has(&self, function: PciDevice) -> bool {
        self.functions.lock().contains(&Some(function))
    }

    /// The functions it was given.
    pub fn functions(&self) -> impl Iterator<Item = PciDevice> {
        let functions = *self.functions.lock();
        functions.into_iter().flatten()
    }

    /// Its guest frames that are memory.
    pub fn gfns(&self) -> impl Iterator<Item = Gfn> + use<> {
        (0..self.p2m.pages()).map(Gfn)
    }
}
