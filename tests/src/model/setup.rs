//! The machines that the sequences run on, and what the model knows of them at the start.

use std::fmt;

use pviommu_abi::{Bfn, ContextId, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    Background, DefaultMap, FaultRule, OptIns, Reserved, ReservedKind, Role,
    addr::{BfnRange, GfnRange, Mfn},
    platform::{Access, UnitFacts, UnitFeatures, UnitId},
};

use super::{
    field::{Any, Bytes, Either, FLAG, Field, In, OneOf},
    p2m::{P2m, Page},
    world::{Device, Domain, World, holes},
};
use crate::{
    machine::{Bed, Config, DeviceConfig, DomainConfig, UnitKind},
    vm::{Found, Vm, limits},
};

const DOM0: DomId = DomId(0);
const GUEST: DomId = DomId(1);
const HVM: DomId = DomId(2);
pub(super) const IDS: [DomId; 3] = [DOM0, GUEST, HVM];
/// CPUs of the machine: the first for calls that are made at once, the others for those that are left standing.
pub(super) const CPUS: usize = 3;
/// Where devices have direct ranges, and guests may have memory.
const DIRECT: u64 = 0x8000;
/// Guest frames that are registers of a device.
const REGISTERS: u64 = 0x2000;

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// What the units of a machine are, and what is behind every bus frame that nobody mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// Whose make they are.
    pub unit: UnitKind,
    /// Where nobody chose otherwise.
    pub background: Background,
}

/// The second of two units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Second {
    None,
    /// As poor as they come.
    Poor,
    /// A usual one, but for this.
    Features(UnitFeatures),
}

/// What the fourth device brings along: first bus frame, pages, and by what right.
type Range = (u64, u64, Access, ReservedKind);

/// A machine of three domains and four devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    kind: Kind,
    /// What each domain starts with.
    defaults: [DefaultMap; 3],
    quarantine: Option<Background>,
    second: Second,
    /// The second domain has memory where devices have direct ranges.
    in_the_way: bool,
    /// The third domain may have direct ranges.
    opted_in: bool,
    range: Option<Range>,
    /// Looks at whether to give way, from one that says yes to the next.
    yields: u64,
    /// How memory is scattered, and when hardware does what nobody asked for.
    seed: u64,
}

const UNIT: OneOf<UnitKind> = OneOf(&[(1, UnitKind::Vtd), (1, UnitKind::AmdVi)]);
const BACKGROUND: OneOf<Background> = OneOf(&[(1, Background::Scratch), (1, Background::Fault)]);
const DEFAULTS: [OneOf<DefaultMap>; 3] = [
    OneOf(&[(2, DefaultMap::Host), (1, DefaultMap::IdentityMfn), (1, DefaultMap::Blocked)]),
    OneOf(&[(1, DefaultMap::Guest), (1, DefaultMap::Blocked)]),
    OneOf(&[(2, DefaultMap::IdentityGfn), (1, DefaultMap::Guest)]),
];
const QUARANTINE: OneOf<Option<Background>> =
    OneOf(&[(1, Some(Background::Fault)), (1, Some(Background::Scratch)), (1, None)]);
const SECOND: OneOf<Second> = OneOf(&[
    (4, Second::None),
    (4, Second::Poor),
    (1, Second::Features(UnitFeatures::CACHES_NOT_PRESENT)),
    (1, Second::Features(UnitFeatures::WRITE_BUFFER)),
    (1, Second::Features(UnitFeatures::COHERENT)),
    (1, Second::Features(UnitFeatures::SNOOP_CONTROL)),
]);
const RANGE: OneOf<Option<Range>> = OneOf(&[
    (1, Some((DIRECT, 3, Access::all(), ReservedKind::Direct))),
    (1, Some((DIRECT, 3, Access::READ, ReservedKind::Direct))),
    (1, Some((DIRECT + 2, 2, Access::all(), ReservedKind::Direct))),
    (1, Some((DIRECT + 2, 2, Access::empty(), ReservedKind::Reserved))),
    (1, None),
]);
const OPTED_IN: OneOf<bool> = OneOf(&[(2, true), (1, false)]);
const YIELDS: In = In(1, 4);
const SEED: Either<u64> = Either(&[(1, &In(0, 1)), (3, &Any)]);

impl Machine {
    /// The machine that bytes stand for.
    pub(crate) fn get(from: &mut Bytes<'_>) -> Self {
        Self {
            kind: Kind { unit: UNIT.get(from), background: BACKGROUND.get(from) },
            defaults: [DEFAULTS[0].get(from), DEFAULTS[1].get(from), DEFAULTS[2].get(from)],
            quarantine: QUARANTINE.get(from),
            second: SECOND.get(from),
            in_the_way: FLAG.get(from),
            opted_in: OPTED_IN.get(from),
            range: RANGE.get(from),
            yields: YIELDS.get(from),
            seed: SEED.get(from),
        }
    }

    /// Writes bytes that stand for it.
    pub(crate) fn put(&self, to: &mut Vec<u8>) -> bool {
        let Self { kind, defaults, quarantine, second, in_the_way, opted_in, range, .. } = self;
        UNIT.put(&kind.unit, to)
            && BACKGROUND.put(&kind.background, to)
            && DEFAULTS.iter().zip(defaults).all(|(field, map)| field.put(map, to))
            && QUARANTINE.put(quarantine, to)
            && SECOND.put(second, to)
            && FLAG.put(in_the_way, to)
            && OPTED_IN.put(opted_in, to)
            && RANGE.put(range, to)
            && YIELDS.put(&self.yields, to)
            && SEED.put(&self.seed, to)
    }

    /// The machine that bytes stand for, made one of this kind.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], kind: Kind) -> Self {
        Self { kind, ..Self::get(&mut Bytes::new(bytes)) }
    }

    pub(super) fn yields(&self) -> u64 {
        self.yields
    }

    /// Its units' make is one that the service is built for.
    pub(crate) fn is_built(&self) -> bool {
        self.kind.unit.is_built()
    }

    fn second_unit(&self) -> Option<UnitFacts> {
        let unit = self.kind.unit;
        match self.second {
            Second::None => None,
            Second::Poor => Some(unit.poor_facts()),
            Second::Features(features) => {
                let usual = unit.facts();
                let features = usual.features.symmetric_difference(features);
                Some(unit.like(&UnitFacts { features, ..usual }))
            }
        }
    }

    pub(super) fn config(&self) -> Config {
        let domain = |(id, default_map): (DomId, DefaultMap)| {
            let base = Config::one_guest(0x40).with_default_map(default_map).domains.remove(0);
            let mut ram = vec![gfns(0, 0x40), gfns(0x200, 0x200)];
            if self.in_the_way && id == GUEST {
                ram.push(gfns(DIRECT, 8));
            }
            let may = self.opted_in || id != HVM;
            let opt_ins = if may { OptIns::DIRECT_RANGES } else { OptIns::empty() };
            let contiguous = vec![gfns(0x200, 0x200)];
            let role = if id == DOM0 { Role::Hardware } else { Role::Guest };
            let mmio = vec![gfns(REGISTERS, 4)];
            DomainConfig { id, role, ram, contiguous, mmio, default_map, opt_ins, ..base }
        };
        let domains = IDS.into_iter().zip(self.defaults).map(domain).collect();
        // What devices are asked to do after each step would be a storm, and they would be stopped.
        let faults = FaultRule { storm: u32::MAX, ..FaultRule::default() };
        Config {
            units: [self.kind.unit.facts()].into_iter().chain(self.second_unit()).collect(),
            domains,
            devices: (3..7).map(|number| self.device(number)).collect(),
            cpus: CPUS,
            seed: self.seed,
            quarantine: self.quarantine,
            faults,
            ..Config::default()
        }
        .with_background(self.kind.background)
    }

    fn device(&self, number: u8) -> DeviceConfig {
        let unit = UnitId(u16::from(self.second != Second::None && number == 4));
        let range = match number {
            5 => Some((DIRECT, 3, Access::all(), ReservedKind::Direct)),
            6 => self.range,
            _ => None,
        };
        let range = range.filter(|it| self.quarantine.is_some() || it.3 != ReservedKind::Direct);
        let reserved = range.map(|(first, pages, access, kind)| {
            let range = BfnRange::of_pages(Bfn(first), pages).unwrap();
            Reserved { range, kind, access }
        });
        let function = PciDevice::new(0, 0, number, 0);
        let reserved = reserved.into_iter().collect();
        DeviceConfig { function, unit, reserved, unowned: true, ..DeviceConfig::default() }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind: Kind { unit, background }, defaults, quarantine, second, .. } = self;
        let Self { in_the_way, opted_in, range, yields, seed, .. } = self;
        writeln!(f, "units of make {unit} over {background:?}, the second {second:?}")?;
        writeln!(f, "domains start with {defaults:?}, devices in quarantine over {quarantine:?}")?;
        writeln!(f, "domain 2 may have direct ranges: {opted_in}; device 3 has {range:x?}")?;
        writeln!(f, "memory of domain 1 where devices have ranges: {in_the_way}")?;
        write!(f, "a look in {yields} says to give way, seed {seed}")
    }
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
    pub(super) fn new(bed: &Bed<'_>, machine: &Machine, config: &Config) -> Self {
        let domain = |it: &DomainConfig| Domain {
            id: it.id,
            role: it.role,
            default: it.default_map,
            may_have_direct: it.opt_ins.contains(OptIns::DIRECT_RANGES),
            owned: false,
            dead: false,
            spaces: Default::default(),
            p2m: P2m::new(p2m(bed, it)),
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
        let found = |background| match background {
            Background::Fault => Found::Fault,
            Background::Scratch => Found::Scratch,
        };
        let mut world = Self {
            top: told.aperture_last.0,
            ram,
            background: found(machine.kind.background),
            quarantine: config.quarantine.map(found),
            holes: holes(machine.kind.unit),
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
