//! What must be where: the reference model. It knows of no table, no flush and no tag.

use std::collections::BTreeMap;

use pviommu_abi::{DomId, Errno, Origin, PciDevice};
use pviommu_hypervisor::{
    DefaultMap, Reserved, ReservedKind, Role,
    platform::{Access, UnitId},
};

use super::p2m::P2m;
use crate::{machine::UnitKind, vm::Found};

/// What keeps a frame for a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    Nothing,
    /// A reference.
    Page,
    /// A grant or a foreign mapping.
    Share(usize),
}

/// What a bus frame is mapped to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mapping {
    pub(super) frame: u64,
    pub(super) access: Access,
    pub(super) origin: Origin,
    pub(super) hold: Hold,
    pub(super) mmio: bool,
}

/// A context.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub(super) background: Found,
    pub(super) aperture: (u64, u64),
    /// What was mapped, or was unmapped although the host map has it.
    pub(super) maps: BTreeMap<u64, Option<Mapping>>,
    /// All memory of the machine is there, where `maps` does not say otherwise.
    pub(super) host: bool,
    /// What devices here have reserved, and how many of them.
    pub(super) reserved: Vec<(Reserved, u32)>,
    /// Bus frames that are not memory.
    pub(super) holes: &'static [(u64, u64)],
    /// A unit that serves it has failed: nothing here is changed any more.
    pub(super) frozen: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Domain {
    pub(super) id: DomId,
    pub(super) role: Role,
    pub(super) default: DefaultMap,
    pub(super) may_have_direct: bool,
    pub(super) owned: bool,
    pub(super) dead: bool,
    pub(super) spaces: BTreeMap<u16, Space>,
    pub(super) p2m: P2m,
    /// A unit failed in the middle of a move of its devices or tables: what it has is not known.
    pub(super) unknown: bool,
    /// Pages of others that are held for ever.
    pub(super) leaked_foreign: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) function: PciDevice,
    pub(super) unit: UnitId,
    pub(super) reserved: Vec<Reserved>,
    pub(super) owner: Option<usize>,
    /// `None`: in no context of its owner's.
    pub(super) context: Option<u16>,
    /// Its unit would not put it into quarantine: it may do nothing at all.
    pub(super) blocked: bool,
    /// Its unit has failed: where it is, is not known.
    pub(super) unknown: bool,
}

/// A grant, or a foreign mapping.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) owner: usize,
    pub(super) read_only: bool,
    pub(super) closed: bool,
    pub(super) ended: bool,
    pub(super) pins: u32,
    /// Of a foreign mapping, and of a grant that is pinned.
    pub(super) frame: Option<u64>,
    pub(super) grant: Option<Grant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) gfn: u64,
    pub(super) to: usize,
    pub(super) reference: u64,
}

/// Who keeps a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) references: u32,
    /// P2Ms of others.
    pub(super) holds: u32,
    /// Its owner gave it up.
    pub(super) left: bool,
}

impl Kept {
    pub(super) fn is_free(self) -> bool {
        self.left && self.references == 0 && self.holds == 0
    }
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) top: u64,
    /// Memory of the machine, as a host map has it.
    pub(super) ram: Vec<(u64, u64)>,
    pub(super) background: Found,
    pub(super) quarantine: Option<Found>,
    pub(super) holes: &'static [(u64, u64)],
    pub(super) domains: Vec<Domain>,
    pub(super) devices: Vec<Device>,
    pub(super) shares: Vec<Share>,
    pub(super) grants: Vec<usize>,
    pub(super) frames: BTreeMap<u64, Kept>,
}

/// The interrupt window, which is nobody's.
const WINDOW: (u64, u64) = (0xfee00, 0xfeeff);
/// Where HyperTransport has other things than memory, behind AMD's units.
const HYPERTRANSPORT: (u64, u64) = (0xfd0_0000, 0xfff_ffff);

/// The bus frames that are not memory, whatever is mapped.
pub(super) const fn holes(unit: UnitKind) -> &'static [(u64, u64)] {
    match unit {
        UnitKind::Vtd => &[WINDOW],
        UnitKind::AmdVi => &[WINDOW, HYPERTRANSPORT],
    }
}

pub(super) fn contains((first, last): (u64, u64), bfn: u64) -> bool {
    first <= bfn && bfn <= last
}

pub(super) fn bounds(reserved: &Reserved) -> (u64, u64) {
    (reserved.range.first().0, reserved.range.last().0)
}

impl Space {
    pub(super) fn get(&self, ram: &[(u64, u64)], bfn: u64) -> Option<Mapping> {
        let (access, origin) = (Access::all(), Origin::INITIAL);
        let initial = Mapping { frame: bfn, access, origin, hold: Hold::Nothing, mmio: false };
        let host = || {
            let there = self.host && ram.iter().any(|range| contains(*range, bfn));
            there.then_some(initial)
        };
        self.maps.get(&bfn).copied().unwrap_or_else(host)
    }

    /// Pages of others that are mapped.
    pub(super) fn foreign(&self) -> usize {
        let mappings = self.maps.values().flatten();
        mappings.filter(|it| matches!(it.hold, Hold::Share(_))).count()
    }

    /// The reserved range that a bus frame is in.
    pub(super) fn reserved_at(&self, bfn: u64) -> Option<Reserved> {
        let mut all = self.reserved.iter().filter(|(it, _)| contains(bounds(it), bfn));
        all.next().map(|(reserved, _)| *reserved)
    }

    pub(super) fn is_reserved(&self, bfn: u64) -> bool {
        self.holes.iter().any(|it| contains(*it, bfn)) || self.reserved_at(bfn).is_some()
    }

    /// Checks a range that the guest wants to edit.
    pub(super) fn editable(&self, bfn: u64, pages: u32) -> Result<(), Errno> {
        let last = bfn + u64::from(pages) - 1;
        if bfn < self.aperture.0 || last > self.aperture.1 {
            return Err(Errno::EINVAL);
        }
        let meets = (bfn..=last).any(|bfn| self.is_reserved(bfn));
        if meets { Err(Errno::EADDRNOTAVAIL) } else { Ok(()) }
    }
}

/// What a device finds, by the right it has there.
pub(super) fn found(access: Access, frame: u64) -> [Found; 2] {
    [Access::READ, Access::WRITE].map(|way| {
        let at = Found::At(pviommu_hypervisor::addr::Mfn(frame));
        if access.contains(way) { at } else { Found::Fault }
    })
}

/// What it finds at a bus frame of a reserved range.
pub(super) fn found_reserved(reserved: &Reserved, bfn: u64) -> [Found; 2] {
    match reserved.kind {
        ReservedKind::Direct => found(reserved.access, bfn),
        _ => [Found::Fault; 2],
    }
}

impl World {
    /// A context in which nothing is mapped.
    pub(super) fn empty(&self, background: Found, aperture: (u64, u64)) -> Space {
        let (maps, reserved) = (BTreeMap::new(), Vec::new());
        let holes = self.holes;
        Space { background, aperture, maps, host: false, reserved, holes, frozen: false }
    }

    /// Takes what `hold` says on `frame`.
    pub(super) fn hold(&mut self, frame: u64, hold: Hold) {
        if hold != Hold::Nothing {
            self.frames.entry(frame).or_default().references += 1;
        }
        if let Hold::Share(share) = hold {
            self.shares[share].pins += 1;
            self.shares[share].frame = Some(frame);
        }
    }

    /// A mapping is gone.
    pub(super) fn release(&mut self, mapping: Mapping) {
        if mapping.hold != Hold::Nothing {
            self.frames.get_mut(&mapping.frame).unwrap().references -= 1;
        }
        if let Hold::Share(share) = mapping.hold {
            self.shares[share].pins -= 1;
        }
    }

    pub(super) fn space(&self, dom: usize, ctx: u16) -> Option<&Space> {
        self.domains[dom].spaces.get(&ctx)
    }

    pub(super) fn get(&self, dom: usize, ctx: u16, bfn: u64) -> Option<Mapping> {
        self.space(dom, ctx)?.get(&self.ram, bfn)
    }

    /// Puts a mapping, or none, in the place of what is there.
    pub(super) fn put(&mut self, dom: usize, ctx: u16, bfn: u64, mapping: Option<Mapping>) {
        let before = self.get(dom, ctx, bfn);
        if let Some(new) = mapping {
            self.hold(new.frame, new.hold);
        }
        let space = self.domains[dom].spaces.get_mut(&ctx).unwrap();
        if mapping.is_none() && !space.host {
            space.maps.remove(&bfn);
        } else {
            space.maps.insert(bfn, mapping);
        }
        if let Some(before) = before {
            self.release(before);
        }
    }

    /// Takes a context down.
    pub(super) fn drop_space(&mut self, dom: usize, ctx: u16) {
        let space = self.domains[dom].spaces.remove(&ctx);
        for mapping in space.into_iter().flat_map(|space| space.maps.into_values()).flatten() {
            self.release(mapping);
        }
    }

    /// What `device` finds at a bus frame.
    pub(super) fn expected(&self, device: usize, bfn: u64) -> [Found; 2] {
        let device = &self.devices[device];
        let blocked = [Found::Fault; 2];
        let its_own = device.reserved.iter().find(|it| contains(bounds(it), bfn));
        let direct = device.reserved.iter().any(|it| it.kind == ReservedKind::Direct);
        if self.holes.iter().any(|it| contains(*it, bfn)) || device.blocked {
            return blocked;
        }
        let space = match (device.owner, device.context) {
            (Some(dom), Some(ctx)) => self.space(dom, ctx).unwrap(),
            (owner, _) => {
                let Some(background) = self.quarantine else { return blocked };
                let built = direct || (owner.is_none() && background == Found::Scratch);
                return match its_own {
                    _ if !built => blocked,
                    Some(reserved) => found_reserved(reserved, bfn),
                    None if bfn <= self.top => [background; 2],
                    None => blocked,
                };
            }
        };
        match (space.reserved_at(bfn), space.get(&self.ram, bfn)) {
            (Some(reserved), _) => found_reserved(&reserved, bfn),
            (None, Some(mapping)) => found(mapping.access, mapping.frame),
            (None, None) if contains(space.aperture, bfn) => [space.background; 2],
            (None, None) => blocked,
        }
    }
}
