//! The machine of a replay: one guest that has all the devices of the trace, behind one unit.

use pviommu_abi::{Bfn, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    Limits, Reserved, ReservedKind, Role,
    addr::{BfnRange, Frame, FrameRange},
    platform::{UnitFacts, UnitFeatures, UnitId},
};

use super::Options;
use super::plan::{Plan, region_span};
use super::spans::{Span, Spans};
use crate::machine::{Config, DeviceConfig, DomainConfig};
use crate::trace::{RegionKind, ReservedRegion};

/// The guest.
pub(super) const DOMAIN: DomId = DomId(1);

/// Contexts and table frames (as a power of two) that a Linux driver asks for.
const LINUX: (u16, u8) = (128, 12);

/// The frame above which the testbed lays out its own memory.
const FIRMWARE_END: u64 = 1 << 20;

/// The contexts the guest asks for.
pub(super) fn contexts(plan: &Plan) -> u16 {
    u16::try_from(plan.contexts).unwrap_or(u16::MAX).max(LINUX.0)
}

/// log2 of the table frames the guest asks for.
pub(super) fn arena_order(plan: &Plan) -> u8 {
    let order = plan.table_frames.next_power_of_two().trailing_zeros();
    u8::try_from(order).unwrap_or(u8::MAX).max(LINUX.1)
}

/// The machine that `plan` asks for.
pub(super) fn config(plan: &Plan, options: &Options) -> Config {
    let mut config = Config::default();
    for unit in &mut config.units {
        *unit = facts(plan, unit);
    }
    config.cpus = plan.cpus.len();
    config.seed = options.seed;
    config.sabotage = options.sabotage;
    config.table_frames = config.table_frames.max(1 << arena_order(plan));
    config.devices = plan
        .devices
        .iter()
        .map(|(sbdf, regions)| DeviceConfig {
            function: PciDevice::from_sbdf(*sbdf),
            unit: UnitId(0),
            reserved: regions.iter().filter_map(reserved).collect(),
            owner: DOMAIN,
        })
        .collect();
    let limits = Limits::default();
    config.domains = vec![DomainConfig {
        id: DOMAIN,
        role: Role::Guest,
        limits: Limits {
            max_contexts: limits.max_contexts.max(contexts(plan)),
            max_arena_order: limits.max_arena_order.max(arena_order(plan)),
            ..limits
        },
        background: options.background,
        ram: ranges(plan.ram.iter()),
        mmio: ranges(plan.mmio.iter()),
        contiguous: ranges(plan.blocks.iter().copied()),
        ..DomainConfig::default()
    }];
    config
}

/// What the machine of every replay lets nobody map.
pub(super) fn reserved_by_machine() -> Spans {
    let span = |range: BfnRange| Span { first: range.first().0, last: range.last().0 };
    Config::default().reserved.iter().map(|reserved| span(reserved.range)).collect()
}

/// The unit, wide enough for the addresses and the address spaces of the trace.
fn facts(plan: &Plan, usual: &UnitFacts) -> UnitFacts {
    let mut facts = *usual;
    facts.tags = facts.tags.max(u32::from(contexts(plan)) + 2);
    if plan.five_levels {
        facts.features |= UnitFeatures::LEVELS_5;
        facts.bus_address_bits = 57;
    }
    facts
}

/// A range as the service is told of it. The testbed has firmware memory below 4 GiB only, so a
/// direct range elsewhere is refused to guests alike, but nothing is mapped there.
fn reserved(region: &ReservedRegion) -> Option<Reserved> {
    let span = region_span(region);
    let below = span.last < FIRMWARE_END && !reserved_by_machine().touches(span);
    let kind = match region.kind {
        RegionKind::Direct if below => ReservedKind::Direct,
        RegionKind::Direct | RegionKind::Reserved => ReservedKind::Reserved,
        RegionKind::DirectRelaxable if below => ReservedKind::DirectRelaxable,
        RegionKind::Msi => ReservedKind::Msi,
        // Told and not enforced, so it may as well not be told.
        RegionKind::DirectRelaxable => return None,
    };
    Some(Reserved { range: range::<Bfn>(span), kind })
}

fn ranges(spans: impl Iterator<Item = Span>) -> Vec<FrameRange<Gfn>> {
    spans.map(range).collect()
}

fn range<F: Frame>(span: Span) -> FrameRange<F> {
    FrameRange::new(F::from_number(span.first), F::from_number(span.last))
        .expect("page numbers have at most 52 bits, so no span holds all frames")
}
