//! After a failure: finds out, page by page, whether what was asked for came true. Each page is as it
//! was or as it was to be, and nothing else has changed.

use std::collections::{BTreeMap, BTreeSet};

use pviommu_hypervisor::addr::Mfn;

use super::super::{
    check::ALWAYS,
    edits::Target,
    run::Run,
    world::{Device, Hold, Mapping, Space, World, bounds, contains},
};
use crate::{machine::FrameKind, vm::both};

/// Pages that the largest leaf which a failure may cost has here.
const LEAF: u64 = 0x200;

/// What a failure may cost besides that things are not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    Nothing,
    /// Large leaves that a page was to be taken out of.
    Leaves,
    /// Pages of a map that is made of what there is.
    Pages,
}

impl Run<'_> {
    /// True if the machine agrees with the model about a bus frame.
    fn agrees(&self, dom: usize, ctx: u16, bfn: u64) -> bool {
        let (found, expected) = self.looked_up(dom, ctx, bfn);
        found == expected
            && (0..self.world.devices.len()).all(|device| {
                let its = &self.world.devices[device];
                let here = (its.owner, its.context) == (Some(dom), Some(ctx));
                !here || self.is_unknown(device) || self.lands(device, bfn, &self.world)
            })
    }

    /// True if DMA of `device` lands where `world` says.
    fn lands(&self, device: usize, bfn: u64, world: &World) -> bool {
        self.is_trusted_and_gone(device, bfn)
            || both(self.bed, world.devices[device].function, bfn) == world.expected(device, bfn)
    }

    /// Every device is where it was before, or where it goes. What another device has reserved comes to
    /// a table with that device, and not sooner.
    pub(super) fn check_between(&self, before: &World) {
        for device in (0..self.world.devices.len()).filter(|device| !self.is_unknown(*device)) {
            for bfn in self.touched.iter().chain(&ALWAYS) {
                let reserved =
                    |it: &Device| it.reserved.iter().any(|it| contains(bounds(it), *bfn));
                let own = reserved(&self.world.devices[device]);
                if !own && self.world.devices.iter().any(reserved) {
                    continue;
                }
                let either =
                    self.lands(device, *bfn, before) || self.lands(device, *bfn, &self.world);
                assert!(either, "device {device}, bfn {bfn:#x}: in neither of its contexts");
            }
        }
    }

    /// The model is as if nothing had failed; makes each page what it is.
    pub(super) fn learn(&mut self, before: &World, lost: Lost) {
        for dom in 0..self.world.domains.len() {
            if self.world.domains[dom].unknown {
                continue;
            }
            let contexts: Vec<u16> = self.world.domains[dom].spaces.keys().copied().collect();
            for ctx in contexts {
                let Some(old) = before.space(dom, ctx) else { continue };
                for bfn in self.differences((dom, ctx), before, lost) {
                    self.learn_page((dom, ctx, bfn), old, lost);
                }
            }
        }
    }

    /// Bus frames that may be one thing or the other.
    fn differences(&self, (dom, ctx): (usize, u16), before: &World, lost: Lost) -> BTreeSet<u64> {
        let spaces = [before, &self.world].map(|world| world.space(dom, ctx).unwrap());
        let keys = spaces.iter().flat_map(|space| space.maps.keys().copied());
        let get = |space: &Space, bfn| space.get(&self.world.ram, bfn);
        let differs = keys.filter(|bfn| get(spaces[0], *bfn) != get(spaces[1], *bfn));
        let leaves: BTreeSet<u64> = match lost {
            Lost::Nothing => return differs.collect(),
            Lost::Leaves => differs.map(|bfn| bfn / LEAF * LEAF).collect(),
            Lost::Pages => return spaces[1].maps.keys().copied().collect(),
        };
        let all = leaves.into_iter().flat_map(|first| first..first + LEAF);
        all.filter(|bfn| spaces.iter().any(|space| get(space, *bfn).is_some())).collect()
    }

    fn learn_page(&mut self, (dom, ctx, bfn): (usize, u16, u64), old: &Space, lost: Lost) {
        if self.agrees(dom, ctx, bfn) {
            return;
        }
        self.set(dom, ctx, bfn, old.maps.get(&bfn).copied());
        if self.agrees(dom, ctx, bfn) {
            return;
        }
        let nothing = self.world.space(dom, ctx).unwrap().host.then_some(None);
        self.set(dom, ctx, bfn, nothing);
        let neither = "a page is neither as it was nor as it was to be";
        let may = lost != Lost::Nothing;
        assert!(may && self.agrees(dom, ctx, bfn), "{neither}: {dom} {ctx} {bfn:#x}");
    }

    /// What was left of an initial map where a device that could not come has its ranges: it was taken out
    /// before the device was to come, and does not come back.
    pub(super) fn learn_ranges(&mut self, dom: usize, ctx: u16, device: usize) {
        let ranges: Vec<_> = self.world.devices[device].reserved.iter().map(bounds).collect();
        for bfn in ranges.into_iter().flat_map(|(first, last)| first..=last) {
            let Some(space) = self.world.space(dom, ctx) else { return };
            let there = space.get(&self.world.ram, bfn);
            let initial = there.is_some_and(|it| it.origin == pviommu_abi::Origin::INITIAL);
            let host = space.host;
            if initial && !self.agrees(dom, ctx, bfn) {
                self.set(dom, ctx, bfn, host.then_some(None));
                assert!(self.agrees(dom, ctx, bfn), "neither the map nor nothing: {bfn:#x}");
            }
        }
    }

    fn set(&mut self, dom: usize, ctx: u16, bfn: u64, entry: Option<Option<Mapping>>) {
        let maps = &mut self.world.domains[dom].spaces.get_mut(&ctx).unwrap().maps;
        match entry {
            Some(entry) => maps.insert(bfn, entry),
            None => maps.remove(&bfn),
        };
    }

    /// An edit goes on from its first page: what it got done comes first, and is as much as it says.
    pub(super) fn check_prefix(
        &self,
        at: Target,
        before: &World,
        done: Option<i64>,
        after: &World,
    ) {
        let Target { dom, ctx, bfn, pages } = at;
        let [old, now, new] = [before, &self.world, after].map(|world| world.space(dom, ctx));
        let (Some(old), Some(now), Some(new)) = (old, now, new) else { return };
        let mut stopped = false;
        for i in 0..u64::from(pages) {
            let get = |space: &Space| space.get(&self.world.ram, bfn + i);
            if get(old) == get(new) {
                continue;
            }
            let is_done = get(now) == get(new);
            assert!(!(stopped && is_done), "page {i} is done, and one before it is not");
            stopped |= !is_done;
            if let Some(done) = done {
                assert_eq!(is_done, i64::try_from(i).unwrap() < done, "page {i}, {done} done");
            }
        }
    }

    /// Counts afresh who holds what. How many references are held that no mapping accounts for.
    pub(super) fn recount(&mut self) -> u64 {
        let mut held: BTreeMap<u64, u32> = BTreeMap::new();
        let mut pins = vec![0; self.world.shares.len()];
        for space in self.world.domains.iter().flat_map(|domain| domain.spaces.values()) {
            for mapping in space.maps.values().flatten() {
                if let Hold::Share(share) = mapping.hold {
                    pins[share] += 1;
                }
                if mapping.hold != Hold::Nothing {
                    *held.entry(mapping.frame).or_default() += 1;
                }
            }
        }
        for frame in held.keys() {
            self.world.frames.entry(*frame).or_default();
        }
        let mut more = 0;
        let frames = &self.bed.board().memory().frames;
        for (frame, kept) in &mut self.world.frames {
            let model = held.get(frame).copied().unwrap_or(0);
            let Some(info) = frames.info(Mfn(*frame)) else { continue };
            assert!(info.references >= model, "a reference to frame {frame:#x} is lost");
            more += u64::from(info.references - model);
            kept.references = info.references;
            // A page that may be reached still is not given up.
            kept.left &= info.leaving || info.kind == FrameKind::Free;
        }
        for (share, model) in pins.into_iter().enumerate() {
            let actual = self.pins(share);
            assert!(actual.is_none_or(|actual| actual >= model), "a pin of share {share} is lost");
            self.world.shares[share].pins = actual.unwrap_or(model);
        }
        more
    }

    /// How often a grant or a foreign mapping is pinned, as the machine has it.
    fn pins(&self, share: usize) -> Option<u32> {
        let its = &self.world.shares[share];
        if its.ended {
            return None;
        }
        let board = self.bed.board();
        if let Some(grant) = its.grant {
            return Some(board.grant_pins(self.id(its.owner), grant.reference));
        }
        self.world.domains.iter().find_map(|domain| {
            let mut pages = domain.p2m.iter().filter(|(_, page)| page.share == Some(share));
            pages.next().map(|(gfn, _)| board.foreign_pins(domain.id, pviommu_abi::Gfn(gfn)))
        })
    }
}
