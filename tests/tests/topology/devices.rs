//! From a topology to the devices of a machine, and from registers to facts.

use std::collections::BTreeMap;

use pviommu_hypervisor::{
    Device, Machine as Service, SourceEntry,
    platform::SourceId,
    topology::{Acs, Contradiction, Function, Kind, Mode},
};
use pviommu_testbed::{
    machine::{ConfigSpace, devices},
    pci::{Capture, convert, random::random},
};

use crate::kit::{COMPLETE, captures, handmade};

/// Each function that may be given away is one device's, no id is two devices', and a device has one group:
/// what the service would refuse otherwise.
fn check(capture: &Capture) {
    let mut machine = convert::Machine::new(capture);
    let topology = machine.topology(Mode::Safe).unwrap();
    let devices = devices(&topology, None);
    let aliases: Vec<Vec<SourceId>> = devices
        .iter()
        .map(|device| device.aliases.iter().copied().map(SourceId).collect())
        .collect();
    let listed: Vec<Device<'_>> = devices
        .iter()
        .zip(&aliases)
        .map(|(device, aliases)| {
            let listed = Device::new(device.function, device.unit, &[]);
            listed.with_functions(&device.functions).with_aliases(aliases)
        })
        .collect();
    let mut room = vec![SourceEntry::default(); Service::count_sources(&listed)];
    let indexed = Service::index_sources(&listed, &mut room);
    assert!(indexed.is_ok(), "{}: {:?}", capture.name, indexed.map(|_| ()));
    let mut of = BTreeMap::new();
    for device in &devices {
        for function in device.functions() {
            let group = topology.group_of(function).map(|group| group.number());
            assert_eq!(group, device.group, "{}: {function}", capture.name);
            assert!(of.insert(function.sbdf(), device.function).is_none());
            topology.ids_of(function, &mut |id| {
                assert!(device.sources().contains(&id.0), "{}: {function} {id:?}", capture.name);
            });
        }
    }
    for function in topology.functions() {
        let given = function.buses.is_none() && function.unit.is_some();
        assert_eq!(of.contains_key(&function.address.sbdf()), given, "{}", capture.name);
    }
}

#[test]
fn no_id_is_that_of_two_devices_in_any_capture() {
    for file in COMPLETE.into_iter().chain(["real-partial.json.gz"]) {
        captures(file).iter().for_each(check);
    }
}

#[test]
fn no_id_is_that_of_two_devices_in_topologies_that_are_made_up() {
    (0..2_000).for_each(|seed| check(&random(seed)));
}

/// A bridge is none, and its id is one of those of what is below it; what is behind no unit is none either.
#[test]
fn bridges_and_what_is_behind_no_unit_are_no_devices() -> Result<(), Contradiction> {
    let capture = handmade("pcie-pci");
    let named = |devices: &[pviommu_testbed::machine::DeviceConfig]| {
        let text = |names: &[pviommu_hypervisor::abi::PciDevice]| {
            names.iter().map(|it| it.to_string()[5..].to_owned()).collect::<Vec<_>>().join(" ")
        };
        devices
            .iter()
            .map(|device| format!("{} | {}", text(&device.functions()), text(&device.aliases)))
            .collect::<Vec<_>>()
    };
    let mut machine = convert::Machine::new(&capture);
    let all = devices(&machine.topology(Mode::Safe)?, None);
    assert_eq!(named(&all), ["00:00.0 | ", "04:00.0 04:01.0 | 03:00.0"]);
    let mut capture = capture;
    for group in &mut capture.linux_groups {
        group.retain(|name| name.to_string() != "04:00.0");
    }
    let mut machine = convert::Machine::new(&capture);
    let all = devices(&machine.topology(Mode::Safe)?, None);
    assert_eq!(named(&all), ["00:00.0 | ", "04:01.0 | 03:00.0 04:00.0"], "an id stays an id");
    Ok(())
}

/// What tests write registers to shows what it was made from, to either reader.
#[test]
fn configuration_space_that_is_laid_out_is_read_as_it_was_meant() {
    let without_place = |function: &Function| {
        let acs = match function.acs {
            Acs::Present { capability, control, .. } => Acs::Present { capability, control, at: 0 },
            none => none,
        };
        (function.address, function.kind, function.buses, acs, function.identity, function.windows)
    };
    for capture in captures("handmade.json") {
        let functions = convert::functions(&capture);
        let known = |it: &&Function| it.kind != Kind::Unknown && it.acs != Acs::Unknown;
        let functions: Vec<_> = functions.iter().filter(known).copied().collect();
        let space = ConfigSpace::new(&functions);
        let expected: BTreeMap<u32, _> =
            functions.iter().map(|it| (it.address.sbdf(), without_place(it))).collect();
        for readers in [space.read(), convert::functions(&space.capture())] {
            let read: BTreeMap<u32, _> =
                readers.iter().map(|it| (it.address.sbdf(), without_place(it))).collect();
            assert_eq!(read, expected, "{}", capture.name);
        }
    }
}
