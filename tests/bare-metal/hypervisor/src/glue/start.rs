//! The service is started on what was found.

use core::sync::atomic::{AtomicBool, AtomicU64};

use pviommu_hypervisor::{
    Background, Context, Cpu, Device, DomainIommu, FaultRule, Iommu, Limits, Machine, OptIns, Role,
    Unit,
    abi::DomId,
    platform::UnitId,
    topology::{DirectRange, Topology},
    unit::driver::{Driver, Drivers},
};
use spin::{Mutex, Once};

use super::{MAX_DOMAINS, Platform, devices, firmware::Firmware, list, tables::TablePool, units};
use crate::{domains::FrameTable, machine::frames::FREE};

/// Words of 64 tags that each unit's account has: more contexts than there are here.
const TAG_WORDS: usize = 16;

/// What can be chosen.
#[derive(Clone, Copy)]
pub struct Setup {
    /// How many processors make calls.
    pub cpus: usize,
    /// Frames for page tables.
    pub table_frames: u32,
    /// What a device hits that nobody owns.
    pub quarantine: Background,
    /// Memory that firmware uses for devices and does not tell of.
    pub direct: &'static [DirectRange],
    /// What comes between the service and a driver: for tests that break something on purpose.
    pub between: fn(&'static dyn Driver) -> &'static dyn Driver,
}

impl Default for Setup {
    fn default() -> Self {
        let between = |driver| driver;
        Self { cpus: 1, table_frames: 4096, quarantine: Background::Fault, direct: &[], between }
    }
}

/// The hypervisor, running.
pub struct Hypervisor {
    /// The service.
    pub iommu: Iommu<'static, Platform>,
    /// What the service knows as devices.
    pub devices: &'static [Device<'static>],
    /// The functions and their groups.
    pub topology: Topology<'static>,
    /// Held while faults are told: one processor at a time does that.
    pub telling: Mutex<()>,
}

/// Starts the service. All memory that it is lent is lent for ever.
///
/// # Panics
/// If the machine cannot be served.
#[must_use]
pub fn start(rsdp: u64, setup: Setup) -> Hypervisor {
    // 1. Nothing does DMA, and nothing will that is not told to.
    devices::calm();
    // 2. The units refuse everything.
    let firmware = Firmware::read(rsdp);
    let found = units::bring_up(&firmware, setup.cpus);
    let drivers: &[_] = FREE.place(found.len(), |index| (setup.between)(found[index].0));
    let unreachable = list(|| found.iter().map(|(_, registers)| *registers));
    // 3. Who is behind which, and who is with whom.
    let all = || (0..).map(UnitId).zip(drivers);
    let isolated = || all().filter(|(_, driver)| driver.isolates_interrupts());
    let remapping = list(|| isolated().map(|(unit, _)| unit));
    let found = devices::find(&firmware, setup.direct, remapping);
    // 4. What the service needs room for.
    let tags = |_| -> &[_] { FREE.place(TAG_WORDS, |_| AtomicU64::new(0)) };
    let units = FREE.place(drivers.len(), |index| Unit::new(drivers[index].facts(), tags(index)));
    let cpus = FREE.place(setup.cpus, |_| Cpu::new());
    let quarantine = FREE.place_one(quarantine(found.devices, setup.quarantine));
    let machine = Machine {
        units,
        tables: None,
        devices: found.devices,
        sources: found.sources,
        quarantine: Some(quarantine),
        cpus,
        faults: FaultRule::default(),
        reserved: &[],
        unreachable,
    };
    let platform = Platform {
        frames: FrameTable::new(),
        tables: TablePool::new(setup.table_frames),
        drivers: Drivers(drivers),
        domains: FREE.place(MAX_DOMAINS, |_| Once::new()),
        direct: found.direct,
        impatient: AtomicBool::new(false),
    };
    let iommu = Iommu::new(platform, machine).unwrap_or_else(|wrong| panic!("{wrong}"));
    // 5. Until somebody gets them, devices reach what their firmware needs, and no more.
    for device in found.devices {
        let done = iommu.quarantine(0, device.function());
        done.unwrap_or_else(|errno| panic!("{} is not kept in: {errno:?}", device.function()));
    }
    let telling = Mutex::new(());
    Hypervisor { iommu, devices: found.devices, topology: found.topology, telling }
}

/// The pseudo-domain that devices are in which nobody owns: a context for each.
fn quarantine(devices: &[Device<'_>], background: Background) -> DomainIommu<'static> {
    const FRAMES_OF_A_DEVICE: u32 = 64;
    let contexts = FREE.place(devices.len(), |_| Context::new());
    let default_map_frames = FRAMES_OF_A_DEVICE * devices.len() as u32;
    let limits = Limits { max_contexts: 0, default_map_frames, ..Limits::default() };
    DomainIommu::new(DomId::IO, Role::Guest, contexts, limits)
        .with_background(background)
        .with_opt_ins(OptIns::DIRECT_RANGES)
}
