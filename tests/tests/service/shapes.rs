//! Tables of one shape, and units that can walk it or not.

use pviommu_abi::{ContextId, Errno, PciDevice};
use pviommu_hypervisor::{
    Background, DefaultMap, SetupError,
    format::FormatKind,
    platform::{TableShape, UnitFacts, UnitFeatures, UnitId},
};
use pviommu_testbed::machine::{Bed, Config, DeviceConfig, UnitKind, try_run};

use crate::{
    kinds,
    kit::{DEVICE, GUEST, RW, Vm, err},
};

const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
const DEPTHS: UnitFeatures =
    UnitFeatures::LEVELS_3.union(UnitFeatures::LEVELS_4).union(UnitFeatures::LEVELS_5);

/// A usual unit of this make that walks tables of these depths only.
fn unit(kind: UnitKind, depths: UnitFeatures, bus_address_bits: u8) -> UnitFacts {
    let facts = kind.facts();
    UnitFacts { features: (facts.features - DEPTHS) | depths, bus_address_bits, ..facts }
}

/// A guest with [`DEVICE`] behind the first unit, and [`SECOND`] behind the second.
fn config(first: UnitFacts, second: UnitFacts, tables: Option<TableShape>) -> Config {
    let mut config = Config::one_guest(64).with_background(kinds::background());
    config.units = vec![first, second];
    config.tables = tables;
    let unit = UnitId(1);
    config.devices.push(DeviceConfig { function: SECOND, unit, ..DeviceConfig::default() });
    config
}

fn of_two_makes(tables: Option<TableShape>) -> Config {
    config(UnitKind::Vtd.facts(), UnitKind::AmdVi.facts(), tables)
}

/// Tables of the first unit, which the second one cannot walk.
fn shape(format: FormatKind, levels: u8) -> Option<TableShape> {
    Some(TableShape { format, levels })
}

fn refusal(config: &Config) -> Option<SetupError> {
    try_run(config, |_| ()).err()
}

#[test]
fn a_machine_of_two_makes_has_to_say_whose_tables_it_uses() {
    let refused = refusal(&of_two_makes(None));
    assert_eq!(refused, Some(SetupError::MixedFormats(UnitId(0), UnitId(1))));
    let said = refused.unwrap().to_string();
    assert!(said.contains("units 0 and 1") && said.contains("has to say"), "{said}");
    for kind in UnitKind::ALL {
        let expected = (!kind.is_built()).then(|| SetupError::FormatNotBuilt(kind.format()));
        assert_eq!(refusal(&of_two_makes(shape(kind.format(), 4))), expected);
    }
}

/// Whether the units ask for it or the machine.
#[test]
fn a_machine_whose_tables_are_of_a_format_that_is_not_built_in_is_refused() {
    for kind in UnitKind::ALL {
        let facts = kind.facts();
        let refused = refusal(&config(facts, facts, None));
        assert_eq!(refused.is_some(), !kind.is_built(), "{kind}");
        if let Some(refused) = refused {
            assert_eq!(refused, SetupError::FormatNotBuilt(kind.format()));
            assert!(refused.to_string().ends_with("is not built in"), "{refused}");
        }
    }
}

#[test]
fn a_machine_without_a_common_depth_has_to_say_which_it_uses() {
    let [three, four] = [UnitFeatures::LEVELS_3, UnitFeatures::LEVELS_4];
    let units = [unit(kinds::unit(), three, 39), unit(kinds::unit(), four, 48)];
    let format = kinds::unit().format();
    assert_eq!(refusal(&config(units[0], units[1], None)), Some(SetupError::NoCommonLevels));
    assert_eq!(refusal(&config(units[0], units[1], shape(format, 3))), None);
    let five = TableShape { format, levels: 5 };
    let refused = refusal(&config(units[0], units[1], Some(five)));
    assert_eq!(refused, Some(SetupError::NoUnitWalks(five)));
}

/// Maps and does DMA at the first and the last page of a context that has `bits` bits of addresses.
fn is_served(bed: &Bed<'_>, device: PciDevice, bits: u32) {
    let vm = Vm::new(bed, GUEST, 0);
    assert_eq!(bed.assign(GUEST, device), Ok(()));
    let context = vm.context();
    assert_eq!(vm.attach(device, context), 0);
    let last = (1u64 << (bits - 12)) - 1;
    for (bfn, gfn) in [(0, 3), (last, 4)] {
        assert_eq!(vm.map(context, bfn, gfn, 1, RW), (0, 1), "{bfn:#x}");
        assert!(vm.lands_in(device, bfn, gfn), "{bfn:#x}");
    }
    assert_eq!(vm.map(context, last + 1, 5, 1, RW), (err(Errno::EINVAL), 0));
    vm.end();
}

/// Every way to `device` is refused, and leaves nothing behind.
fn is_not_served(bed: &Bed<'_>, device: PciDevice) {
    let before = (bed.counters().table_frames_live, bed.board().device_entries(device));
    assert_eq!(bed.assign(GUEST, device), Err(Errno::EXDEV));
    assert_eq!(bed.board().device_owner(device), None);
    // So a guest never has it.
    let vm = Vm::new(bed, GUEST, 0);
    assert_eq!(vm.attach(device, ContextId::DEFAULT), err(Errno::ENODEV));
    let after = (bed.counters().table_frames_live, bed.board().device_entries(device));
    assert_eq!(before, after);
}

/// INV-08: the unit would take the words of one format for those of another.
#[test]
fn a_unit_of_another_make_than_the_tables_is_given_no_device_of() {
    for (kind, served, refused) in
        [(UnitKind::Vtd, DEVICE, SECOND), (UnitKind::AmdVi, SECOND, DEVICE)]
    {
        if !kind.is_built() {
            continue;
        }
        let started = try_run(&of_two_makes(shape(kind.format(), 4)), |bed| {
            is_not_served(bed, refused);
            is_served(bed, served, 48);
        });
        assert_eq!(started, Ok(()));
    }
}

#[test]
fn a_unit_that_walks_other_depths_than_the_tables_is_given_no_device_of() {
    let of = |levels| match levels {
        3 => unit(kinds::unit(), UnitFeatures::LEVELS_3, 39),
        4 => unit(kinds::unit(), UnitFeatures::LEVELS_4, 48),
        _ => unit(kinds::unit(), UnitFeatures::LEVELS_5, 57),
    };
    for (levels, bits, other) in [(3, 39, 4), (4, 48, 5), (5, 57, 3)] {
        let shape = shape(kinds::unit().format(), levels);
        let started = try_run(&config(of(levels), of(other), shape), |bed| {
            is_not_served(bed, SECOND);
            is_served(bed, DEVICE, bits);
        });
        assert_eq!(started, Ok(()), "{levels} levels");
    }
}

/// A quarantine is made of the same tables: the device stays blocked.
#[test]
fn a_unit_that_cannot_walk_the_tables_keeps_its_devices_blocked_in_quarantine() {
    let (served, refused) = match kinds::unit() {
        UnitKind::Vtd => (DEVICE, SECOND),
        UnitKind::AmdVi => (SECOND, DEVICE),
    };
    let mut config = of_two_makes(shape(kinds::unit().format(), 4));
    config.quarantine = Some(Background::Scratch);
    let started = try_run(&config, |bed| {
        let before = bed.counters().table_frames_live;
        assert_eq!(bed.quarantine(refused), Err(Errno::EXDEV));
        assert_eq!(bed.counters().table_frames_live, before, "what was built is gone again");
        assert!(bed.board().device_entries(refused).iter().all(|entry| entry.table().is_none()));
        is_not_served(bed, refused);
        assert_eq!(bed.quarantine(served), Ok(()));
        is_served(bed, served, 48);
    });
    assert_eq!(started, Ok(()));
}

/// Where the widths of all units ask for it, and it is there, and in maps that the hypervisor makes.
#[test]
fn addresses_of_57_bits_get_a_fifth_level() {
    let both = UnitFeatures::LEVELS_4 | UnitFeatures::LEVELS_5;
    let mut config = Config::one_guest(64).with_background(kinds::background());
    config = config.with_default_map(DefaultMap::Guest);
    config.units = vec![unit(kinds::unit(), both, 57)];
    let started = try_run(&config, |bed| {
        assert_eq!(bed.set_default(GUEST, DefaultMap::Guest), Ok(()));
        assert_eq!(bed.assign(GUEST, DEVICE), Ok(()));
        let vm = Vm::new(bed, GUEST, 0);
        assert!(vm.lands_in(DEVICE, 5, 5));
        let (root, _) = bed.board().device_entries(DEVICE)[0].table().unwrap();
        assert_eq!(root.levels, 5);
        assert_eq!(bed.unassign(GUEST, 0, DEVICE), Ok(()));
        is_served(bed, DEVICE, 57);
    });
    assert_eq!(started, Ok(()));
}
