//! Statistics add up, and are what the machine shows.

use pviommu_abi::{Bfn, ContextId, Errno, OwnershipMode, PciDevice, Subop, TakeOwnership};
use pviommu_hypervisor::{
    DefaultMap, Reserved, ReservedKind,
    addr::BfnRange,
    operator::{ContextState, ContextStats, DeviceHome, DeviceStats, EditedBy, UnitStats},
    platform::{Access, UnitId},
};
use pviommu_testbed::{
    iommu::DeviceEntry,
    machine::{Config, DeviceConfig, Step, When},
};

use crate::{
    kinds,
    kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest},
};

const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };

fn context(vm: &Vm<'_>, id: ContextId) -> Option<ContextStats> {
    vm.bed.iommu().context_stats(vm.bed.domain(GUEST), id)
}

fn unit(vm: &Vm<'_>, id: u16) -> UnitStats {
    vm.bed.iommu().unit_stats(UnitId(id)).unwrap()
}

fn device(vm: &Vm<'_>, function: PciDevice) -> DeviceStats {
    vm.bed.iommu().device_stats(function).unwrap()
}

/// Two devices behind two units, the first with a range of its own.
fn config() -> Config {
    let mut config = Config::unlike_pair(64).with_direct_ranges();
    let range = BfnRange::of_pages(Bfn(0x8000), 3).unwrap();
    let direct = Reserved { range, kind: ReservedKind::Direct, access: Access::all() };
    config.devices[0].reserved = vec![direct];
    config.with_quarantine(kinds::background())
}

/// Root, tag and units are those that the device entries name.
#[test]
fn a_context_is_told_as_the_units_have_it() {
    with(&config(), |vm| {
        let id = vm.attached_context();
        assert_eq!(vm.attach(SECOND, id), 0);
        let stats = context(vm, id).unwrap();
        assert_eq!((stats.state, stats.edited_by), (ContextState::Live, EditedBy::Guest));
        assert_eq!((stats.background, stats.frozen), (kinds::background(), false));
        assert_eq!(stats.units().len(), 2);
        for (function, unit) in [(DEVICE, 0), (SECOND, 1)] {
            let its = stats.units().iter().find(|its| its.unit == UnitId(unit)).unwrap();
            assert_eq!((its.devices, its.failed), (1, false));
            let entries = vm.bed.board().device_entries(function);
            let DeviceEntry::Translated { root, tag, .. } = entries[0] else {
                unreachable!("{entries:?}")
            };
            assert_eq!((root, tag), (stats.root, its.tag));
        }
        assert_eq!(stats.reserved(), &config().devices[0].reserved[..]);
        assert_eq!(vm.map(id, 5, 1, 1, RW), (0, 1));
        assert_eq!(vm.unmap(id, 5, 1), (0, 1));
        assert!(context(vm, id).unwrap().kept_tables > stats.kept_tables);
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        let stats = context(vm, id).unwrap();
        assert_eq!((stats.units().len(), stats.reserved().len()), (1, 0));
        for missing in [ContextId::DEFAULT, ContextId(7), ContextId(999)] {
            assert!(context(vm, missing).is_none(), "{missing}");
        }
        vm.end();
    });
}

/// Who may edit is whom the service lets.
#[test]
fn who_edits_the_default_context_is_told() {
    let maps = [
        (DefaultMap::Guest, EditedBy::Nobody),
        (DefaultMap::IdentityGfn, EditedBy::Hypervisor),
        (DefaultMap::IdentityMfn, EditedBy::Hypervisor),
    ];
    for (map, expected) in maps {
        with(&Config::one_guest(64).with_default_map(map), |vm| {
            let edited_by = || context(vm, ContextId::DEFAULT).unwrap().edited_by;
            assert_eq!(edited_by(), expected);
            let edit = || vm.map(ContextId::DEFAULT, 0x1000, 1, 1, RW).0;
            assert_ne!(edit(), 0);
            if expected == EditedBy::Nobody {
                let mode = OwnershipMode::KEEP;
                let mut take = TakeOwnership { mode, ..TakeOwnership::default() };
                assert_eq!(vm.op(Subop::TAKE_OWNERSHIP, &mut take), 0);
                assert_eq!((edited_by(), edit()), (EditedBy::Guest, 0));
            }
            vm.end();
        });
    }
}

/// Whatever is done, the devices of the contexts of a unit are those that are assigned behind it, and
/// its tags are theirs.
#[test]
fn devices_and_tags_add_up() {
    let mut config = Config::one_guest(64);
    for n in 4..9 {
        let function = PciDevice { seg: 0, bus: 0, devfn: n << 3 };
        config.devices.push(DeviceConfig { function, unowned: n > 6, ..DeviceConfig::default() });
    }
    let functions: Vec<_> = config.devices.iter().map(|device| device.function).collect();
    with(&config, |vm| {
        let contexts: Vec<_> = (0..3).map(|_| vm.context()).collect();
        for round in 0..40 {
            let function = functions[round * 7 % functions.len()];
            match round % 5 {
                4 if device(vm, function).owner.is_none() => {
                    assert_eq!(vm.bed.assign(GUEST, function), Ok(()));
                }
                4 => assert_eq!(vm.bed.unassign(GUEST, 0, function), Ok(())),
                n if device(vm, function).owner.is_some() => {
                    let to = contexts.get(n).copied().unwrap_or(ContextId::DEFAULT);
                    assert_eq!(vm.attach(function, to), 0);
                }
                _ => {}
            }
            let all: Vec<_> = functions.iter().map(|function| device(vm, *function)).collect();
            let stats: Vec<_> = contexts.iter().map(|id| context(vm, *id).unwrap()).collect();
            for (id, stats) in contexts.iter().zip(&stats) {
                let home = DeviceHome::Context(Some(*id));
                let there = all.iter().filter(|device| device.home == home).count();
                let told: u32 = stats.units().iter().map(|unit| unit.devices).sum();
                assert_eq!(told as usize, there, "{stats:?}");
            }
            let unit = unit(vm, 0);
            assert_eq!((unit.devices as usize, unit.broken), (functions.len(), 0));
            let owned = all.iter().filter(|device| device.owner == Some(GUEST)).count();
            assert_eq!(unit.assigned as usize, owned);
            let tags: usize = stats.iter().map(|stats| stats.units().len()).sum();
            assert_eq!((unit.tags_used as usize, unit.tags_allowed), (tags, 255));
        }
        vm.end();
        assert_eq!(unit(vm, 0).tags_used, 0);
    });
}

#[test]
fn a_unit_that_failed_and_a_context_that_is_frozen_are_told() {
    with_guest(64, |vm| {
        let id = vm.attached_context();
        assert!(!unit(vm, 0).failed && unit(vm, 0).serves);
        assert_eq!(vm.map(id, 16, 1, 1, RW), (0, 1));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.unmap(id, 16, 1).0, err(Errno::EIO));
        vm.bed.schedule().clear();
        let stats = context(vm, id).unwrap();
        assert!(stats.frozen && stats.units()[0].failed && unit(vm, 0).failed);
        assert_eq!(vm.bed.iommu().unit_stats(UnitId(1)), None);
        assert_eq!(vm.bed.iommu().device_stats(SECOND), None);
        let _ = vm.bed.teardown(GUEST, 0);
    });
}

/// One line each, for a console.
#[test]
fn a_device_is_told_in_a_line() {
    with(&config(), |vm| {
        let said = || device(vm, DEVICE).to_string();
        assert_eq!(said(), "0000:00:03.0 behind unit 0, of domain 1, in quarantine");
        let id = vm.attached_context();
        assert_eq!(said(), format!("0000:00:03.0 behind unit 0, of domain 1, in context {id}"));
        assert_eq!(
            device(vm, SECOND).to_string(),
            "0000:00:04.0 behind unit 1, of domain 1, blocked"
        );
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(said(), "0000:00:03.0 behind unit 0, of nobody, in quarantine");
        vm.end();
    });
}
