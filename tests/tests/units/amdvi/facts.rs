//! What registers and firmware say of a unit, and what the service is told.

use pviommu_hypervisor::{
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
    unit::{
        Driver,
        acpi::{IvInfo, IvhdFlags},
        amdvi::{Capability, IrqEntries, Quirks, Settings},
    },
};

use super::kit::{FEATURES, HEADER, settings, unit, with};

const EVERY: UnitFeatures = UnitFeatures::SNOOP_CONTROL
    .union(UnitFeatures::LEAF_2M)
    .union(UnitFeatures::LEAF_1G)
    .union(UnitFeatures::LEVELS_3)
    .union(UnitFeatures::LEVELS_4);

const PLAIN: Capability = Capability {
    header: HEADER,
    extended_features: 0,
    info: IvInfo(52 << 8 | 64 << 15),
    flags: IvhdFlags::empty(),
    quirks: Quirks::empty(),
};

fn facts(it: Capability) -> UnitFacts {
    it.facts().unwrap()
}

#[test]
fn a_unit_is_what_it_says() {
    let least = UnitFacts {
        format: FormatKind::AmdV1,
        features: EVERY,
        bus_address_bits: 48,
        host_address_bits: 52,
        tags: 0x1_0000,
    };
    assert_eq!(facts(PLAIN), least, "4 levels reach no further than 48 bits");
    let features = |it: Capability| facts(it).features - EVERY;
    let cases = [
        (Capability { header: HEADER | 1 << 26, ..PLAIN }, UnitFeatures::CACHES_NOT_PRESENT),
        (Capability { flags: IvhdFlags::COHERENT, ..PLAIN }, UnitFeatures::COHERENT),
        (Capability { extended_features: 1 << 10, ..PLAIN }, UnitFeatures::LEVELS_5),
        (Capability { extended_features: 2 << 10, ..PLAIN }, UnitFeatures::LEVELS_5),
    ];
    for (capability, more) in cases {
        assert_eq!(features(capability), more, "{capability:?}");
    }
    assert_eq!(Capability { extended_features: 3 << 10, ..PLAIN }.facts(), None);
    assert_eq!(facts(Capability { extended_features: 1 << 10, ..PLAIN }).bus_address_bits, 57);
}

/// QEMU says nothing of the width of bus addresses.
#[test]
fn widths_that_cannot_be_are_the_least_that_every_unit_has() {
    let widths = |info| {
        let it = facts(Capability { info: IvInfo(info), extended_features: 1 << 10, ..PLAIN });
        (it.bus_address_bits, it.host_address_bits)
    };
    assert_eq!(widths(40 << 8 | 1), (48, 40));
    assert_eq!(widths(48 << 8 | 40 << 15), (40, 48));
    assert_eq!(widths(0), (48, 40));
    assert_eq!(widths(127 << 8 | 127 << 15), (48, 40));
}

#[test]
fn what_is_not_to_be_believed_is_not() {
    let good = Capability { extended_features: FEATURES, flags: IvhdFlags::COHERENT, ..PLAIN };
    let all = EVERY | UnitFeatures::COHERENT | UnitFeatures::LEVELS_5;
    let with = |quirks| Capability { quirks, ..good };
    assert_eq!(facts(good).features, all);
    let cases = [
        (Quirks::NO_LEAF_1G, all - UnitFeatures::LEAF_1G),
        (Quirks::NO_LARGE_LEAVES, all - UnitFeatures::LEAF_1G - UnitFeatures::LEAF_2M),
        (Quirks::NO_LEVELS_5, all - UnitFeatures::LEVELS_5),
        (Quirks::NOT_COHERENT, all - UnitFeatures::COHERENT),
        (Quirks::CACHES_NOT_PRESENT, all | UnitFeatures::CACHES_NOT_PRESENT),
    ];
    for (quirks, features) in cases {
        assert_eq!(facts(with(quirks)).features, features, "{quirks:?}");
    }
    assert_eq!(facts(with(Quirks::TAGS_256)).tags, 256);
    assert!(good.invalidates_all() && !with(Quirks::NO_INVALIDATE_ALL).invalidates_all());
}

#[test]
fn interrupt_tables_are_as_wide_as_the_unit_has_them() {
    let remaps = |extended_features| {
        let it = Capability { extended_features, ..PLAIN };
        [IrqEntries::Short, IrqEntries::Long, IrqEntries::X2apic].map(|entries| it.remaps(entries))
    };
    assert_eq!(remaps(0), [true, false, false]);
    assert_eq!(remaps(1 << 7), [true, true, false]);
    assert_eq!(remaps(1 << 2), [true, false, false]);
    assert_eq!(remaps(1 << 7 | 1 << 2), [true, true, true]);
}

#[test]
fn features_are_firmwares_or_those_of_the_register_or_none() {
    let levels = |settings: Settings| {
        let unit = unit();
        with(&unit, &settings).facts().features.contains(UnitFeatures::LEVELS_5)
    };
    assert!(levels(settings()), "the register has them");
    assert!(!levels(Settings { extended_features: Some(1 << 6), ..settings() }));
    let header = HEADER & !(1 << 27);
    let unit = unit();
    let driver = with(&unit, &Settings { header, ..settings() });
    assert_eq!(driver.capability().extended_features, 0);
}
