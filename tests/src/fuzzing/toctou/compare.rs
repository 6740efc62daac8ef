//! The ledger compared with what there is: references, tables, and where devices land.

use std::collections::HashMap;

use pviommu_abi::{Bfn, ContextId, DomId};
use pviommu_hypervisor::{DumpLine, addr::Mfn, format::Origin, operator::Shown, platform::Access};

use super::{
    effect::Place,
    ledger::{Context, Leaf, Ledger},
};
use crate::{
    fuzzing::world::{DEVICES, reserved},
    machine::{Bed, Direction, Reach},
};

impl Ledger {
    /// References are held by what is mapped, and by nothing else; devices reach it, and nothing else.
    pub(super) fn check(&mut self, bed: &Bed<'_>) {
        let waits = |domain: DomId| bed.domain(domain).stats().deferred_pages > 0;
        self.waiting.retain(|(place, ..)| waits(place.domain));
        // By frame: at least, and at most.
        let mut held: HashMap<Mfn, (u32, u32)> = HashMap::new();
        for context in self.contexts.values() {
            match context {
                Context::Clear(map) => map.values().filter(|leaf| leaf.held).for_each(|leaf| {
                    let (least, most) = held.entry(leaf.frame).or_default();
                    (*least, *most) = (*least + 1, *most + 1);
                }),
                Context::Unclear(frames) => {
                    frames.iter().for_each(|frame| held.entry(*frame).or_default().1 += 1);
                }
            }
        }
        for frame in self.waiting.iter().filter_map(|(.., frame)| *frame) {
            held.entry(frame).or_default().1 += 1;
        }
        let (mut least, mut most) = (0, 0);
        for (frame, (at_least, at_most)) in &held {
            let references = bed.board().memory().frames.info(*frame).map(|info| info.references);
            let is_right = references.is_some_and(|it| (*at_least..=*at_most).contains(&it));
            assert!(is_right, "{frame:?}: {references:?}, not {at_least} to {at_most} (INV-21)");
            (least, most) = (least + u64::from(*at_least), most + u64::from(*at_most));
        }
        let live = bed.counters().references_live;
        assert!(
            (least..=most).contains(&live),
            "{live} references, not {least} to {most} (INV-21)"
        );
        self.try_samples(bed);
    }

    fn try_samples(&mut self, bed: &Bed<'_>) {
        for (place, bfn) in std::mem::take(&mut self.samples) {
            let stale = self.waiting.iter().any(|(of, at, _)| (*of, *at) == (place, bfn));
            let Some(Context::Clear(map)) = self.contexts.get(&place) else { continue };
            let leaf = map.get(&bfn).copied();
            let Some(address) = bfn.checked_mul(4096) else { continue };
            if stale || leaf.is_some_and(|leaf| !leaf.visible) {
                continue;
            }
            let reads = leaf.is_none_or(|leaf| leaf.access.contains(Access::READ));
            let way = if reads { Direction::Read } else { Direction::Write };
            for device in self.inside(bed, place) {
                let hit = bed.dma_probe(DEVICES[device], address, way);
                let frame = hit.ok().filter(|hit| hit.reach != Reach::Scratch).map(|hit| hit.frame);
                let is_direct = leaf.is_none() && reserved(DEVICES[device], Bfn(bfn));
                let right = frame == leaf.map(|leaf| leaf.frame) || is_direct;
                assert!(right, "{bfn:#x} of {place:?} leads to {hit:?}, not {leaf:?}");
            }
        }
    }

    /// What the tables hold is what must be mapped, to the page.
    pub(super) fn check_tables(&self, bed: &Bed<'_>) {
        for (place, context) in &self.contexts {
            let Context::Clear(map) = context else { continue };
            let mut rest = map.iter();
            for line in lines(bed, *place) {
                let Shown::Pages { first, access, origin: Origin::Guest, .. } = line.shown else {
                    continue;
                };
                for page in 0..line.bfns.pages() {
                    let at = line.bfns.first().0 + page;
                    let frame = Mfn(first.0 + page);
                    let is_it = |(bfn, leaf): &(&u64, &Leaf)| {
                        // Registers permit what their owner may, at most.
                        let permits = leaf.access == access || !leaf.held;
                        **bfn == at && leaf.frame == frame && permits
                    };
                    let next = rest.next();
                    assert!(
                        next.as_ref().is_some_and(is_it),
                        "{at:#x} of {place:?}: {line}, not {next:x?}"
                    );
                }
            }
            assert_eq!(rest.next(), None, "of {place:?} this is not in the table");
        }
    }
}

/// What the tables of a context hold.
fn lines(bed: &Bed<'_>, place: Place) -> Vec<DumpLine> {
    let mut all = Vec::new();
    let mut from = Some(Bfn(0));
    while let Some(at) = from {
        let mut lines = [DumpLine::EMPTY; 64];
        let (domain, cpu) = (bed.domain(place.domain), bed.own_cpu());
        let dumped = bed.iommu().dump(domain, cpu, ContextId(place.context), at, &mut lines);
        let dumped = dumped.unwrap_or_else(|| unreachable!("{place:?} is gone"));
        all.extend(lines.into_iter().take(dumped.lines));
        from = dumped.next;
    }
    all
}
