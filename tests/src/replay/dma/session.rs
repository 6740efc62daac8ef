//! The second pass over a trace: drivers call the DMA API, and what it says is checked.

mod domains;
mod settle;
mod shares;
mod tried;

use std::collections::VecDeque;

use pviommu_abi::PciDevice;
use pviommu_guest::dma::{DmaSpace, DmaStorage, Pending};
use pviommu_hypervisor::platform::Access;
use rustc_hash::FxHashMap;

use super::arena::Arena;
use super::buffer::{Memory, bus_frames, stretches};
use super::handles::{Attached, Held, Left, When};
use super::ranges::{Name, Ranges};
use super::requests::{Request, Wanted, What};
use super::watched::Watched;
use super::witness::Witness;
use crate::machine::Bed;
use crate::replay::checks::Stretch;
use crate::replay::options::Lazy;
use crate::replay::plan::Plan;
use crate::replay::summary::Summary;
use crate::trace::{DmaDirection, DomainId};

/// The kernel of a replay.
pub(super) type Of<'k> = &'k Watched<'k>;

/// Room of a space: as many ranges of bus frames as the largest cache of mappings takes.
pub(super) type Storage = DmaStorage<16384, 4>;

/// A replay on its way.
pub(super) struct Session<'m, 's, 'd, 'k> {
    bed: &'k Bed<'k>,
    kernel: Of<'k>,
    plan: &'k Plan,
    arena: Arena<'m, 's, 'd, Of<'k>>,
    modes: Modes,
    /// Pages of another domain are mapped, too.
    shares: bool,
    /// The greatest bus address of each function in the trace.
    highest: &'k FxHashMap<u32, u64>,
    domains: FxHashMap<DomainId, Domain<'s, 'd, 'k>>,
    /// Where each function is.
    places: FxHashMap<u32, (DomainId, &'d Attached<'s, Of<'k>>)>,
    /// What is mapped, by the number of its map.
    open: FxHashMap<usize, Mapped<'d, 'k>>,
    maps: usize,
    ranges: Ranges,
    /// Domains that have ended.
    closed: usize,
    /// When the timers ran last.
    polled_us: u64,
    reuse_hits: u64,
    dma_unmaps: u64,
    oddities: u64,
}

/// When buffers are unmapped.
pub(super) struct Modes {
    pub(super) lazy: Lazy,
    /// Mappings kept, if any are.
    pub(super) reuse: Option<std::num::NonZeroUsize>,
}

impl Modes {
    fn of(&self, domain: DomainId) -> When {
        match self.reuse {
            Some(kept) => When::Reusing(kept),
            None if self.lazy.is_lazy(domain) => When::Deferred,
            None => When::Strict,
        }
    }
}

/// A domain of the trace.
struct Domain<'s, 'd, 'k> {
    space: &'s DmaSpace<'s, Of<'k>>,
    context: u64,
    when: When,
    /// Functions that ever came.
    devices: u64,
    /// Buffers that cannot be had yet, the oldest first.
    pending: VecDeque<Waiting<'d, 'k>>,
}

/// A buffer that cannot be had yet.
struct Waiting<'d, 'k> {
    pending: Pending<'d, Of<'k>, Memory>,
    name: Name,
    since_us: u64,
}

/// A buffer that is mapped.
struct Mapped<'d, 'k> {
    held: Held<'d, Of<'k>>,
    domain: DomainId,
    device: PciDevice,
    name: Name,
    access: Access,
    stretches: Vec<Stretch>,
}

impl<'m, 's, 'd, 'k> Session<'m, 's, 'd, 'k> {
    pub(super) fn new(
        bed: &'k Bed<'k>,
        kernel: Of<'k>,
        plan: &'k Plan,
        arena: Arena<'m, 's, 'd, Of<'k>>,
        modes: Modes,
        shares: bool,
        highest: &'k FxHashMap<u32, u64>,
    ) -> Self {
        Self {
            bed,
            kernel,
            plan,
            arena,
            modes,
            shares,
            highest,
            domains: FxHashMap::default(),
            places: FxHashMap::default(),
            open: FxHashMap::default(),
            maps: 0,
            ranges: Ranges::default(),
            closed: 0,
            polled_us: 0,
            reuse_hits: 0,
            dma_unmaps: 0,
            oddities: 0,
        }
    }

    /// Does what a driver does, and all that is due then.
    pub(super) fn request(&mut self, request: Request) {
        let Request { line, ns, cpu, what } = request;
        self.kernel.at(ns, cpu);
        self.witness().line = line;
        self.poll();
        match what {
            What::Attach(attach) => self.attach(&attach),
            What::Leave(device) => self.block(device),
            What::Free(domain) => self.free(domain),
            What::Map(wanted) => self.map(wanted),
            What::Unmap(number) => self.unmap(number),
        }
        self.settle();
    }

    fn witness(&self) -> std::cell::RefMut<'k, Witness<'k>> {
        self.kernel.witness.borrow_mut()
    }

    fn mismatch(&self, what: impl FnOnce() -> String) {
        self.witness().mismatch(what);
    }

    fn map(&mut self, wanted: Wanted) {
        let number = self.maps;
        self.maps += 1;
        let Wanted { domain, device, direction, is_coherent, pieces } = wanted;
        let place = self.places.get(&device.sbdf()).filter(|(home, _)| *home == domain);
        let (Some((_, attached)), Some(context)) = (place, self.context(domain)) else {
            self.oddities += 1;
            return;
        };
        self.share(device, attached);
        let calls = self.witness().counts.translations;
        let memory = Memory { pieces };
        let held = if is_coherent {
            attached.coherent(memory)
        } else {
            attached.map(memory, api_direction(direction))
        };
        let held = match held {
            Ok(held) => held,
            Err(failed) => {
                self.mismatch(|| format!("map for {device}: {failed}"));
                return;
            }
        };
        let was_found = self.witness().counts.translations == calls;
        self.reuse_hits += u64::from(was_found);
        self.settle();
        let stretches = stretches(&held.memory().pieces, held.segments().into_iter());
        let Some(stretches) = stretches else {
            self.mismatch(|| format!("map for {device}: it is told other bytes than there are"));
            return;
        };
        let bus = bus_frames(&stretches);
        let Some(name) = bus.and_then(|bus| self.ranges.used(context, bus)) else {
            self.mismatch(|| format!("map for {device}: {bus:x?} is in use"));
            return;
        };
        let access = access(direction);
        let mapped = Mapped { held, domain, device, name, access, stretches };
        self.try_new(&mapped);
        self.open.insert(number, mapped);
    }

    fn unmap(&mut self, number: usize) {
        let Some(mapped) = self.open.remove(&number) else {
            self.oddities += 1;
            return;
        };
        self.dma_unmaps += 1;
        self.try_old(&mapped);
        let Mapped { held, domain, device, name, .. } = mapped;
        let pieces = held.memory().pieces.clone();
        let left = match held.unmap() {
            Ok(left) => left,
            Err(error) => {
                self.mismatch(|| format!("unmap for {device}: {error}"));
                return;
            }
        };
        self.ranges.left(&name);
        self.settle();
        let returned = match left {
            Left::Safe(memory) => {
                if !self.ranges.is_gone(&name) {
                    self.mismatch(|| {
                        format!("unmap for {device}: {:x?} is still mapped", name.bus)
                    });
                }
                memory
            }
            Left::Exposed(memory) => memory,
            Left::Waits(pending) => {
                let since_us = pviommu_guest::dma::Kernel::now_us(&self.kernel);
                if let Some(domain) = self.domains.get_mut(&domain) {
                    domain.pending.push_back(Waiting { pending, name, since_us });
                }
                return;
            }
        };
        if returned.pieces != pieces {
            self.mismatch(|| format!("unmap for {device}: another buffer came back"));
        }
    }

    /// Has all made that waits, and counts.
    pub(super) fn count(&mut self, sum: &mut Summary) {
        for domain in self.numbers() {
            if let Some(home) = self.domains.get(&domain)
                && let Err(error) = home.space.flush()
            {
                self.mismatch(|| format!("flush domain {domain}: {error}"));
            }
        }
        self.settle();
        let told: u64 = self.arena.devices.iter().map(Attached::hits).sum();
        if told != self.reuse_hits {
            let found = self.reuse_hits;
            self.mismatch(|| format!("{found} maps took no call, and the API tells of {told}"));
        }
        sum.reuse_hits = self.reuse_hits;
        sum.dma_maps = self.maps as u64;
        sum.dma_unmaps = self.dma_unmaps;
        sum.oddities += self.oddities;
    }

    /// Frees all domains that are left, whatever is mapped there.
    pub(super) fn finish(mut self) {
        for domain in self.numbers() {
            self.free(domain);
        }
    }

    fn context(&self, domain: DomainId) -> Option<u64> {
        self.domains.get(&domain).map(|domain| domain.context)
    }
}

fn api_direction(direction: DmaDirection) -> pviommu_guest::dma::Direction {
    use pviommu_guest::dma::Direction;
    match direction {
        DmaDirection::ToDevice => Direction::ToDevice,
        DmaDirection::FromDevice => Direction::FromDevice,
        DmaDirection::Both => Direction::Both,
    }
}

/// What a device may do with a buffer.
fn access(direction: DmaDirection) -> Access {
    match direction {
        DmaDirection::ToDevice => Access::READ,
        DmaDirection::FromDevice => Access::WRITE,
        DmaDirection::Both => Access::READ | Access::WRITE,
    }
}
