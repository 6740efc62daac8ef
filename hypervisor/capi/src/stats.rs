//! What an operator sees: snapshots, and text for a debug key.
#![expect(unsafe_code, reason = "symbols that C links to have names of their own")]

use core::{
    ffi::{c_char, c_int},
    fmt::Write,
};

use pviommu_abi::{Bfn, ContextId, DomId, Errno, PciDevice};
use pviommu_hypervisor::{
    Background, DumpLine,
    operator::{ContextState, DeviceHome, EditedBy},
    platform::{SourceId, UnitId},
};

use crate::{
    calls::for_domain,
    config::{NO_GROUP, Range, access},
    domain::Domain,
    machine::Machine,
    pointers::{Out, Shared},
    status::{Text, ended},
};

/// `struct pviommu_domain_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of `DomainStats`")]
pub struct DomainStats {
    pub pinned_pages: u64,
    pub invalidations: u64,
    pub calls_put_off: u64,
    pub lost_faults: u64,
    pub unknown_flags: u64,
    pub leaked_pages: u64,
    pub leaked_tables: u64,
    pub log_lines_suppressed: u64,
    pub contexts: u32,
    pub table_frames: u32,
    pub table_frames_allowed: u32,
    pub deferred_pages: u32,
    pub foreign_pages: u32,
    /// `PVIOMMU_DOMAIN_STATE_*`.
    pub state: u32,
}

/// `struct pviommu_unit_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of `UnitStats`")]
pub struct UnitStats {
    pub commands: u64,
    pub faults: u64,
    pub tags_used: u32,
    pub tags_allowed: u32,
    pub devices: u32,
    pub assigned: u32,
    pub broken: u32,
    pub stopped: u32,
    /// `PVIOMMU_UNIT_STATE_*`.
    pub state: u32,
    pub reserved: u32,
}

/// `struct pviommu_device_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of `DeviceStats`")]
pub struct DeviceStats {
    pub faults: u64,
    pub function: PciDevice,
    pub unit: u16,
    /// `PVIOMMU_DOMID_INVALID`: nobody.
    pub owner: u16,
    /// `PVIOMMU_HOME_*`.
    pub home: u32,
    pub context: u32,
    /// `PVIOMMU_NO_GROUP`: it is alone.
    pub group: u32,
    pub risks: u32,
    /// `PVIOMMU_DEVICE_STATE_*`.
    pub state: u32,
    pub storms: u32,
}

/// `struct pviommu_context_stats`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of `ContextStats`")]
pub struct ContextStats {
    pub aperture: Range,
    pub root: u64,
    pub levels: u32,
    /// `PVIOMMU_BACKGROUND_*`.
    pub background: u32,
    /// `PVIOMMU_CONTEXT_*`.
    pub state: u32,
    /// `PVIOMMU_EDITED_BY_*`.
    pub edited_by: u32,
    pub kept_tables: u32,
    pub units: u32,
    pub reserved_ranges: u32,
    pub reserved: u32,
}

fn flags(named: &[bool]) -> u32 {
    let bits = named.iter().zip(0u32..).filter(|(set, _)| **set);
    bits.fold(0, |all, (_, bit)| all | 1u32.wrapping_shl(bit))
}

/// Counters of a domain.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_domain_stats(domain: Shared<Domain>, stats: Out<DomainStats>) -> c_int {
    ended(|| {
        let domain = &domain.open()?.iommu;
        let now = domain.stats();
        stats.write(DomainStats {
            pinned_pages: now.pinned_pages,
            invalidations: now.invalidations,
            calls_put_off: now.calls_put_off,
            lost_faults: now.lost_faults,
            unknown_flags: now.unknown_flags,
            leaked_pages: now.leaked_pages,
            leaked_tables: now.leaked_tables,
            log_lines_suppressed: now.log_lines_suppressed,
            contexts: now.contexts,
            table_frames: now.table_frames,
            table_frames_allowed: now.table_frames_allowed,
            deferred_pages: now.deferred_pages,
            foreign_pages: now.foreign_pages,
            state: flags(&[domain.need_iommu(), domain.owns_default()]),
        })
    })
}

/// Counters of a unit.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unit_stats(
    machine: Shared<Machine>,
    unit: u16,
    stats: Out<UnitStats>,
) -> c_int {
    ended(|| {
        let now = machine.open()?.iommu.unit_stats(UnitId(unit)).ok_or(Errno::ENODEV)?;
        stats.write(UnitStats {
            commands: now.commands,
            faults: now.faults,
            tags_used: now.tags_used,
            tags_allowed: now.tags_allowed,
            devices: now.devices,
            assigned: now.assigned,
            broken: now.broken,
            stopped: now.stopped,
            state: flags(&[now.failed, now.serves]),
            reserved: 0,
        })
    })
}

/// Where a device is, and whose.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_device_stats(
    machine: Shared<Machine>,
    function: PciDevice,
    stats: Out<DeviceStats>,
) -> c_int {
    ended(|| {
        let now = machine.open()?.iommu.device_stats(function).ok_or(Errno::ENODEV)?;
        let (home, context) = match now.home {
            DeviceHome::Blocked => (0, 0),
            DeviceHome::Quarantine => (1, 0),
            DeviceHome::Context(Some(id)) => (2, u32::from(id)),
            _ => (3, 0),
        };
        stats.write(DeviceStats {
            faults: now.faults,
            function: now.function,
            unit: now.unit.0,
            owner: now.owner.unwrap_or(DomId::INVALID).0,
            home,
            context,
            group: now.group.unwrap_or(NO_GROUP),
            risks: now.risks.bits(),
            state: flags(&[now.broken, now.stopped, now.alone, now.tainted, now.absent]),
            storms: now.storms,
        })
    })
}

/// What is known of a context.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_context_stats(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    id: u16,
    stats: Out<ContextStats>,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        let now = machine.iommu.context_stats(&domain.iommu, ContextId(id)).ok_or(Errno::ENOENT)?;
        let state = now.state;
        stats.write(ContextStats {
            aperture: Range { first: now.aperture.first().0, last: now.aperture.last().0 },
            root: now.root.frame.0,
            levels: u32::from(now.root.levels),
            background: match now.background {
                Background::Fault => pviommu_abi::Background::FAULT.0,
                Background::Scratch => pviommu_abi::Background::SCRATCH.0,
            },
            state: flags(&[
                state == ContextState::Building,
                state == ContextState::Dying,
                now.frozen,
                now.removals_wait,
            ]),
            edited_by: match now.edited_by {
                EditedBy::Guest => 1,
                EditedBy::Hypervisor => 2,
                _ => 0,
            },
            kept_tables: now.kept_tables,
            units: u32::try_from(now.units().len()).unwrap_or(u32::MAX),
            reserved_ranges: u32::try_from(now.reserved().len()).unwrap_or(u32::MAX),
            reserved: 0,
        })
    })
}

/// Why an access of a device faults, or does not, in words.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_explain(
    machine: Shared<Machine>,
    cpu: u32,
    source: PciDevice,
    address: u64,
    bits: u32,
    text: Out<c_char>,
    size: usize,
) -> c_int {
    ended(|| {
        let cpu = usize::try_from(cpu).map_err(|_| Errno::EINVAL)?;
        let iommu = &machine.open()?.iommu;
        let told = iommu.explain(cpu, SourceId(source), address, access(bits)?);
        let told = told.ok_or(Errno::EINVAL)?;
        write!(Text::new(text, size), "{told}").map_err(|_| Errno::ENOBUFS)
    })
}

/// The next stretch of a context's table, in words.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_dump_line(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    cpu: u32,
    id: u16,
    from: Out<u64>,
    text: Out<c_char>,
    size: usize,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        let cpu = usize::try_from(cpu).map_err(|_| Errno::EINVAL)?;
        let mut lines = [DumpLine::EMPTY];
        let start = Bfn(from.read()?);
        let dumped = machine.iommu.dump(&domain.iommu, cpu, ContextId(id), start, &mut lines);
        let dumped = dumped.ok_or(Errno::ENOENT)?;
        let mut text = Text::new(text, size);
        if dumped.lines > 0 {
            let [line] = lines;
            write!(text, "{line}").map_err(|_| Errno::ENOBUFS)?;
        }
        let Some(next) = dumped.next else { return Ok(0) };
        from.write(next.0)?;
        Ok(crate::status::CONTINUE)
    })
}
