//! The first pass over a trace: what the machine must have for the second pass to run on it.

use std::collections::{BTreeMap, BTreeSet};

use pviommu_abi::PciDevice;
use rustc_hash::{FxHashMap, FxHashSet};

use super::error::ReplayError;
use super::shadow::{Extent, Shadow};
use super::spans::{Span, Spans};
use super::units::Units;
use crate::trace::{DomainId, Event, Header, Map, Op, Prot, RegionKind, ReservedRegion, Trace};

/// Pages in a large leaf of 2 MiB, and entries of a table.
pub(super) const PAGES_2M: u64 = 512;
/// Pages in a huge leaf of 1 GiB.
pub(super) const PAGES_1G: u64 = PAGES_2M * 512;
/// Most pages mapped at a time: 64 GiB. The machine is simulated in memory.
const MOST_LIVE_PAGES: u64 = 1 << 24;
/// Most different guest pages: 4 TiB.
const MOST_GUEST_PAGES: u64 = 1 << 30;

/// What the machine must have.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Functions that the trace names, by segment, bus and function as one number, each with the
    /// ranges it does not have at its disposal.
    pub(super) devices: BTreeMap<u32, Vec<ReservedRegion>>,
    /// Guest frames that are memory.
    pub(super) ram: Spans,
    /// Guest frames that are device registers.
    pub(super) mmio: Spans,
    /// Blocks of 2 MiB and 1 GiB of guest frames that a map could cover by one large leaf.
    pub(super) blocks: Vec<Span>,
    /// The CPUs that the trace names; their places are the testbed's CPUs.
    pub(super) cpus: Vec<u32>,
    /// Bits of the widest bus address.
    pub(super) bus_bits: u8,
    /// Most address spaces in use at a time.
    pub(super) contexts: u32,
    /// Upper bound of the table frames in use at a time.
    pub(super) table_frames: u64,
    /// What the machine lets nobody map.
    pub(super) machine_reserved: Spans,
    /// For each address space, what its own devices do not let it map.
    pub(super) refused: FxHashMap<DomainId, Spans>,
}

/// True for what the service refuses to map.
fn enforced(region: &ReservedRegion) -> bool {
    region.kind != RegionKind::DirectRelaxable
}

pub(super) fn region_span(region: &ReservedRegion) -> Span {
    Span::of_bytes(region.range.first, region.range.last)
}

/// One page.
pub(super) fn page(bfn: u64) -> Span {
    Span { first: bfn, last: bfn }
}

/// The bus frames that a list of regions takes away.
pub(super) fn enforced_spans<'a>(regions: impl IntoIterator<Item = &'a ReservedRegion>) -> Spans {
    regions.into_iter().filter(|region| enforced(region)).map(region_span).collect()
}

/// The access that permissions stand for.
pub(super) fn access(prot: Prot) -> pviommu_hypervisor::platform::Access {
    use pviommu_hypervisor::platform::Access;
    let mut access = Access::empty();
    access.set(Access::READ, prot.contains(Prot::READ));
    access.set(Access::WRITE, prot.contains(Prot::WRITE));
    access
}

/// The extent that a map adds.
pub(super) fn extent(map: &Map) -> Extent {
    Extent {
        bfn: map.iova >> 12,
        gfn: map.paddr >> 12,
        pages: map.size >> 12,
        access: access(map.prot),
    }
}

impl Plan {
    /// Reads `events` of `trace` through, which is to be replayed on `units`. Guest frames that are
    /// mapped `besides` are there as well.
    ///
    /// # Errors
    /// [`ReplayError::TooLarge`] if the testbed cannot hold the machine, or its units not the addresses.
    pub(super) fn of(
        trace: &Trace,
        events: &[Event],
        besides: Vec<Span>,
        units: Units,
    ) -> Result<Self, ReplayError> {
        let (most_bits, unit) = (units.most_bus_bits(), units.name());
        let mut plan = Self { devices: devices(&trace.header, events), ..Self::default() };
        let mut load = Load::default();
        let mut mapped = besides;
        let mut blocks = BTreeSet::new();
        let mut own_devices: FxHashMap<DomainId, BTreeSet<u32>> = FxHashMap::default();
        let mut cpus = BTreeSet::new();
        for event in events {
            cpus.insert(event.cpu);
            match event.op {
                Op::Map(map) => {
                    let last = map.iova + (map.size - 1);
                    let bits = u64::BITS - last.leading_zeros();
                    plan.bus_bits = plan.bus_bits.max(u8::try_from(bits).unwrap_or(u8::MAX));
                    if bits > most_bits {
                        let found = format!("a map that ends at {last:x}");
                        let most = format!(
                            "bus addresses of at most {most_bits} bits, which is all of --unit {unit}"
                        );
                        return Err(ReplayError::too_large(trace, event.line, found, most));
                    }
                    mapped.push(Span::of_bytes(map.paddr, map.paddr + (map.size - 1)));
                    let pages = load.live_pages + (map.size >> 12);
                    if pages > MOST_LIVE_PAGES {
                        let found = format!("{pages} pages mapped at a time");
                        let most = format!("at most {MOST_LIVE_PAGES}");
                        return Err(ReplayError::too_large(trace, event.line, found, most));
                    }
                    load.map(&map);
                    add_blocks(&map, &mut blocks);
                }
                Op::Unmap(unmap) => load.unmap(unmap.domain, unmap.iova >> 12, unmap.unmapped),
                Op::Attach(attach) if attach.kind.translates() => {
                    load.open(attach.domain);
                    own_devices.entry(attach.domain).or_default().insert(attach.device.sbdf());
                }
                Op::Free(domain) => load.close(domain),
                _ => {}
            }
        }
        let mapped: Spans = mapped.into_iter().collect();
        plan.place_memory(&trace.header, &mapped);
        if mapped.pages() > MOST_GUEST_PAGES {
            let found = format!("{} different guest pages", mapped.pages());
            let line = events.last().map_or(0, |event| event.line);
            let most = format!("at most {MOST_GUEST_PAGES}");
            return Err(ReplayError::too_large(trace, line, found, most));
        }
        plan.blocks = plan.usable_blocks(blocks);
        plan.cpus = if cpus.is_empty() { vec![0] } else { cpus.into_iter().collect() };
        plan.contexts = load.most_spaces;
        plan.table_frames = load.most_tables;
        plan.refused = own_devices
            .into_iter()
            .map(|(domain, own)| {
                let regions = own.iter().filter_map(|sbdf| plan.devices.get(sbdf)).flatten();
                (domain, enforced_spans(regions))
            })
            .collect();
        Ok(plan)
    }

    /// Adds CPUs that no event names.
    pub(super) fn add_cpus(&mut self, cpus: impl Iterator<Item = u32>) {
        let all: BTreeSet<u32> = self.cpus.iter().copied().chain(cpus).collect();
        self.cpus = all.into_iter().collect();
    }

    /// What `device` does not have at its disposal.
    pub(super) fn regions(&self, device: PciDevice) -> &[ReservedRegion] {
        self.devices.get(&device.sbdf()).map_or(&[], Vec::as_slice)
    }

    /// Sorts the guest frames that are mapped into memory and registers.
    ///
    /// Frames that are never mapped are left out, so that the machine is no larger than its use.
    fn place_memory(&mut self, header: &Header, mapped: &Spans) {
        if header.ram.is_empty() {
            self.ram = mapped.clone();
            return;
        }
        let told: Spans =
            header.ram.iter().map(|range| Span::of_bytes(range.first, range.last)).collect();
        self.ram = mapped.iter().map(|span| span.widened(PAGES_2M)).collect::<Spans>();
        self.ram = self.ram.intersection(&told);
        self.mmio = mapped.difference(&told);
    }

    /// The blocks that are memory as a whole, and not part of a larger one.
    fn usable_blocks(&self, blocks: BTreeSet<(u64, u64)>) -> Vec<Span> {
        let usable: Vec<Span> = blocks
            .into_iter()
            .map(|(first, pages)| Span::of_pages(first, pages))
            .filter(|block| self.ram.covers(*block))
            .collect();
        let huge: Spans =
            usable.iter().copied().filter(|block| block.pages() == PAGES_1G).collect();
        let alone = |block: &Span| block.pages() == PAGES_1G || !huge.touches(*block);
        usable.into_iter().filter(alone).collect()
    }
}

/// Every function that the header or an event names, with the reserved regions of its groups.
fn devices(header: &Header, events: &[Event]) -> BTreeMap<u32, Vec<ReservedRegion>> {
    let mut devices: BTreeMap<u32, Vec<ReservedRegion>> = BTreeMap::new();
    let attached = events.iter().filter_map(|event| match event.op {
        Op::Attach(attach) => Some(attach.device),
        _ => None,
    });
    for device in header.functions.iter().map(|function| function.address).chain(attached) {
        devices.entry(device.sbdf()).or_default();
    }
    for group in &header.groups {
        for member in &group.members {
            let regions = devices.entry(member.sbdf()).or_default();
            for region in &group.reserved {
                if !regions.contains(region) {
                    regions.push(*region);
                }
            }
        }
    }
    devices
}

/// Adds the naturally aligned blocks that `map` covers on both sides, as first frame and pages.
fn add_blocks(map: &Map, blocks: &mut BTreeSet<(u64, u64)>) {
    let Extent { bfn, gfn, pages, .. } = extent(map);
    for size in [PAGES_2M, PAGES_1G] {
        if (bfn ^ gfn) & (size - 1) == 0 {
            let first = gfn.next_multiple_of(size);
            let whole = (gfn + pages).saturating_sub(first) / size;
            blocks.extend((0..whole).map(|i| (first + i * size, size)));
        }
    }
}

/// What the address spaces need at each moment.
#[derive(Default)]
struct Load {
    spaces: FxHashMap<DomainId, Space>,
    tables: u64,
    live_pages: u64,
    most_tables: u64,
    most_spaces: u32,
}

/// One address space: what is mapped, and the tables that were ever needed.
#[derive(Default)]
struct Space {
    live: Shadow,
    /// Level and number of each table below the root.
    tables: FxHashSet<(u8, u64)>,
}

impl Load {
    fn open(&mut self, domain: DomainId) -> &mut Space {
        if !self.spaces.contains_key(&domain) {
            // The root.
            self.tables += 1;
            self.most_tables = self.most_tables.max(self.tables);
            self.most_spaces = self.most_spaces.max(self.spaces.len() as u32 + 1);
        }
        self.spaces.entry(domain).or_default()
    }

    fn map(&mut self, map: &Map) {
        let added = extent(map);
        let (bus, pages) = (added.bus(), added.pages);
        let space = self.open(map.domain);
        // A table may stay when it is empty, and a large leaf has the frames of its split put
        // aside, so each table counts from its first use to the end of the space.
        let mut new = 0;
        for level in 1..=4_u8 {
            let shift = 9 * u32::from(level);
            for table in bus.first >> shift..=bus.last >> shift {
                new += u64::from(space.tables.insert((level, table)));
            }
        }
        if space.live.first_mapped(bus).is_none() {
            space.live.insert(added);
            self.live_pages += pages;
        }
        self.tables += new;
        self.most_tables = self.most_tables.max(self.tables);
    }

    fn unmap(&mut self, domain: DomainId, bfn: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Some(space) = self.spaces.get_mut(&domain) {
            let span = Span::of_pages(bfn, bytes >> 12);
            let parts = space.live.within(span);
            self.live_pages -= parts.iter().map(|part| part.pages).sum::<u64>();
            space.live.remove(span);
        }
    }

    fn close(&mut self, domain: DomainId) {
        if let Some(space) = self.spaces.remove(&domain) {
            self.tables -= 1 + space.tables.len() as u64;
            self.live_pages -= space.live.iter().map(|extent| extent.pages).sum::<u64>();
        }
    }
}
