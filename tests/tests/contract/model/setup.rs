//! The machines that the sequences run on, and what the model knows of them at the start.

use pviommu_abi::{Bfn, ContextId, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    Background, DefaultMap, FaultRule, OptIns, Reserved, ReservedKind, Role,
    addr::{BfnRange, GfnRange, Mfn},
    platform::{Access, UnitId},
};
use pviommu_testbed::machine::{Bed, Config, DeviceConfig, DomainConfig, poor_facts};

use super::world::{Device, Domain, Page, World};
use crate::acts::{Found, background, limits};
use crate::kit::{DOM0, GUEST, Vm};

const HVM: DomId = DomId(2);
pub(super) const IDS: [DomId; 3] = [DOM0, GUEST, HVM];
/// Where devices have direct ranges, and guests may have memory.
const DIRECT: u64 = 0x8000;
/// Guest frames that are registers of a device.
const REGISTERS: u64 = 0x2000;

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

fn pick<T: Copy>(seed: &mut u64, of: &[T]) -> T {
    let chosen = of[(*seed % of.len() as u64) as usize];
    *seed /= of.len() as u64;
    chosen
}

fn reserved(first: u64, pages: u64, access: Access, kind: ReservedKind) -> Reserved {
    let range = BfnRange::of_pages(Bfn(first), pages).unwrap();
    Reserved { range, kind, access }
}

/// Three domains and four devices.
pub(super) fn config(mut seed: u64) -> Config {
    use DefaultMap::{Blocked, Guest, Host, IdentityGfn, IdentityMfn};
    let seed = &mut seed;
    let defaults = [
        pick(seed, &[Host, IdentityMfn, Host, Blocked]),
        pick(seed, &[Guest, Blocked]),
        pick(seed, &[IdentityGfn, IdentityGfn, Guest]),
    ];
    let quarantine = pick(seed, &[Some(Background::Fault), Some(Background::Scratch), None]);
    let two_units = pick(seed, &[false, true]);
    let in_the_way = pick(seed, &[false, true]);
    let opted_in = pick(seed, &[true, true, false]);
    let second = pick(
        seed,
        &[
            Some((DIRECT, 3, Access::all(), ReservedKind::Direct)),
            Some((DIRECT, 3, Access::READ, ReservedKind::Direct)),
            Some((DIRECT + 2, 2, Access::all(), ReservedKind::Direct)),
            Some((DIRECT + 2, 2, Access::empty(), ReservedKind::Reserved)),
            None,
        ],
    );
    let domain = |(id, default_map): (DomId, DefaultMap)| {
        let base = Config::one_guest(0x40).with_default_map(default_map).domains.remove(0);
        let mut ram = vec![gfns(0, 0x40), gfns(0x200, 0x200)];
        if in_the_way && id == GUEST {
            ram.push(gfns(DIRECT, 8));
        }
        let opt_ins = if opted_in || id != HVM { OptIns::DIRECT_RANGES } else { OptIns::empty() };
        let contiguous = vec![gfns(0x200, 0x200)];
        let role = if id == DOM0 { Role::Hardware } else { Role::Guest };
        let mmio = vec![gfns(REGISTERS, 4)];
        DomainConfig { id, role, ram, contiguous, mmio, default_map, opt_ins, ..base }
    };
    let domains = IDS.into_iter().zip(defaults).map(domain).collect();
    // What devices are asked to do after each step would be a storm, and they would be stopped.
    let faults = FaultRule { storm: u32::MAX, ..FaultRule::default() };
    let mut config = Config { domains, seed: *seed, quarantine, faults, ..Config::default() };
    if two_units {
        config.units.push(poor_facts());
    }
    for number in 3..7u8 {
        let function = PciDevice::new(0, 0, number, 0);
        let unit = UnitId(u16::from(two_units && number == 4));
        let range = match number {
            5 => Some((DIRECT, 3, Access::all(), ReservedKind::Direct)),
            6 => second,
            _ => None,
        };
        let range = range.filter(|it| quarantine.is_some() || it.3 != ReservedKind::Direct);
        let reserved =
            range.map(|(first, pages, access, kind)| reserved(first, pages, access, kind));
        let reserved = reserved.into_iter().collect();
        let unowned = true;
        config.devices.push(DeviceConfig {
            function,
            unit,
            reserved,
            unowned,
            ..DeviceConfig::default()
        });
    }
    config
}

fn p2m(bed: &Bed<'_>, config: &DomainConfig) -> std::collections::BTreeMap<u64, Page> {
    let all = config.ram.iter().chain(&config.mmio);
    let gfns = all.flat_map(|range| range.first().0..=range.last().0);
    let page = |gfn| {
        let frame = bed.board().machine_frame(config.id, Gfn(gfn)).unwrap().0;
        let mmio = config.mmio.iter().any(|range| range.contains(Gfn(gfn)));
        (gfn, Page { frame, access: Access::all(), share: None, mmio })
    };
    gfns.map(page).collect()
}

impl World {
    /// The machine as it starts.
    pub(super) fn new(bed: &Bed<'_>, config: &Config) -> Self {
        let domain = |it: &DomainConfig| Domain {
            id: it.id,
            role: it.role,
            default: it.default_map,
            may_have_direct: it.opt_ins.contains(OptIns::DIRECT_RANGES),
            owned: false,
            dead: false,
            spaces: Default::default(),
            p2m: p2m(bed, it),
            unknown: false,
            leaked_foreign: 0,
        };
        let device = |it: &DeviceConfig| Device {
            function: it.function,
            unit: it.unit,
            reserved: it.reserved.clone(),
            owner: None,
            context: None,
            blocked: false,
            unknown: false,
        };
        let mut ram = Vec::new();
        let mut from = Mfn(0);
        while let Some(range) = bed.board().memory().frames.ram_from(from) {
            ram.push((range.first().0, range.last().0));
            from = Mfn(range.last().0 + 1);
        }
        let told = limits(&Vm::new(bed, GUEST, 0), ContextId::DEFAULT).unwrap();
        let quarantine = config.quarantine.map(|background| match background {
            Background::Fault => Found::Fault,
            Background::Scratch => Found::Scratch,
        });
        let mut world = Self {
            top: told.aperture_last.0,
            ram,
            background: background(),
            quarantine,
            domains: config.domains.iter().map(domain).collect(),
            devices: config.devices.iter().map(device).collect(),
            shares: Vec::new(),
            grants: Vec::new(),
            frames: Default::default(),
        };
        for dom in 0..world.domains.len() {
            let space = world.build_initial(dom);
            world.domains[dom].spaces.extend(space.map(|space| (0, space)));
        }
        world
    }
}
