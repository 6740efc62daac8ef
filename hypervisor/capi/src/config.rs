//! What C tells of the machine and of domains: the structures of the header, and what they are here.
//!
//! Enumerations are plain numbers, because C may put anything there; a number that means nothing is
//! `-EINVAL`.

use pviommu_abi::{AccessFlags, Errno, PciDevice, ReservedKind as WireKind, ReservedRange};
use pviommu_hypervisor::{
    Background, DefaultMap, FaultRule, Limits, Reserved, ReservedKind, UnknownFlags,
    addr::{BfnRange, Frame, FrameRange, Mfn, MfnRange},
    format::FormatKind,
    platform::{Access, DeviceFacts, UnitFacts, UnitFeatures},
};

use crate::{
    domain::Domain,
    pointers::{In, Shared},
    unit::DrivenUnit,
};

/// `struct pviommu_range`: frames, first and last.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The first frame.
    pub first: u64,
    /// The last frame, not below `first`.
    pub last: u64,
}

impl Range {
    pub(crate) fn frames<F: Frame>(self) -> Result<FrameRange<F>, Errno> {
        let (first, last) = (F::from_number(self.first), F::from_number(self.last));
        FrameRange::new(first, last).ok_or(Errno::EINVAL)
    }
}

/// `struct pviommu_unit_facts`: what a unit can do.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// `PVIOMMU_FORMAT_*`.
    pub format: u32,
    /// `PVIOMMU_UNIT_*`.
    pub features: u32,
    /// Tags it tells apart.
    pub tags: u32,
    /// Bits of bus addresses.
    pub bus_address_bits: u8,
    /// Bits of machine addresses.
    pub host_address_bits: u8,
    /// 0.
    pub reserved: u16,
}

/// `struct pviommu_unit_config`: one unit of a machine.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnitConfig {
    /// Whoever drives it here; null if callbacks do.
    pub driven: Shared<DrivenUnit>,
    /// What it can do, if callbacks drive it.
    pub facts: Facts,
}

/// `struct pviommu_device_config`: what the units know as one device.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DeviceConfig {
    /// The function.
    pub function: PciDevice,
    /// The unit it is behind.
    pub unit: u16,
    /// `PVIOMMU_DEVICE_CONFIG_*`.
    pub flags: u16,
    /// Its group, or `PVIOMMU_NO_GROUP`.
    pub group: u32,
    /// `PVIOMMU_RISK_*` that are accepted.
    pub risks: u32,
    /// Reserved ranges.
    pub reserved: In<ReservedRange>,
    /// Other functions that are one device with it.
    pub functions: In<PciDevice>,
    /// Other ids that its requests carry.
    pub aliases: In<PciDevice>,
    /// How many.
    pub nr_reserved: u32,
    /// How many.
    pub nr_functions: u32,
    /// How many.
    pub nr_aliases: u32,
    /// 0.
    pub pad: u32,
}

/// `struct pviommu_fault_rule`: how many faults are too many.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Milliseconds in which they are counted.
    pub window_ms: u32,
    /// Most that are recorded in that time.
    pub recorded: u32,
    /// More than these stop the device.
    pub storm: u32,
}

/// `struct pviommu_machine_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MachineConfig {
    /// The units, by their number.
    pub units: In<UnitConfig>,
    /// The devices, sorted.
    pub devices: In<DeviceConfig>,
    /// Bus frames that are nobody's.
    pub reserved: In<ReservedRange>,
    /// Machine frames that no device may reach.
    pub unreachable: In<Range>,
    /// Devices without an owner are in contexts of this one, or blocked if there is none.
    pub quarantine: Shared<Domain>,
    /// How many.
    pub nr_units: u32,
    /// How many.
    pub nr_devices: u32,
    /// How many.
    pub nr_reserved: u32,
    /// How many.
    pub nr_unreachable: u32,
    /// CPUs that may call at the same time.
    pub nr_cpus: u32,
    /// The shape of all tables: `PVIOMMU_FORMAT_*`, ...
    pub format: u32,
    /// ... and 3, 4 or 5; 0: what all units can walk.
    pub levels: u32,
    /// How many faults are too many.
    pub faults: Faults,
}

/// `struct pviommu_limits`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of `Limits`")]
pub struct DomainLimits {
    pub max_pinned_pages: u64,
    pub max_contexts: u16,
    pub max_tags: u16,
    pub max_arena_order: u8,
    /// Not 0: refuse v7 flag bits that mean nothing.
    pub refuse_unknown_flags: u8,
    pub reserved: u16,
    pub default_map_frames: u32,
    pub max_deferred_pages: u32,
    pub max_foreign_pages: u32,
    pub max_invalidations: u32,
    pub max_batch: u32,
    pub max_log_lines: u32,
}

/// `struct pviommu_domain_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DomainConfig {
    /// Its number.
    pub id: u16,
    /// `PVIOMMU_DOMAIN_*`.
    pub flags: u16,
    /// `PVIOMMU_BACKGROUND_*`.
    pub background: u32,
    /// `PVIOMMU_OPT_IN_*`.
    pub opt_ins: u32,
    /// Contexts it has room for, the default one among them.
    pub nr_contexts: u32,
    /// Its limits.
    pub limits: DomainLimits,
}

impl TryFrom<Facts> for UnitFacts {
    type Error = Errno;

    fn try_from(facts: Facts) -> Result<Self, Errno> {
        let bits = u16::try_from(facts.features).map_err(|_| Errno::EINVAL)?;
        Ok(Self {
            format: format(facts.format)?,
            features: UnitFeatures::from_bits(bits).ok_or(Errno::EINVAL)?,
            bus_address_bits: facts.bus_address_bits,
            host_address_bits: facts.host_address_bits,
            tags: facts.tags,
        })
    }
}

impl From<UnitFacts> for Facts {
    fn from(facts: UnitFacts) -> Self {
        Self {
            format: match facts.format {
                FormatKind::VtdSecondStage => 0,
                FormatKind::AmdV1 => 1,
            },
            features: u32::from(facts.features.bits()),
            tags: facts.tags,
            bus_address_bits: facts.bus_address_bits,
            host_address_bits: facts.host_address_bits,
            reserved: 0,
        }
    }
}

pub(crate) fn format(number: u32) -> Result<FormatKind, Errno> {
    match number {
        0 => Ok(FormatKind::VtdSecondStage),
        1 => Ok(FormatKind::AmdV1),
        _ => Err(Errno::EINVAL),
    }
}

/// The default map by its number, `PVIOMMU_DEFAULT_MAP_*`.
pub(crate) fn default_map(number: u32) -> Result<DefaultMap, Errno> {
    match number {
        0 => Ok(DefaultMap::Blocked),
        1 => Ok(DefaultMap::Host),
        2 => Ok(DefaultMap::Guest),
        3 => Ok(DefaultMap::IdentityMfn),
        4 => Ok(DefaultMap::IdentityGfn),
        _ => Err(Errno::EINVAL),
    }
}

pub(crate) fn background(number: u32) -> Result<Background, Errno> {
    match pviommu_abi::Background(number) {
        pviommu_abi::Background::DEFAULT => Ok(Background::default()),
        pviommu_abi::Background::FAULT => Ok(Background::Fault),
        pviommu_abi::Background::SCRATCH => Ok(Background::Scratch),
        _ => Err(Errno::EINVAL),
    }
}

/// `PVIOMMU_ACCESS_READ` and `_WRITE`; the other bits mean nothing here.
pub(crate) fn access(bits: u32) -> Result<Access, Errno> {
    let bits = u8::try_from(bits).map_err(|_| Errno::EINVAL)?;
    Access::from_bits(bits).ok_or(Errno::EINVAL)
}

pub(crate) fn reserved(range: &ReservedRange) -> Result<Reserved, Errno> {
    let mut access = Access::empty();
    access.set(Access::READ, range.access.contains(AccessFlags::READ));
    access.set(Access::WRITE, range.access.contains(AccessFlags::WRITE));
    Ok(Reserved {
        range: BfnRange::new(range.first, range.last).ok_or(Errno::EINVAL)?,
        kind: match range.kind {
            WireKind::DIRECT => ReservedKind::Direct,
            WireKind::DIRECT_RELAXABLE => ReservedKind::DirectRelaxable,
            WireKind::RESERVED => ReservedKind::Reserved,
            WireKind::MSI => ReservedKind::Msi,
            WireKind::SW_MSI => ReservedKind::SoftwareMsi,
            WireKind::BRIDGE_WINDOW => ReservedKind::BridgeWindow,
            _ => return Err(Errno::EINVAL),
        },
        access,
    })
}

impl From<Faults> for FaultRule {
    fn from(rule: Faults) -> Self {
        if rule.window_ms == 0 {
            return Self::default();
        }
        Self { window_ms: rule.window_ms, recorded: rule.recorded, storm: rule.storm }
    }
}

impl From<DomainLimits> for Limits {
    fn from(limits: DomainLimits) -> Self {
        Self {
            max_contexts: limits.max_contexts,
            max_arena_order: limits.max_arena_order,
            default_map_frames: limits.default_map_frames,
            max_deferred_pages: limits.max_deferred_pages,
            max_foreign_pages: limits.max_foreign_pages,
            max_pinned_pages: limits.max_pinned_pages,
            max_tags: limits.max_tags,
            max_invalidations: limits.max_invalidations,
            max_batch: limits.max_batch,
            max_log_lines: limits.max_log_lines,
            unknown_flags: match limits.refuse_unknown_flags {
                0 => UnknownFlags::Ignore,
                _ => UnknownFlags::Refuse,
            },
        }
    }
}

impl From<Limits> for DomainLimits {
    fn from(limits: Limits) -> Self {
        Self {
            max_pinned_pages: limits.max_pinned_pages,
            max_contexts: limits.max_contexts,
            max_tags: limits.max_tags,
            max_arena_order: limits.max_arena_order,
            refuse_unknown_flags: u8::from(limits.unknown_flags == UnknownFlags::Refuse),
            reserved: 0,
            default_map_frames: limits.default_map_frames,
            max_deferred_pages: limits.max_deferred_pages,
            max_foreign_pages: limits.max_foreign_pages,
            max_invalidations: limits.max_invalidations,
            max_batch: limits.max_batch,
            max_log_lines: limits.max_log_lines,
        }
    }
}

/// `flags` of a device: what the embedder vouches for.
pub(crate) const INTERRUPTS_ISOLATED: u16 = 1 << 0;
/// A function of its group is behind no unit.
pub(crate) const BESIDE_UNTRANSLATED: u16 = 1 << 1;
/// It is listed and not there.
pub(crate) const UNPLUGGED: u16 = 1 << 2;
/// `group` of a device that is alone.
pub(crate) const NO_GROUP: u32 = u32::MAX;
/// `flags` of a domain: it is the hardware domain.
pub(crate) const HARDWARE: u16 = 1 << 0;
/// Devices of one group are in one context.
pub(crate) const TOGETHER_ONLY: u16 = 1 << 1;

impl DeviceConfig {
    pub(crate) fn facts(&self) -> DeviceFacts {
        let mut facts = DeviceFacts::empty();
        facts.set(DeviceFacts::INTERRUPTS_ISOLATED, self.flags & INTERRUPTS_ISOLATED != 0);
        facts
    }
}

pub(crate) fn unreachable(range: &Range) -> Result<MfnRange, Errno> {
    range.frames::<Mfn>()
}
