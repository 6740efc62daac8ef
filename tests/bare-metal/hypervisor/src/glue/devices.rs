//! From what answers on the bus to the list of devices: groups, ids, reserved ranges, interrupts.

use pviommu_hypervisor::{
    Device, Machine, Reserved, SourceEntry,
    platform::{SourceId, UnitId},
    topology::{
        self, BringUp, DirectRange, Function, HostBuses, HostWindow, Mode, MsiController,
        MsiPlatform, Node, PeerToPeer, RangeList, Regions, RegisterSpace, Topology, Window,
        enabling, merge,
    },
};

use super::{firmware::Firmware, list};
use crate::machine::{frames::FREE, pci};

/// What this machine's host bridge forwards to devices: DMA to there would not reach memory. The resources
/// of the host bridge in ACPI's name space say it; this one is always the same.
const HOST_WINDOW: HostWindow = HostWindow {
    buses: HostBuses { segment: 0, first: 0, last: 255 },
    window: Window { first: 0xc000_0000, last: 0xfebf_ffff },
};

/// What there is of devices.
pub struct Found {
    /// The functions and their groups.
    pub topology: Topology<'static>,
    /// Memory that firmware uses for them.
    pub direct: &'static [DirectRange],
    /// What the service knows as devices.
    pub devices: &'static [Device<'static>],
    /// Their ids.
    pub sources: &'static [SourceEntry],
}

/// Switches access control on, and stops what firmware or a boot loader may have left running.
pub fn calm() {
    for address in pci::functions() {
        let Ok(function) = Function::from_config(address, &pci::space(address)) else { continue };
        for change in enabling(&function, BringUp::default()) {
            // Chipsets with registers in memory for that are older than what is emulated here.
            if let RegisterSpace::Config(function) = change.space {
                pci::change(function, change.offset as u16, change.clear, change.set);
            }
        }
        // A bridge has to pass on what is below it; all others are silent until somebody has them.
        if function.buses.is_none() {
            pci::command(address, pci::BUS_MASTER, false);
        }
    }
}

/// Lists the devices. `more` is memory that firmware forgot to tell of; `remapping` are the units that keep
/// interrupts apart.
///
/// # Panics
/// If there cannot be such a machine.
#[must_use]
pub fn find(firmware: &Firmware, more: &'static [DirectRange], remapping: &[UnitId]) -> Found {
    let fact = |address| Function::from_config(address, &pci::space(address)).ok();
    let mut addresses = pci::functions();
    let functions = FREE.place(pci::functions().count(), |_| {
        let function = addresses.next().and_then(fact).expect("it answered before");
        Function { unit: firmware.unit_of(function.address, &fact), ..function }
    });
    let functions: &'static [Function] = functions;
    let told = firmware.direct(functions, &fact);
    let direct = FREE.place(told.len() + more.len(), |index| {
        *told.iter().chain(more).nth(index).expect("so many there are")
    });
    direct.sort_unstable_by_key(|range| range.bytes.first);

    let lists = topology::Firmware {
        aliases: firmware.aliases(functions),
        direct,
        amd_ivrs: matches!(firmware, Firmware::Ivrs(_)),
    };
    let nodes = FREE.place(functions.len(), |index| {
        Node::new(*functions.get(index).expect("so many there are"))
    });
    let topology = Topology::build(nodes, functions.len(), lists, Mode::Safe);
    let topology = topology.unwrap_or_else(|wrong| panic!("{wrong}"));
    let msi = MsiPlatform {
        controllers: &[MsiController::x86(true)],
        software_window: MsiPlatform::USUAL_WINDOW,
        remapping,
    };
    let regions = Regions::new(direct, &[HOST_WINDOW], msi, PeerToPeer::Reserved);
    let regions = regions.unwrap_or_else(|wrong| panic!("{wrong}"));

    let firsts = || topology.functions().filter(|function| is_first(&topology, function));
    let mut next = firsts();
    let devices = FREE.place(firsts().count(), |_| {
        device(&topology, &regions, next.next().expect("so many there are"))
    });
    let room = FREE.place(Machine::count_sources(devices), |_| SourceEntry::default());
    let sources = Machine::index_sources(devices, room).unwrap_or_else(|wrong| panic!("{wrong}"));
    drop(next);
    Found { topology, direct, devices, sources }
}

/// A bridge is no device, nor is what no unit translates.
fn is_device(function: &Function) -> bool {
    function.buses.is_none() && function.unit.is_some()
}

/// True for the first function of those that are one device, because requests of all can carry one id.
fn is_first(topology: &Topology<'_>, function: &Function) -> bool {
    let mut together = topology.moving_with(function.address).filter(|it| is_device(it));
    together.next().is_some_and(|first| first.address == function.address)
}

fn device(topology: &Topology<'_>, regions: &Regions<'_>, first: &Function) -> Device<'static> {
    let unit = first.unit.expect("a device is behind a unit");
    let together = || topology.moving_with(first.address).filter(|it| is_device(it));
    let functions = list(|| together().map(|it| it.address).skip(1));
    let mut room = [SourceId(first.address); 256];
    let ids = topology.ids_moving_with(first.address, &mut room).expect("a bus has so many");
    let is_function = |id: &SourceId| together().any(|it| it.address == id.0);
    let aliases = list(|| ids.iter().copied().filter(|id| !is_function(id)));

    let mut reserved = RangeList::new();
    for function in together() {
        let (mut own, before) = (RangeList::new(), reserved.clone());
        let above = topology.bridges_above(function.address);
        regions.of(function, above, &mut own).expect("a device has few ranges");
        let all = before.iter().chain(&own).copied();
        merge(all, &mut reserved).expect("a device has few ranges");
    }
    let reserved: &'static [Reserved] = list(|| reserved.iter().copied());

    let group = topology.group_of(first.address).expect("each function is in a group");
    let device = Device::new(first.address, unit, reserved)
        .with_functions(functions)
        .with_aliases(aliases)
        .with_group(group.number())
        .with_facts(regions.msi().judge(first).facts());
    if group.is_translated() { device } else { device.beside_untranslated() }
}
