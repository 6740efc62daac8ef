//! What is found by sorting is what sets say.

#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

use proptest::{collection::vec, option, prelude::*};
use pviommu_abi::PciDevice;

use super::*;
use crate::platform::UnitId;

/// Most devices of a random machine.
const MOST: usize = 12;

fn function(at: usize) -> PciDevice {
    PciDevice::from_sbdf(u32::try_from(at).unwrap())
}

/// The devices that `at` is of one group with, by these numbers; what is absent is alone.
fn members(groups: &[Option<u32>], absent: &[bool], at: usize) -> Vec<usize> {
    let group = |at: usize| groups[at].filter(|_| !absent[at]);
    let same = |other: &usize| *other == at || group(at).is_some() && group(*other) == group(at);
    (0..groups.len()).filter(same).collect()
}

/// A machine: the old and the new number of each device, and whether it is not there.
fn machine() -> impl Strategy<Value = Vec<(Option<u32>, Option<u32>, bool)>> {
    let number = || option::weighted(0.8, prop_oneof![0..4u32, Just(u32::MAX)]);
    vec((number(), number(), proptest::bool::weighted(0.1)), 0..MOST)
}

proptest! {
    #[test]
    fn a_device_is_marked_if_and_only_if_the_members_of_its_group_are_others(
        machine in machine()
    ) {
        let old: Vec<_> = machine.iter().map(|it| it.0).collect();
        let new: Vec<_> = machine.iter().map(|it| it.1).collect();
        let absent: Vec<_> = machine.iter().map(|it| it.2).collect();
        let devices: Vec<_> = machine.iter().enumerate().map(|(at, (old, _, absent))| {
            let device = Device::new(function(at), UnitId(0), &[]);
            let device = old.iter().fold(device, |device, group| device.with_group(*group));
            if *absent { device.unplugged() } else { device }
        }).collect();
        let mut entries: Vec<_> = new.iter().map(|group| NewGroup::new(*group)).collect();
        mark_changed(&mut entries, &devices);
        // Each group once, and nobody is lost.
        let mut seen = 0;
        each_group(&mut entries, &devices, Side::New, |found| {
            let first = usize::try_from(found[0].device).unwrap();
            assert_eq!(found.len(), members(&new, &absent, first).len());
            seen += found.len();
        });
        prop_assert_eq!(seen, devices.len());
        restore_order(&mut entries);
        for (at, entry) in entries.iter().enumerate() {
            let same = members(&old, &absent, at) == members(&new, &absent, at);
            prop_assert_eq!(entry.fate() == Fate::Unchanged, same, "device {}", at);
            prop_assert_eq!(entry.group(), new[at], "in the order of the devices");
        }
    }
}

/// What is worse stays.
#[test]
fn a_fate_is_only_worsened() {
    let mut entry = NewGroup::new(None);
    for fate in [Fate::Changed, Fate::Stopped, Fate::Tainted, Fate::Unchanged] {
        entry.worsen(fate);
    }
    assert_eq!(entry.fate(), Fate::Stopped);
}
