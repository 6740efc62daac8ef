//! What a machine is made of.

use pviommu_abi::{Bfn, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    Background, DefaultMap, DeviceFacts, FaultRule, GroupRule, Limits, OptIns, Reserved,
    ReservedKind, Risks, Role,
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::{Access, TableShape, UnitFacts, UnitId},
};

use super::{
    harsh::Harshness,
    sabotage::Break,
    unit_kind::{UnitKind, poor_facts, vtd_facts},
};
use crate::iommu::holes::HYPERTRANSPORT;

/// A machine, its domains and its devices.
#[derive(Clone, Debug)]
pub struct Config {
    /// The IOMMU units; the place in the list is the unit's number.
    pub units: Vec<UnitFacts>,
    /// The shape of all tables, or `None` for what all units can walk.
    pub tables: Option<TableShape>,
    /// The devices, in any order.
    pub devices: Vec<DeviceConfig>,
    /// The domains, in any order.
    pub domains: Vec<DomainConfig>,
    /// Number of CPUs that may make hypercalls at a time.
    pub cpus: usize,
    /// Page-table memory of the whole machine, in frames.
    pub table_frames: u32,
    /// What is wrong with the platform, if anything.
    pub sabotage: Option<Break>,
    /// What the machine does that it need not do.
    pub harshness: Harshness,
    /// Chooses how guest memory is scattered, and when the machine does what.
    pub seed: u64,
    /// Bus frames no guest may map anywhere.
    pub reserved: Vec<Reserved>,
    /// What a device in quarantine hits besides its direct ranges, or `None` for a machine that blocks
    /// devices which nobody owns.
    pub quarantine: Option<Background>,
    /// References a frame can hold before an acquire is refused (INV-24).
    pub max_references: u16,
    /// How many faults of a device are recorded, and how many stop it.
    pub faults: FaultRule,
}

/// A PCI function.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its name, which is also the name guests know it by.
    pub function: PciDevice,
    /// The unit it is behind.
    pub unit: UnitId,
    /// Bus frames reserved for it; what `Direct` ranges name exists as firmware memory.
    pub reserved: Vec<Reserved>,
    /// The domain it is assigned to at the start.
    pub owner: DomId,
    /// It is assigned to none.
    pub unowned: bool,
    /// It is not plugged in at the start.
    pub absent: bool,
    /// Functions that are one device with it: their requests cannot be told apart.
    pub functions: Vec<PciDevice>,
    /// What its requests may be known by besides the numbers of its functions.
    pub aliases: Vec<PciDevice>,
    /// Those with the same number are given to one domain or to none.
    pub group: Option<u32>,
    /// A function of its group is behind no unit.
    pub beside_untranslated: bool,
    /// What the embedder vouches for.
    pub facts: DeviceFacts,
    /// The risks that are accepted with it from the start.
    pub risks: Risks,
}

/// A domain.
#[derive(Clone, Debug)]
pub struct DomainConfig {
    /// Its number.
    pub id: DomId,
    /// What it may do.
    pub role: Role,
    /// Its quotas.
    pub limits: Limits,
    /// What a bus frame that nobody mapped hits, in contexts that do not choose.
    pub background: Background,
    /// The map its devices start with.
    pub default_map: DefaultMap,
    /// The risks that are taken for it.
    pub opt_ins: OptIns,
    /// How it may place devices of one group.
    pub group_rule: GroupRule,
    /// Guest frames that are RAM, scattered over the machine page by page.
    pub ram: Vec<GfnRange>,
    /// Guest frames that are device registers.
    pub mmio: Vec<GfnRange>,
    /// Those of them that may only be read (MSI-X tables).
    pub mmio_read_only: Vec<GfnRange>,
    /// Parts of the RAM, naturally aligned blocks of 2 MiB or 1 GiB, whose machine frames follow
    /// each other and are aligned alike.
    pub contiguous: Vec<GfnRange>,
    /// Most page-table frames it is given, or as many as there are.
    pub table_frames: Option<u32>,
}

impl Default for Config {
    /// One VT-d unit as [`vtd_facts`] has it, one CPU, the interrupt window reserved, 64 MiB of
    /// page-table memory; no device and no domain.
    fn default() -> Self {
        let window = BfnRange::new(Bfn(0xfee00), Bfn(0xfeeff)).unwrap();
        Self {
            units: vec![vtd_facts()],
            tables: None,
            devices: Vec::new(),
            domains: Vec::new(),
            cpus: 1,
            table_frames: 16384,
            sabotage: None,
            harshness: Harshness::ALL,
            seed: 1,
            reserved: vec![reserved(window, ReservedKind::Msi)],
            quarantine: None,
            max_references: u16::MAX,
            faults: FaultRule::default(),
        }
    }
}

impl Config {
    /// The default machine with domain 1, which has `pages` pages of RAM from guest frame 0 on,
    /// and one device, 00:03.0.
    #[must_use]
    pub fn one_guest(pages: u64) -> Self {
        let domain = DomainConfig {
            ram: vec![GfnRange::of_pages(Gfn(0), pages).unwrap()],
            ..DomainConfig::default()
        };
        let function = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };
        let device = DeviceConfig { function, ..DeviceConfig::default() };
        Self { domains: vec![domain], devices: vec![device], ..Self::default() }
    }

    /// The same with units of this make, each as like the one it replaces as can be.
    #[must_use]
    pub fn on(mut self, kind: UnitKind) -> Self {
        self.units.iter_mut().for_each(|unit| *unit = kind.like(unit));
        let shape = self.tables.as_mut();
        shape.into_iter().for_each(|shape| shape.format = kind.format());
        self
    }

    /// Bus frames no guest may map anywhere: those listed, and those behind which its units have no
    /// memory.
    #[must_use]
    pub fn reserved_by_machine(&self) -> Vec<Reserved> {
        let amd = self.units.iter().any(|unit| unit.format == UnitKind::AmdVi.format());
        let hole = BfnRange::new(Bfn(*HYPERTRANSPORT.start()), Bfn(*HYPERTRANSPORT.end()));
        let hole = hole.filter(|_| amd).map(|hole| reserved(hole, ReservedKind::Reserved));
        self.reserved.iter().copied().chain(hole).collect()
    }

    /// The same with this background for all domains.
    #[must_use]
    pub fn with_background(mut self, background: Background) -> Self {
        self.domains.iter_mut().for_each(|domain| domain.background = background);
        self
    }

    /// The same with this default map for all domains, and table frames for it.
    #[must_use]
    pub fn with_default_map(mut self, map: DefaultMap) -> Self {
        for domain in &mut self.domains {
            domain.default_map = map;
            domain.limits.default_map_frames = Limits::default().default_map_frames;
        }
        self
    }

    /// The same with quarantine over this background.
    #[must_use]
    pub fn with_quarantine(mut self, background: Background) -> Self {
        self.quarantine = Some(background);
        self
    }

    /// The same, where devices may have direct ranges whoever owns them: with quarantine, and with
    /// the opt-in and some table frames for all domains.
    #[must_use]
    pub fn with_direct_ranges(mut self) -> Self {
        for domain in &mut self.domains {
            domain.opt_ins |= OptIns::DIRECT_RANGES;
            let frames = &mut domain.limits.default_map_frames;
            *frames = (*frames).max(Limits::default().default_map_frames);
        }
        self.quarantine = self.quarantine.or(Some(Background::Fault));
        self
    }

    /// The machine of [`one_guest`](Self::one_guest) with a second device, 00:04.0, behind a
    /// second unit, which is as [`poor_facts`] has it.
    #[must_use]
    pub fn unlike_pair(pages: u64) -> Self {
        let mut config = Self::one_guest(pages);
        let function = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
        let unit = UnitId(1);
        config.units.push(poor_facts());
        config.devices.push(DeviceConfig { function, unit, ..DeviceConfig::default() });
        config
    }
}

impl Default for DeviceConfig {
    /// Function 00:00.0 behind unit 0, owned by domain 1; its interrupts are isolated.
    fn default() -> Self {
        let function = PciDevice { seg: 0, bus: 0, devfn: 0 };
        Self {
            function,
            unit: UnitId(0),
            reserved: Vec::new(),
            owner: DomId(1),
            unowned: false,
            absent: false,
            functions: Vec::new(),
            aliases: Vec::new(),
            group: None,
            beside_untranslated: false,
            facts: DeviceFacts::INTERRUPTS_ISOLATED,
            risks: Risks::empty(),
        }
    }
}

impl DeviceConfig {
    /// The functions that it is, the first one first.
    #[must_use]
    pub fn functions(&self) -> Vec<PciDevice> {
        std::iter::once(self.function).chain(self.functions.iter().copied()).collect()
    }

    /// What its requests are known by, the numbers of its functions first.
    #[must_use]
    pub fn sources(&self) -> Vec<PciDevice> {
        self.functions().into_iter().chain(self.aliases.iter().copied()).collect()
    }

    /// The frames of its direct ranges.
    pub fn direct(&self) -> impl Iterator<Item = MfnRange> {
        let direct = self.reserved.iter().filter(|range| range.kind == ReservedKind::Direct);
        direct.filter_map(|reserved| {
            MfnRange::new(Mfn(reserved.range.first().0), Mfn(reserved.range.last().0))
        })
    }
}

impl Default for DomainConfig {
    /// Domain 1, a guest with default limits and without memory.
    fn default() -> Self {
        Self {
            id: DomId(1),
            role: Role::Guest,
            limits: limits(),
            background: Background::Scratch,
            default_map: DefaultMap::Blocked,
            opt_ins: OptIns::empty(),
            group_rule: GroupRule::EachAlone,
            ram: Vec::new(),
            mmio: Vec::new(),
            mmio_read_only: Vec::new(),
            contiguous: Vec::new(),
            table_frames: None,
        }
    }
}

/// The usual limits, but no table frames before the guest has asked for some: what a test counts
/// is then its own.
#[must_use]
pub fn limits() -> Limits {
    Limits { default_map_frames: 0, ..Limits::default() }
}

/// A reserved range that permits everything, where that is asked for.
#[must_use]
pub const fn reserved(range: BfnRange, kind: ReservedKind) -> Reserved {
    Reserved { range, kind, access: Access::all() }
}
