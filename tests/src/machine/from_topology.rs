//! The devices of a machine, from its functions and their groups.
//!
//! What shares a requester id is one device. A bridge is none, and the ids that it puts in the place of
//! others are those of what is below it. A function that is behind no unit is none either.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    DeviceFacts, Reserved,
    platform::SourceId,
    topology::{Function, RangeList, Regions, Topology, merge},
};

use super::config::{Config, DeviceConfig};

/// More ids than the requests of one device can carry in any machine that is tested.
const IDS: usize = 4096;

/// The devices of `topology`, in the order of their first functions, which nobody has. What is reserved for
/// them, and whether their interrupts are isolated, is as `regions` has it; without that nothing is
/// reserved, and interrupts are isolated.
///
/// # Panics
/// If there is no room for the ids or the ranges of a device, or its functions are behind several units.
#[must_use]
pub fn devices(topology: &Topology<'_>, regions: Option<&Regions<'_>>) -> Vec<DeviceConfig> {
    let device = |function: &Function| device(topology, regions, function);
    topology.functions().filter(|function| is_device(function)).filter_map(device).collect()
}

fn is_device(function: &Function) -> bool {
    function.buses.is_none() && function.unit.is_some()
}

/// The device of which `first` is the first function; `None` if it is not that of any.
fn device(
    topology: &Topology<'_>,
    regions: Option<&Regions<'_>>,
    first: &Function,
) -> Option<DeviceConfig> {
    let moving = || topology.moving_with(first.address).filter(|it| it.unit.is_some());
    let functions: Vec<PciDevice> =
        moving().filter(|it| is_device(it)).map(|it| it.address).collect();
    if functions.first() != Some(&first.address) {
        return None;
    }
    let unit = first.unit.expect("it is behind a unit");
    assert!(moving().all(|it| it.unit == Some(unit)), "{} is behind two units", first.address);
    let mut room = [SourceId(first.address); IDS];
    let ids = topology.ids_moving_with(first.address, &mut room).expect("there is room");
    let aliases = ids.iter().map(|id| id.0).filter(|id| !functions.contains(id)).collect();
    let isolated = regions
        .is_none_or(|regions| moving().all(|function| regions.msi().judge(function).isolated()));
    Some(DeviceConfig {
        function: first.address,
        unit,
        reserved: regions.map_or_else(Vec::new, |it| reserved(topology, it, moving())),
        unowned: true,
        functions: functions[1..].to_vec(),
        aliases,
        group: topology.group_of(first.address).map(|group| group.number()),
        beside_untranslated: topology
            .group_of(first.address)
            .is_some_and(|group| !group.is_translated()),
        facts: if isolated { DeviceFacts::INTERRUPTS_ISOLATED } else { DeviceFacts::empty() },
        ..DeviceConfig::default()
    })
}

/// What is reserved for any of `functions`.
fn reserved<'t>(
    topology: &Topology<'_>,
    regions: &Regions<'_>,
    functions: impl Iterator<Item = &'t Function>,
) -> Vec<Reserved> {
    let mut all = Vec::new();
    for function in functions {
        let mut own = RangeList::new();
        let above = topology.bridges_above(function.address);
        regions.of(function, above, &mut own).expect("no more than a device can have");
        all.extend_from_slice(&own);
    }
    let mut merged = RangeList::new();
    merge(all.into_iter(), &mut merged).expect("no more than a device can have");
    merged.to_vec()
}

impl Config {
    /// The same with the [`devices`] of `topology`, and as many units as they are behind. With `regions` the
    /// devices say what is reserved, and not the machine.
    ///
    /// # Panics
    /// As [`devices`].
    #[must_use]
    pub fn with_topology(mut self, topology: &Topology<'_>, regions: Option<&Regions<'_>>) -> Self {
        self.devices = devices(topology, regions);
        if regions.is_some() {
            self.reserved.clear();
        }
        let last = self.devices.iter().map(|device| usize::from(device.unit.0)).max();
        let units = last.map_or(0, |last| last + 1).max(self.units.len());
        self.units.resize(units, self.units[0]);
        self
    }
}
