//! By what right a device may be at a frame that no reference holds.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU32, Ordering},
};

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{
    DefaultMap,
    addr::{Mfn, MfnRange},
};

use super::{
    frames::{FrameInfo, FrameKind, Reach},
    memory::Memory,
    p2m::P2m,
};
use crate::iommu::{Origin, Soft, iotlb::Cached};

/// Owner word of a device that no domain has.
const NOBODY: u32 = u32::MAX;

/// By what right a translation leads where it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// A reference holds the page, or nothing has to.
    Held,
    /// The hypervisor maintains the mapping: the page is its domain's until it says otherwise.
    Maintained,
    /// The hardware domain is trusted with it (host map).
    Trusted,
    /// A direct range of a device.
    Direct,
}

impl Basis {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Held, Self::Maintained, Self::Trusted, Self::Direct];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

#[derive(Debug)]
struct DomainRule {
    id: DomId,
    p2m: Arc<P2m>,
    map: AtomicU8,
}

#[derive(Debug)]
struct DeviceRule {
    /// What its requests are known by, its own number first.
    sources: Vec<PciDevice>,
    direct: Vec<MfnRange>,
    owner: AtomicU32,
}

/// What the machine knows of domains and devices; nothing of a machine without any.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    domains: Vec<DomainRule>,
    devices: Vec<DeviceRule>,
    firmware: Vec<MfnRange>,
}

const fn code(map: DefaultMap) -> u8 {
    match map {
        DefaultMap::Blocked => 0,
        DefaultMap::Host => 1,
        DefaultMap::Guest => 2,
        DefaultMap::IdentityMfn => 3,
        DefaultMap::IdentityGfn => 4,
    }
}

impl Rules {
    pub(crate) fn add_domain(&mut self, id: DomId, p2m: Arc<P2m>) {
        let map = AtomicU8::new(code(DefaultMap::Blocked));
        self.domains.push(DomainRule { id, p2m, map });
    }

    pub(crate) fn add_device(&mut self, sources: Vec<PciDevice>, direct: Vec<MfnRange>) {
        self.devices.push(DeviceRule { sources, direct, owner: AtomicU32::new(NOBODY) });
    }

    pub(crate) fn add_firmware(&mut self, frames: MfnRange) {
        self.firmware.push(frames);
    }

    /// Tells which default map `domain` has from now on.
    pub(crate) fn set_default(&self, domain: DomId, map: DefaultMap) {
        if let Some(rule) = self.domain(domain) {
            rule.map.store(code(map), Ordering::Release);
        }
    }

    /// The default map of `domain`.
    pub(crate) fn default_map(&self, domain: DomId) -> DefaultMap {
        match self.domain(domain).map_or(0, |rule| rule.map.load(Ordering::Acquire)) {
            1 => DefaultMap::Host,
            2 => DefaultMap::Guest,
            3 => DefaultMap::IdentityMfn,
            4 => DefaultMap::IdentityGfn,
            _ => DefaultMap::Blocked,
        }
    }

    /// Tells whose `function` is.
    pub(crate) fn set_owner(&self, function: PciDevice, owner: Option<DomId>) {
        if let Some(device) = self.device(function) {
            device.owner.store(owner.map_or(NOBODY, |id| u32::from(id.0)), Ordering::Release);
        }
    }

    fn domain(&self, domain: DomId) -> Option<&DomainRule> {
        self.domains.iter().find(|rule| rule.id == domain)
    }

    fn device(&self, source: PciDevice) -> Option<&DeviceRule> {
        self.devices.iter().find(|device| device.sources.contains(&source))
    }

    /// The function that makes requests by the name of `source`.
    pub(crate) fn function_of(&self, source: PciDevice) -> PciDevice {
        self.device(source).and_then(|device| device.sources.first().copied()).unwrap_or(source)
    }

    /// By what right a device of `owner` uses a leaf that notes `soft`.
    pub(crate) fn basis(&self, soft: Soft, owner: Option<DomId>) -> Basis {
        let host = || owner.is_some_and(|id| self.default_map(id) == DefaultMap::Host);
        match soft.origin {
            _ if soft.referenced => Basis::Held,
            Origin::Maintained => Basis::Maintained,
            Origin::Reserved => Basis::Direct,
            Origin::Initial if host() => Basis::Trusted,
            Origin::Initial | Origin::Guest => Basis::Held,
        }
    }

    /// True if `frame` is in a direct range of the device behind `source`, or of one of `owner`.
    fn is_direct_for(&self, source: PciDevice, owner: Option<DomId>, frame: Mfn) -> bool {
        let owner = owner.map(|id| u32::from(id.0));
        let shares = |device: &&DeviceRule| {
            let its = device.owner.load(Ordering::Acquire);
            device.sources.contains(&source) || owner == Some(its)
        };
        let mut direct = self.devices.iter().filter(shares).flat_map(|device| &device.direct);
        direct.any(|range| range.contains(frame))
    }

    fn is_firmware(&self, frame: Mfn) -> bool {
        self.firmware.iter().any(|range| range.contains(frame))
    }

    /// True if all of `frames` is memory that firmware keeps for devices.
    pub(crate) fn is_all_firmware(&self, frames: MfnRange) -> bool {
        self.firmware.iter().any(|range| range.union(frames) == *range)
    }
}

impl Memory {
    /// True if the device behind `source`, which `owner` has, may be at `frame`, where `cached`
    /// leads.
    pub(crate) fn allows(
        &self,
        cached: &Cached,
        source: PciDevice,
        owner: Option<DomId>,
        frame: Mfn,
        reach: Reach,
    ) -> bool {
        if reach == Reach::Scratch {
            return cached.basis != Basis::Direct;
        }
        let firmware = || self.rules.is_firmware(frame);
        match cached.basis {
            // Firmware memory is in no P2M, so no guest can have mapped it.
            Basis::Held => {
                reach.is_allowed() && !(cached.soft.origin == Origin::Guest && firmware())
            }
            Basis::Direct => self.rules.is_direct_for(source, owner, frame),
            Basis::Trusted => matches!(reach, Reach::Mmio | Reach::Held | Reach::NotHeld),
            Basis::Maintained => {
                let maintained = |id: &DomId| self.rules.default_map(*id).need_iommu();
                owner.filter(maintained).is_some_and(|id| match reach {
                    Reach::Mmio => !firmware(),
                    Reach::Held | Reach::NotHeld => self.is_owned(id, frame),
                    _ => false,
                })
            }
        }
    }

    /// True if `frame` is RAM of `domain` and stays so.
    fn is_owned(&self, domain: DomId, frame: Mfn) -> bool {
        if self.frames.info(frame).is_none() {
            return false;
        }
        let noted = || self.frames.info(frame).filter(|info| info.touched);
        let own = |info: FrameInfo| {
            let ram = matches!(info.kind, FrameKind::Ram | FrameKind::GuestTable);
            ram && info.owner == domain && !info.leaving
        };
        if let Some(info) = noted() {
            return own(info);
        }
        let behind = self.rules.domain(domain).is_some_and(|rule| rule.p2m.gfn_of(frame).is_some());
        // It is noted as the domain's own before it is taken out of the P2M, which may be meanwhile.
        behind || noted().is_some_and(own)
    }

    /// True if the scratch page in `frame`, which `charged` pays for, is one for the device behind
    /// `source`, which `owner` has. One of quarantine is for the device that uses it first.
    pub(crate) fn scratch_is_for(
        &self,
        frame: Mfn,
        charged: DomId,
        source: PciDevice,
        owner: Option<DomId>,
    ) -> bool {
        if charged == DomId::IO {
            let function = self.rules.function_of(source);
            return self.tables.scratch_device(frame, function) == function;
        }
        owner.is_none_or(|owner| owner == charged)
    }
}
