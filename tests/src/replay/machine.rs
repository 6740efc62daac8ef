//! The machine of a replay: one guest that has all the devices of the trace.

use pviommu_abi::{Bfn, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    Limits, Reserved, ReservedKind, Role,
    addr::{BfnRange, Frame, FrameRange},
    platform::{UnitFacts, UnitFeatures, UnitId},
};

use super::options::Options;
use super::plan::{Plan, region_span};
use super::spans::{Span, Spans};
use super::units::Units;
use crate::machine::{self, Config, DeviceConfig, DomainConfig};
use crate::trace::{RegionKind, ReservedRegion};

/// The guest.
pub(super) const DOMAIN: DomId = DomId(1);

/// Whose pages are mapped beside the guest's own, if any are, and how many it has.
pub(super) const OTHER: DomId = DomId(2);
pub(super) const OTHER_PAGES: u64 = 64;

/// Contexts and table frames (as a power of two) that a Linux driver asks for.
const LINUX: (u16, u8) = (128, 12);

/// Upper bound of the frames of a context that are not the tables of its maps: its scratch page
/// and the tables that lead there from everywhere, the record of what waits for a flush.
const BESIDE_TABLES: u64 = 32;

/// Most tables that it takes to set a reserved range apart from the background: those to its two
/// ends.
const TABLES_OF_A_RANGE: u64 = 8;

/// The frame above which the testbed lays out its own memory.
const FIRMWARE_END: u64 = 1 << 20;

/// The contexts the guest asks for.
pub(super) fn contexts(plan: &Plan) -> u16 {
    u16::try_from(plan.contexts).unwrap_or(u16::MAX).max(LINUX.0)
}

/// log2 of the table frames the guest asks for.
pub(super) fn arena_order(plan: &Plan) -> u8 {
    let ranges = plan.refused.values().map(|own| own.iter().count() as u64).max().unwrap_or(0);
    let beside = BESIDE_TABLES + TABLES_OF_A_RANGE * ranges;
    let frames = plan.table_frames + u64::from(plan.contexts) * beside;
    let order = frames.next_power_of_two().trailing_zeros();
    u8::try_from(order).unwrap_or(u8::MAX).max(LINUX.1)
}

/// The machine that `plan` asks for.
pub(super) fn config(plan: &Plan, options: &Options) -> Config {
    let usual = Config::default();
    let units: Vec<UnitFacts> =
        options.units.facts().iter().map(|unit| facts(plan, unit)).collect();
    let devices = plan.devices.iter().enumerate().map(|(number, (sbdf, regions))| DeviceConfig {
        function: PciDevice::from_sbdf(*sbdf),
        unit: UnitId(u16::try_from(number % units.len()).unwrap_or(0)),
        reserved: regions.iter().filter_map(|region| reserved(plan, region)).collect(),
        owner: DOMAIN,
        ..DeviceConfig::default()
    });
    let limits = machine::limits();
    let guest = DomainConfig {
        id: DOMAIN,
        // Who maps foreign pages is the hardware domain.
        role: if options.shares { Role::Hardware } else { Role::Guest },
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
    };
    let config = Config {
        cpus: plan.cpus.len(),
        seed: options.seed,
        sabotage: options.sabotage,
        harshness: options.harshness,
        table_frames: usual.table_frames.max(1 << arena_order(plan)),
        devices: devices.collect(),
        units,
        domains: if options.shares { vec![guest, other()] } else { vec![guest] },
        ..usual
    };
    let any_direct = config.devices.iter().any(|device| device.direct().next().is_some());
    if any_direct { config.with_direct_ranges() } else { config }
}

/// A domain that shares its pages.
fn other() -> DomainConfig {
    let ram = vec![range(Span::of_pages(0, OTHER_PAGES))];
    DomainConfig { id: OTHER, role: Role::Guest, ram, ..DomainConfig::default() }
}

/// What the machine of every replay on these units lets nobody map.
pub(super) fn reserved_by_machine(units: Units) -> Spans {
    let span = |range: BfnRange| Span { first: range.first().0, last: range.last().0 };
    let reserved = Config::default().on(units.kind()).reserved_by_machine();
    reserved.iter().map(|reserved| span(reserved.range)).collect()
}

/// A unit, wide enough for the addresses and the address spaces of the trace.
fn facts(plan: &Plan, usual: &UnitFacts) -> UnitFacts {
    let mut facts = *usual;
    facts.tags = facts.tags.max(u32::from(contexts(plan)) + 2);
    // Widths as units have them: of 3, 4 and 5 levels.
    let bits = [39, 48, 57].into_iter().find(|bits| plan.bus_bits <= *bits).unwrap_or(57);
    facts.bus_address_bits = facts.bus_address_bits.max(bits);
    if bits > 48 {
        facts.features |= UnitFeatures::LEVELS_5;
    }
    facts
}

/// A range as the service is told of it. The testbed has firmware memory below 4 GiB only, so a
/// direct range elsewhere is refused to guests alike, but nothing is mapped there.
fn reserved(plan: &Plan, region: &ReservedRegion) -> Option<Reserved> {
    let span = region_span(region);
    let below = span.last < FIRMWARE_END && !plan.machine_reserved.touches(span);
    let kind = match region.kind {
        RegionKind::Direct if below => ReservedKind::Direct,
        RegionKind::Direct | RegionKind::Reserved => ReservedKind::Reserved,
        RegionKind::DirectRelaxable if below => ReservedKind::DirectRelaxable,
        RegionKind::Msi => ReservedKind::Msi,
        // Told and not enforced, so it may as well not be told.
        RegionKind::DirectRelaxable => return None,
    };
    Some(machine::reserved(range::<Bfn>(span), kind))
}

fn ranges(spans: impl Iterator<Item = Span>) -> Vec<FrameRange<Gfn>> {
    spans.map(range).collect()
}

fn range<F: Frame>(span: Span) -> FrameRange<F> {
    FrameRange::new(F::from_number(span.first), F::from_number(span.last))
        .expect("page numbers have at most 52 bits, so no span holds all frames")
}
