//! What must be true after each step: where DMA lands, who holds what, what guests are told.

use pviommu_abi::{
    AccessFlags, ContextId, DomId, Errno, Gfn, LimitFlags, Lookup, LookupResult, Origin,
    QueryReserved, ReservedKind as WireKind, ReservedRange, Subop,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Reserved, ReservedKind, addr::Mfn, platform::Access};
use zerocopy::{FromZeros, IntoBytes};

use super::{
    run::{CONTEXTS, Run},
    world::{Hold, Mapping, Space, bounds, contains},
};
use crate::{
    machine::FrameKind,
    vm::{Found, both, err, limits, lookup, moves},
};

/// Bus frames that are looked at after every step.
pub(super) const ALWAYS: [u64; 6] = [0x7fff, 0x8000, 0x8002, 0x8003, 3, 0x2ff];

fn flags(access: Access) -> AccessFlags {
    let mut flags = AccessFlags::empty();
    flags.set(AccessFlags::READ, access.contains(Access::READ));
    flags.set(AccessFlags::WRITE, access.contains(Access::WRITE));
    flags
}

/// What a guest is told of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    origin: Origin,
    access: AccessFlags,
    foreign: bool,
    mmio: bool,
    /// The frame behind it, if it is known by a guest frame.
    frame: Option<u64>,
}

impl Default for Seen {
    fn default() -> Self {
        let (origin, access) = (Origin::INITIAL, AccessFlags::empty());
        Self { origin, access, foreign: false, mmio: false, frame: None }
    }
}

type Told = Result<Seen, i64>;

impl Run<'_> {
    pub(super) fn check(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.extend(ALWAYS);
        touched.sort_unstable();
        touched.dedup();
        for device in 0..self.world.devices.len() {
            for bfn in &touched {
                self.check_dma(device, *bfn);
            }
            let its = &self.world.devices[device];
            if self.world.quarantine.is_some() && !its.blocked && !its.unknown {
                self.bed.check_direct(self.world.devices[device].function);
            }
        }
        self.check_frames();
        for dom in 0..self.world.domains.len() {
            for ctx in 0..=CONTEXTS + 1 {
                self.check_answers(dom, ctx, &touched);
            }
        }
        assert_eq!(self.bed.violations(), []);
    }

    /// INV-03: also while removals wait for their flush, a device finds what is mapped.
    pub(super) fn check_mapped(&self, dom: usize, ctx: u16) {
        for bfn in self.touched.iter().filter(|bfn| self.world.get(dom, ctx, **bfn).is_some()) {
            for device in 0..self.world.devices.len() {
                self.check_dma(device, *bfn);
            }
        }
    }

    pub(super) fn check_dma(&self, device: usize, bfn: u64) {
        let (world, bed) = (&self.world, self.bed);
        let expected = world.expected(device, bfn);
        let function = world.devices[device].function;
        if self.is_trusted_and_gone(device, bfn) {
            return;
        }
        if self.is_unknown(device) {
            // The machine judges where that lands, but for what a host map may still lead to.
            let info = bed.board().memory().frames.info(Mfn(bfn));
            if info.is_some_and(|info| info.kind != FrameKind::Free) {
                let _ = both(bed, function, bfn);
            }
            return;
        }
        let found = both(bed, function, bfn);
        assert_eq!(found, expected, "device {device}, bfn {bfn:#x}");
        if let [Found::At(frame), Found::At(_)] = found
            && let Some((dom, gfn)) = self.whose(frame)
        {
            assert!(moves(bed, function, bfn, (dom, gfn)), "device {device}, bfn {bfn:#x}");
        }
    }

    /// A host map leads where nobody is any more, or never was: no device may be told to go there.
    pub(super) fn is_trusted_and_gone(&self, device: usize, bfn: u64) -> bool {
        let its = &self.world.devices[device];
        let (Some(dom), Some(ctx)) = (its.owner, its.context) else { return false };
        let mapping = self.world.get(dom, ctx, bfn);
        let trusted = |it: Mapping| (it.origin, it.hold) == (Origin::INITIAL, Hold::Nothing);
        mapping.is_some_and(trusted)
            && (self.world.kept(bfn).is_free()
                || self.bed.board().memory().frames.info(Mfn(bfn)).is_none())
    }

    /// The guest frame that is backed by a frame, if one is, by memory of its own.
    fn whose(&self, frame: Mfn) -> Option<(DomId, u64)> {
        self.world
            .domains
            .iter()
            .find_map(|domain| domain.p2m.gfn_of(frame.0).map(|gfn| (domain.id, gfn)))
    }

    /// True if the model does not know where a device is.
    pub(super) fn is_unknown(&self, device: usize) -> bool {
        let its = &self.world.devices[device];
        let frozen = |dom: usize, ctx| self.world.space(dom, ctx).is_some_and(|space| space.frozen);
        its.unknown
            || its.owner.is_some_and(|dom| {
                self.world.domains[dom].unknown || its.context.is_some_and(|ctx| frozen(dom, ctx))
            })
    }

    fn check_frames(&self) {
        if self.world.domains.iter().any(|domain| domain.unknown) {
            return self.check_no_frame_is_lost();
        }
        let (world, frames) = (&self.world, &self.bed.board().memory().frames);
        let mut references = 0;
        for (frame, kept) in &world.frames {
            references += u64::from(kept.references);
            let Some(info) = frames.info(Mfn(*frame)) else { continue };
            assert_eq!(info.references, kept.references, "frame {frame:#x}");
            assert_eq!(info.kind == FrameKind::Free, kept.is_free(), "frame {frame:#x}");
        }
        assert_eq!(self.bed.counters().references_live, references);
        let pinned = world.domains.iter().map(|it| self.bed.domain(it.id).stats().pinned_pages);
        assert_eq!(pinned.sum::<u64>(), references, "each is charged to a domain");
        for domain in &world.domains {
            let foreign: usize = domain.spaces.values().map(Space::foreign).sum();
            let told = self.bed.domain(domain.id).stats().foreign_pages;
            let foreign = u32::try_from(foreign).unwrap() + domain.leaked_foreign;
            assert_eq!(told, foreign, "{:?}", domain.id);
        }
        for share in &world.shares {
            if let Some(grant) = share.grant.filter(|_| !share.ended) {
                let granter = world.domains[share.owner].id;
                let pins = self.bed.board().grant_pins(granter, grant.reference);
                assert_eq!(pins, share.pins, "grant {}", grant.reference);
            }
        }
    }

    /// Of frames: where not all is known of who holds them, nobody who is known to hold one has lost it.
    fn check_no_frame_is_lost(&self) {
        let (world, frames) = (&self.world, &self.bed.board().memory().frames);
        for (frame, kept) in &world.frames {
            let Some(info) = frames.info(Mfn(*frame)) else { continue };
            assert!(info.references >= kept.references, "frame {frame:#x}");
            assert!(info.kind != FrameKind::Free || kept.references == 0, "frame {frame:#x}");
        }
    }

    fn check_answers(&self, dom: usize, ctx: u16, touched: &[u64]) {
        let (vm, id) = (self.vm(dom), ContextId(ctx));
        let domain = &self.world.domains[dom];
        let space = domain.spaces.get(&ctx);
        if domain.unknown && !domain.dead {
            return;
        }
        let told = limits(&vm, id);
        let nothing = if domain.dead { Errno::ENODEV } else { Errno::ENOENT };
        if domain.dead || (space.is_none() && ctx != 0) {
            assert_eq!(told.map(|_| ()), Err(err(nothing)));
            assert_eq!(lookup(&vm, id, 3).map(|_| ()), Err(err(nothing)));
            return;
        }
        let told = told.unwrap();
        assert_eq!(told.state.contains(LimitFlags::NEED_IOMMU), domain.default.need_iommu());
        assert_eq!(told.state.contains(LimitFlags::OWNED), domain.owned);
        let scratch = space.is_some_and(|space| space.background == Found::Scratch);
        assert_eq!(told.background == pviommu_abi::Background::SCRATCH, scratch);
        self.check_reserved(dom, ctx);
        for bfn in touched {
            self.check_lookup(dom, ctx, *bfn);
        }
    }

    fn check_lookup(&self, dom: usize, ctx: u16, bfn: u64) {
        let (found, expected) = self.looked_up(dom, ctx, bfn);
        assert_eq!(found, expected, "context {ctx}, bfn {bfn:#x}");
    }

    /// What a guest is told of a bus frame, and what it must be told.
    pub(super) fn looked_up(&self, dom: usize, ctx: u16, bfn: u64) -> (Told, Told) {
        let answer = lookup(&self.vm(dom), ContextId(ctx), bfn);
        let Some(space) = self.world.space(dom, ctx) else {
            return (answer.map(|_| Seen::default()), Err(err(Errno::ENOENT)));
        };
        let reserved = space.reserved_at(bfn);
        let direct = reserved.filter(|it| it.kind == ReservedKind::Direct);
        let page = space.get(&self.world.ram, bfn);
        let expected = match (direct, page) {
            _ if !contains(space.aperture, bfn) => Err(Errno::EINVAL),
            (Some(direct), _) => {
                let (origin, access) = (Origin::RESERVED, flags(direct.access));
                Ok(Seen { origin, access, ..Seen::default() })
            }
            (None, Some(it)) => {
                let (origin, access) = (it.origin, flags(it.access));
                let foreign = matches!(it.hold, Hold::Share(_));
                Ok(Seen { origin, access, foreign, mmio: it.mmio, frame: None })
            }
            (None, None) => Err(Errno::ENOENT),
        };
        // A page that the guest has is told by its guest frame.
        let pages = &self.world.domains[dom].p2m;
        let behind = |it: &Lookup| {
            let told = it.result.contains(LookupResult::GFN) && it.gfn != Gfn(u64::MAX);
            pages.get(it.gfn.0).filter(|_| told && reserved.is_none()).map(|page| page.frame)
        };
        let found = answer.map(|it| Seen {
            origin: it.origin,
            access: it.access,
            foreign: it.result.contains(LookupResult::FOREIGN),
            mmio: it.result.contains(LookupResult::MMIO),
            frame: behind(&it),
        });
        let frame = found.ok().and_then(|found| found.frame).and(page).map(|page| page.frame);
        (found, expected.map(|it| Seen { frame, ..it }).map_err(err))
    }

    /// What is told of the bus frames that are not memory.
    fn holes(&self) -> impl Iterator<Item = (u64, u64, WireKind)> {
        let kinds = [WireKind::MSI, WireKind::RESERVED];
        self.world.holes.iter().zip(kinds).map(|(&(first, last), kind)| (first, last, kind))
    }

    fn check_reserved(&self, dom: usize, ctx: u16) {
        let mut query =
            QueryReserved { ctx_id: u32::from(ctx), nr_entries: 8, ..QueryReserved::default() };
        let mut entries = [ReservedRange::new_zeroed(); 8];
        let vm = self.vm(dom);
        let room = Some(entries.as_mut_bytes());
        assert_eq!(vm.guest.iommu_op(Subop::QUERY_RESERVED, query.as_mut_bytes(), room), 0);
        let told = entries[..query.nr_entries as usize].iter();
        let told: Vec<_> = told.map(|it| (it.first.0, it.last.0, it.kind)).collect();
        let kind = |it: &Reserved| match it.kind {
            ReservedKind::Direct => WireKind::DIRECT,
            _ => WireKind::RESERVED,
        };
        let space = self.world.space(dom, ctx);
        let own = space.into_iter().flat_map(|space| &space.reserved);
        let own = own.map(|(it, _)| (bounds(it).0, bounds(it).1, kind(it)));
        let mut expected: Vec<_> = own.chain(self.holes()).collect();
        expected.sort_by_key(|(first, last, kind)| (*first, *last, kind.0));
        assert_eq!(told, expected, "context {ctx}");
    }
}
