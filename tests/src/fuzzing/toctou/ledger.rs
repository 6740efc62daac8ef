//! What must be mapped, by what the service read and told: nothing else may be.

use std::collections::BTreeMap;

use pviommu_abi::{Bfn, DomId, Gfn, OwnershipMode, PciDevice};
use pviommu_hypervisor::{Outcome, addr::Mfn, platform::Access};

use super::effect::{Effect, Entry, Pages, Place};
use crate::{
    fuzzing::world::{DEVICES, DOMAINS, MMIO, reserved},
    machine::Bed,
};

/// One page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leaf {
    pub(super) frame: Mfn,
    pub(super) access: Access,
    /// It is memory, so it holds a reference.
    pub(super) held: bool,
    /// Devices see it; else after a flush only.
    pub(super) visible: bool,
}

/// A context.
#[derive(Debug)]
pub(super) enum Context {
    Clear(BTreeMap<u64, Leaf>),
    /// A call that works on all of it is not done, or nobody can tell what one did: these frames may be held.
    Unclear(Vec<Mfn>),
}

impl Context {
    fn blur(&mut self) {
        if let Self::Clear(map) = self {
            let held = map.values().filter(|leaf| leaf.held).map(|leaf| leaf.frame);
            *self = Self::Unclear(held.collect());
        }
    }
}

/// A grant that a guest may map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) granter: DomId,
    pub(super) reference: u64,
    pub(super) gfn: Gfn,
}

/// Everything that is mapped.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) contexts: BTreeMap<Place, Context>,
    /// The context of each device, if it is known.
    devices: [Option<u16>; DEVICES.len()],
    /// Unmapped, to be flushed later: a device may reach it, and its page is held.
    pub(super) waiting: Vec<(Place, u64, Option<Mfn>)>,
    grants: Vec<Grant>,
    /// Bus frames to be tried by devices.
    pub(super) samples: Vec<(Place, u64)>,
}

impl Ledger {
    pub(super) fn new(grants: Vec<Grant>) -> Self {
        Self { devices: [Some(0); DEVICES.len()], grants, ..Self::default() }
    }

    /// A context is there from the start, and so are devices in it.
    pub(super) fn begin(&mut self, place: Place, devices: &[usize]) {
        self.contexts.insert(place, Context::Clear(BTreeMap::new()));
        devices.iter().for_each(|device| self.devices[*device] = Some(place.context));
    }

    /// An entry has had this effect.
    pub(super) fn apply(&mut self, bed: &Bed<'_>, entry: &Entry, effect: Effect) {
        match effect {
            Effect::Mapped { place, first, of, access, later } => {
                self.mapped(bed, entry, (place, first), &of, (access, !later));
            }
            Effect::Unmapped { place, first, pages, holes, later } => {
                self.unmapped((place, first.0, pages), holes, later);
            }
            Effect::Unclear { place, of } => self.unclear(bed, place, &of),
            Effect::Opened(place) => {
                let before = self.contexts.insert(place, Context::Clear(BTreeMap::new()));
                let was_free = !matches!(before, Some(Context::Clear(_)));
                assert!(was_free, "{place:?} was allocated, and is in use");
            }
            Effect::Freed { place, moves } => self.freed(bed, entry, place, moves),
            Effect::Moved { place, device } => self.moved(bed, entry, place, device),
            Effect::Switched { domain, mode } => {
                self.switched(entry, Place { domain, context: 0 }, mode);
            }
        }
    }

    fn context(&mut self, place: Place) -> &mut Context {
        let context = self.contexts.get_mut(&place);
        context.unwrap_or_else(|| {
            unreachable!("{place:?} was edited, which is none of the guest's (INV-70)")
        })
    }

    /// The devices that are in a context for certain.
    pub(super) fn inside(&self, bed: &Bed<'_>, place: Place) -> Vec<usize> {
        let is_inside = |index: &usize| {
            let owner = bed.board().device_owner(DEVICES[*index]);
            owner == Some(place.domain) && self.devices[*index] == Some(place.context)
        };
        (0..DEVICES.len()).filter(is_inside).collect()
    }

    fn mapped(
        &mut self,
        bed: &Bed<'_>,
        entry: &Entry,
        (place, first): (Place, Bfn),
        of: &Pages,
        (access, visible): (Access, bool),
    ) {
        let frame = |owner: DomId, gfn: u64| {
            frame_of(bed, owner, gfn).map(|(frame, held)| Leaf { frame, access, held, visible })
        };
        let leaves: Vec<_> = match of {
            Pages::Guest { owner, gfns } => {
                let may = *owner == place.domain || entry.caller == DOMAINS[0];
                assert!(may, "pages of {owner:?} are mapped in {place:?} for {:?}", entry.caller);
                gfns.iter().map(|gfn| frame(*owner, *gfn)).collect()
            }
            Pages::Grant { granter, reference } => {
                let is_it = |it: &&Grant| (it.granter, it.reference) == (*granter, *reference);
                let grant = self.grants.iter().find(is_it);
                vec![grant.and_then(|grant| frame(grant.granter, grant.gfn.0))]
            }
        };
        let inside = self.inside(bed, place);
        let last = leaves.len() as u64 - 1;
        for page in [0, last / 2, last] {
            self.samples.push((place, first.0 + page));
        }
        let context = self.context(place);
        for (bfn, leaf) in (first.0..).zip(leaves) {
            let leaf =
                leaf.unwrap_or_else(|| unreachable!("{bfn:#x} is mapped to no page: {of:x?}"));
            let is_free = inside.iter().all(|device| !reserved(DEVICES[*device], Bfn(bfn)));
            assert!(is_free, "{bfn:#x} is reserved, and mapped (INV-30)");
            match context {
                Context::Clear(map) => {
                    let before = map.insert(bfn, leaf);
                    assert_eq!(before, None, "{bfn:#x} of {place:?} is mapped twice");
                }
                Context::Unclear(held) => held.extend(leaf.held.then_some(leaf.frame)),
            }
        }
    }

    /// Some pages were mapped, all of them among these.
    fn unclear(&mut self, bed: &Bed<'_>, place: Place, of: &Pages) {
        let context = self.context(place);
        context.blur();
        if let (Context::Unclear(held), Pages::Guest { owner, gfns }) = (context, of) {
            let frames = gfns.iter().filter_map(|gfn| frame_of(bed, *owner, *gfn));
            held.extend(frames.filter_map(|(frame, is_held)| is_held.then_some(frame)));
        }
    }

    fn unmapped(&mut self, (place, first, pages): (Place, u64, u64), holes: bool, later: bool) {
        let Context::Clear(map) = self.context(place) else { return };
        let mut rest = map.split_off(&first);
        let mut behind = rest.split_off(&first.saturating_add(pages));
        map.append(&mut behind);
        let gone = rest.len() as u64;
        assert!(holes || gone == pages, "{gone} of {pages} pages from {first:#x} on were mapped");
        let last = pages.saturating_sub(1);
        for page in [0, last / 2, last] {
            self.samples.push((place, first + page));
        }
        if later {
            let waits = |(bfn, leaf): (u64, Leaf)| (place, bfn, leaf.held.then_some(leaf.frame));
            self.waiting.extend(rest.into_iter().map(waits));
        }
    }

    fn freed(&mut self, bed: &Bed<'_>, entry: &Entry, place: Place, moves: bool) {
        if place.context == 0 || !self.contexts.contains_key(&place) {
            assert!(!entry.succeeded(), "{place:?} was freed, which is not there");
            return;
        }
        let inside = self.inside(bed, place);
        let to = match entry.outcome {
            Outcome::Done(0) => {
                assert!(moves || inside.is_empty(), "{place:?} was freed with devices (INV-45)");
                self.contexts.remove(&place);
                self.waiting.retain(|(of, ..)| *of != place);
                Some(0)
            }
            Outcome::Continue => {
                self.context(place).blur();
                None
            }
            Outcome::Done(_) => None,
        };
        if moves {
            inside.into_iter().for_each(|device| self.devices[device] = to);
        }
    }

    fn moved(&mut self, bed: &Bed<'_>, entry: &Entry, place: Place, device: PciDevice) {
        let Some(index) = DEVICES.iter().position(|known| *known == device) else {
            assert!(!entry.succeeded(), "{device:?} was moved, which is not there");
            return;
        };
        match entry.outcome {
            Outcome::Done(0) => {
                let owner = bed.board().device_owner(device);
                assert_eq!(owner, Some(place.domain), "{device:?} was moved by another");
                let exists = place.context == 0 || self.contexts.contains_key(&place);
                assert!(exists, "{device:?} was moved into {place:?}, which is not there");
                self.devices[index] = Some(place.context);
                if let Some(Context::Clear(map)) = self.contexts.get(&place) {
                    let free = map.keys().all(|bfn| !reserved(device, Bfn(*bfn)));
                    assert!(free, "{device:?} is where its ranges are mapped (INV-30)");
                }
            }
            Outcome::Continue => self.devices[index] = None,
            Outcome::Done(_) => {}
        }
    }

    fn switched(&mut self, entry: &Entry, place: Place, mode: OwnershipMode) {
        let fresh = || Context::Clear(BTreeMap::new());
        match entry.outcome {
            Outcome::Done(0) if mode == OwnershipMode::GIVE_BACK => {
                self.contexts.remove(&place);
                self.waiting.retain(|(of, ..)| *of != place);
            }
            Outcome::Done(0) => {
                self.contexts.entry(place).or_insert_with(fresh);
            }
            Outcome::Continue => self.contexts.entry(place).or_insert_with(fresh).blur(),
            Outcome::Done(_) => {}
        }
    }
}

/// The frame behind a guest frame, and whether it is memory, which mappings hold.
fn frame_of(bed: &Bed<'_>, owner: DomId, gfn: u64) -> Option<(Mfn, bool)> {
    let held = !(MMIO..MMIO + 8).contains(&gfn);
    Some((bed.board().machine_frame(owner, Gfn(gfn))?, held))
}
