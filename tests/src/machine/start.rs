//! How a machine is put together and the service started on it.

use std::sync::atomic::AtomicBool;

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    Background, Context, Cpu, DefaultMap, Device, DomainIommu, Iommu, Limits, Machine, OptIns,
    Role, SetupError, SourceEntry, Unit,
    addr::{Mfn, MfnRange},
    platform::SourceId,
    sync::AtomicU64,
};

use super::{
    bed::Bed,
    board::Board,
    config::{Config, DeviceConfig, DomainConfig},
    platform::{DomainSlot, Platform},
};

/// Table frames that quarantine may have for each device, besides those of its direct ranges.
const FRAMES_OF_A_DEVICE: u32 = 32;

/// Table frames for each direct range.
const FRAMES_OF_A_RANGE: u32 = 16;

/// Builds the machine of `config`, starts the service on it, gives domains their default maps, puts
/// all devices into quarantine if there is one, gives domains their devices, and calls `body`.
/// Everything is gone when this returns.
///
/// # Panics
/// If the configuration makes no sense or the service refuses it.
pub fn run<R>(config: &Config, body: impl FnOnce(&Bed<'_>) -> R) -> R {
    let started = result_of(body, |body| {
        start(config, &mut |bed| {
            settle(config, bed);
            body(bed);
        })
    });
    started.expect("the service accepts the machine")
}

/// The same, but nothing is done before `body` is called: no default map is made and no device is
/// in quarantine or anybody's.
///
/// # Errors
/// Why the service refuses the machine.
pub fn try_run<R>(config: &Config, body: impl FnOnce(&Bed<'_>) -> R) -> Result<R, SetupError> {
    result_of(body, |body| start(config, body))
}

/// Hands out what `body` returns, so that what calls it is compiled once: hundreds of tests start a
/// machine.
fn result_of<R>(
    body: impl FnOnce(&Bed<'_>) -> R,
    start: impl FnOnce(&mut dyn FnMut(&Bed<'_>)) -> Result<(), SetupError>,
) -> Result<R, SetupError> {
    let mut body = Some(body);
    let mut result = None;
    start(&mut |bed| result = body.take().map(|body| body(bed)))?;
    Ok(result.expect("the machine has run"))
}

/// Default maps, quarantine and devices, as `config` has them.
fn settle(config: &Config, bed: &Bed<'_>) {
    for domain in config.domains.iter().filter(|d| d.default_map != DefaultMap::Blocked) {
        bed.set_default(domain.id, domain.default_map).expect("the default map can be made");
    }
    for device in config.devices.iter().filter(|_| config.quarantine.is_some()) {
        bed.quarantine(device.function).expect("the device can be put into quarantine");
    }
    for device in config.devices.iter().filter(|device| !device.unowned) {
        bed.assign(device.owner, device.function).expect("the device can be assigned");
    }
}

fn start(config: &Config, body: &mut dyn FnMut(&Bed<'_>)) -> Result<(), SetupError> {
    let board = Board::new(config);

    let words = |tags: u32| (0..tags.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
    let tags: Vec<Vec<AtomicU64>> = config.units.iter().map(|u| words(u.tags)).collect();
    let units: Vec<Unit<'_>> =
        config.units.iter().zip(&tags).map(|(facts, tags)| Unit::new(*facts, tags)).collect();

    let mut sorted: Vec<_> = config.devices.iter().collect();
    sorted.sort_by_key(|d| d.function.sbdf());
    let aliases: Vec<Vec<SourceId>> = sorted.iter().map(|device| ids(device)).collect();
    let devices: Vec<Device<'_>> = sorted
        .iter()
        .zip(&aliases)
        .map(|(d, aliases)| {
            let device = Device::new(d.function, d.unit, &d.reserved);
            let device = device.with_functions(&d.functions).with_aliases(aliases);
            let device = device.with_facts(d.facts).with_risks(d.risks);
            let device = if d.absent { device.unplugged() } else { device };
            let exposed = d.beside_untranslated;
            let device = if exposed { device.beside_untranslated() } else { device };
            match d.group {
                Some(group) => device.with_group(group),
                None => device,
            }
        })
        .collect();

    let mut room = vec![SourceEntry::default(); Machine::count_sources(&devices)];
    let sources = Machine::index_sources(&devices, &mut room)?;

    // One more for what the hypervisor does of its own accord.
    let cpus: Vec<Cpu> = (0..=config.cpus).map(|_| Cpu::new()).collect();
    let contexts: Vec<Vec<Context>> = config.domains.iter().map(contexts).collect();
    let domains: Vec<DomainSlot<'_>> = config
        .domains
        .iter()
        .zip(&contexts)
        .map(|(domain, contexts)| DomainSlot {
            id: domain.id,
            sees_all_devices: domain.role == Role::Hardware,
            iommu: DomainIommu::new(domain.id, domain.role, contexts, domain.limits)
                .with_background(domain.background)
                .with_opt_ins(domain.opt_ins)
                .with_group_rule(domain.group_rule),
            dying: AtomicBool::new(false),
        })
        .collect();

    let own: Vec<Context> = devices.iter().map(|_| Context::new()).collect();
    let quarantine = config.quarantine.map(|background| quarantine(config, background, &own));

    let unreachable = unreachable(&board);
    let machine = Machine {
        units: &units,
        tables: config.tables,
        devices: &devices,
        sources,
        quarantine: quarantine.as_ref(),
        cpus: &cpus,
        reserved: &config.reserved,
        unreachable: &unreachable,
        faults: config.faults,
    };
    let iommu = Iommu::new(Platform::new(&board, &domains), machine)?;
    body(&Bed::new(&board, &domains, iommu, config.cpus));
    Ok(())
}

/// What the requests of a device are known by besides the numbers of its functions.
fn ids(device: &DeviceConfig) -> Vec<SourceId> {
    device.aliases.iter().copied().map(SourceId).collect()
}

/// The default context and as many as the domain may have.
fn contexts(domain: &DomainConfig) -> Vec<Context> {
    (0..=domain.limits.max_contexts).map(|_| Context::new()).collect()
}

/// The pseudo-domain that devices are in which nobody owns.
fn quarantine<'a>(
    config: &Config,
    background: Background,
    contexts: &'a [Context],
) -> DomainIommu<'a> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let ranges = config.devices.iter().map(|device| count(device.reserved.len())).sum::<u32>();
    let default_map_frames =
        count(config.devices.len()) * FRAMES_OF_A_DEVICE + ranges * FRAMES_OF_A_RANGE;
    let limits = Limits { max_contexts: 0, default_map_frames, ..Limits::default() };
    DomainIommu::new(DomId::IO, Role::Guest, contexts, limits)
        .with_background(background)
        .with_opt_ins(OptIns::DIRECT_RANGES)
}

/// Frames no device may be sent to: the interrupt window and the page tables.
fn unreachable(board: &Board) -> Vec<MfnRange> {
    let window = MfnRange::new(Mfn(0xfee00), Mfn(0xfeeff));
    window.into_iter().chain(board.memory.tables.frames()).collect()
}
