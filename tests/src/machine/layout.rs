//! Where everything lies in the machine's frame space.
//!
//! From 4 GiB on, each at a multiple of 1 GiB, and none where HyperTransport has no memory: table
//! frames, scattered RAM, contiguous RAM, registers. Firmware memory lies where its direct range says, which is below.

use std::{collections::BTreeMap, sync::Arc};

use pviommu_abi::Gfn;
use pviommu_hypervisor::{
    ReservedKind,
    addr::{GfnRange, Mfn, MfnRange},
    platform::{Access, UnitFeatures},
};

use super::{
    config::{Config, DomainConfig},
    frames::Frames,
    memory::Memory,
    p2m::{Backing, P2m, SCATTER_STRIDE, Scramble, Segment},
    rules::Rules,
    tables::Tables,
};
use crate::iommu::holes::HYPERTRANSPORT;

/// Firmware memory is below this frame. A direct range above it is one that firmware does not own.
const FIRMWARE_END: u64 = 4 * GIB;

const GIB: u64 = 1 << 18;
const MIB2: u64 = 1 << 9;

/// Guest frames that hold hypercall arguments: above all memory a guest can have.
const ARGUMENTS: u64 = 1 << 40;

/// Pages of arguments of one CPU.
pub(crate) const ARGUMENT_PAGES: u64 = 256;

/// First guest frame of the arguments of `cpu`.
pub(crate) const fn argument_frame(cpu: usize) -> Gfn {
    Gfn(ARGUMENTS + cpu as u64 * ARGUMENT_PAGES)
}

/// Memory, a P2M for each domain of the configuration, and spare scattered frames.
pub(crate) struct Layout {
    pub(crate) memory: Memory,
    pub(crate) p2ms: Vec<Arc<P2m>>,
    pub(crate) spare: Vec<Mfn>,
}

pub(crate) fn lay_out(config: &Config) -> Layout {
    let mut frames = Frames::new(config.max_references);
    let tables = Mfn(4 * GIB);
    let behind = tables.0 + u64::from(config.table_frames).next_multiple_of(GIB);

    // First the number of scattered pages, since the permutation is of all of them.
    let mut pages = 0;
    let ram: Vec<Vec<Segment>> =
        config.domains.iter().map(|d| scattered_ram(d, config.cpus, &mut pages)).collect();
    let slots = pages + pages / 4 + 1024;
    let scattered = Mfn(out_of_hole(behind, slots * SCATTER_STRIDE));
    let scramble = Scramble::new(slots, config.seed);
    frames.add_ram(scattered, slots, SCATTER_STRIDE);
    let spare = (pages..slots).take(4096).map(|place| scramble.apply(place));
    let spare = spare.map(|slot| Mfn(scattered.0 + slot * SCATTER_STRIDE)).collect();

    let mut next = (scattered.0 + slots * SCATTER_STRIDE).next_multiple_of(GIB);
    let mut p2ms = Vec::new();
    for (domain, mut segments) in config.domains.iter().zip(ram) {
        for &gfns in &domain.contiguous {
            let first = place(&mut next, gfns);
            frames.add_ram(first, gfns.pages(), 1);
            let access = Access::all();
            segments.push(Segment { gfns, backing: Backing::Contiguous(first), access });
        }
        for &gfns in &domain.mmio {
            let first = place(&mut next, gfns);
            frames.add_mmio(first, gfns.pages());
            segments.extend(registers(domain, gfns, first));
        }
        p2ms.push(Arc::new(P2m::new(segments, scramble, scattered)));
    }
    let mut rules = Rules::default();
    for (domain, p2m) in config.domains.iter().zip(&p2ms) {
        rules.add_domain(domain.id, Arc::clone(p2m));
    }
    for device in &config.devices {
        rules.add_device(device.sources(), device.direct().collect());
    }
    for (first, last) in firmware(config) {
        frames.add_mmio(Mfn(first), last - first + 1);
        rules.add_firmware(MfnRange::new(Mfn(first), Mfn(last)).unwrap());
    }

    let coherent = config.units.iter().all(|u| u.features.contains(UnitFeatures::COHERENT));
    let tables = Tables::new(tables, config.table_frames, !coherent);
    for domain in &config.domains {
        if let Some(limit) = domain.table_frames {
            tables.limit(domain.id, limit);
        }
    }
    let memory = Memory { frames, tables, violations: Arc::default(), rules };
    let memory = memory.with_late_writes(config.harshness.late_writes, config.seed);
    Layout { memory, p2ms, spare }
}

/// `first`, or where the hole of HyperTransport ends if so many frames would reach into it.
const fn out_of_hole(first: u64, frames: u64) -> u64 {
    let clear = first + frames <= *HYPERTRANSPORT.start() || first > *HYPERTRANSPORT.end();
    if clear { first } else { *HYPERTRANSPORT.end() + 1 }
}

/// A place for `gfns` at or after `next`, aligned as they are, and not next to what was placed
/// before.
fn place(next: &mut u64, gfns: GfnRange) -> Mfn {
    let align = if gfns.pages() < GIB { MIB2 } else { GIB };
    let first = out_of_hole(next.next_multiple_of(align), gfns.pages() + align);
    let first = first + gfns.first().0 % align;
    *next = first + gfns.pages() + 1;
    Mfn(first)
}

/// The registers at `gfns`, from machine frame `first` on; split where they may only be read.
fn registers(domain: &DomainConfig, gfns: GfnRange, first: Mfn) -> Vec<Segment> {
    let offset = |gfn: Gfn| gfn.0 - gfns.first().0;
    let mut read_only: Vec<GfnRange> =
        domain.mmio_read_only.iter().filter_map(|range| range.intersection(gfns)).collect();
    read_only.sort_by_key(|range| range.first());
    let (mut segments, mut next) = (Vec::new(), gfns.first().0);
    let mut add = |first_gfn: u64, end: u64, access| {
        let pages = end.saturating_sub(first_gfn);
        if let Some(gfns) = GfnRange::of_pages(Gfn(first_gfn), pages) {
            let backing = Backing::Mmio(Mfn(first.0 + offset(gfns.first())));
            segments.push(Segment { gfns, backing, access });
        }
    };
    for range in read_only {
        add(next, range.first().0, Access::all());
        next = range.last().0 + 1;
        add(range.first().0, next, Access::READ);
    }
    add(next, gfns.last().0 + 1, Access::all());
    segments
}

/// The RAM of `domain` that is not contiguous, and room for arguments; counts its pages.
fn scattered_ram(domain: &DomainConfig, cpus: usize, pages: &mut u64) -> Vec<Segment> {
    let mut holes = domain.contiguous.clone();
    holes.sort_by_key(|r| r.first());
    for hole in &holes {
        let inside = domain.ram.iter().any(|r| r.union(*hole) == *r);
        assert!(inside, "contiguous block {hole:?} is not RAM of {:?}", domain.id);
    }
    let arguments = GfnRange::of_pages(argument_frame(0), ARGUMENT_PAGES * cpus.max(1) as u64);
    let mut segments = Vec::new();
    let mut add = |first: u64, end: u64| {
        if let Some(count) = end.checked_sub(first)
            && let Some(gfns) = GfnRange::of_pages(Gfn(first), count)
        {
            let (backing, access) = (Backing::Scattered(*pages), Access::all());
            segments.push(Segment { gfns, backing, access });
            *pages += count;
        }
    };
    for range in domain.ram.iter().copied().chain(arguments) {
        let mut first = range.first().0;
        for hole in holes.iter().filter(|hole| hole.overlaps(range)) {
            add(first, hole.first().0);
            first = hole.last().0 + 1;
        }
        add(first, range.last().0 + 1);
    }
    segments
}

/// The frames of all direct ranges that firmware can have, each once.
fn firmware(config: &Config) -> BTreeMap<u64, u64> {
    let of_devices = config.devices.iter().flat_map(|d| &d.reserved);
    let mut ranges: Vec<(u64, u64)> = config
        .reserved
        .iter()
        .chain(of_devices)
        .filter(|r| matches!(r.kind, ReservedKind::Direct | ReservedKind::DirectRelaxable))
        .map(|r| (r.range.first().0, r.range.last().0))
        .filter(|(_, last)| *last < FIRMWARE_END)
        .collect();
    ranges.sort_unstable();
    let mut joined: BTreeMap<u64, u64> = BTreeMap::new();
    for (first, last) in ranges {
        match joined.last_entry() {
            Some(mut before) if *before.get() >= first => {
                let end = last.max(*before.get());
                before.insert(end);
            }
            _ => {
                joined.insert(first, last);
            }
        }
    }
    joined
}
