//! What is refused before anything is written.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{AttachError, TableRoot, Tag, UnitError},
    unit::{
        Driver,
        vtd::{BringUpError, IrqTableError, Quirks, Settings, Step, Vtd},
    },
};
use pviommu_testbed::hardware::{
    Ram,
    vtd::{Config, Manner},
};

use super::kit::{CONTEXTS, Rig, TAG, root, settings, source, up};

/// No unit, or one that is not driven. It was told nothing.
#[test]
fn a_unit_that_cannot_be_driven_is_left_alone() {
    let none = Config { ver: 0, ..Config::SERVER };
    let no_width = Config::SERVER.without_cap(0x1f << 8);
    let cases = [
        (none, BringUpError::Absent),
        (Config { cap: u64::MAX, ..Config::SERVER }, BringUpError::Absent),
        (Config { ver: u32::MAX, ..Config::SERVER }, BringUpError::Absent),
        (Config::SERVER.without_ecap(Config::QUEUE), BringUpError::NoQueue),
        (no_width, BringUpError::NoCommonWidth(no_width.cap)),
    ];
    for (config, error) in cases {
        let rig = Rig::new(config);
        assert_eq!(rig.prepare(settings()).unwrap_err(), error);
        assert_eq!(rig.unit.take_acts(), []);
    }
    let rig = Rig::new(Config::SERVER);
    rig.unit.set(Manner { absent: true, ..Manner::default() });
    assert_eq!(rig.prepare(settings()).unwrap_err(), BringUpError::Absent);
}

#[test]
fn bad_settings_and_memory_are_refused() {
    let refused = |settings| Rig::new(Config::SERVER).prepare(settings).unwrap_err();
    for host_address_bits in [0, 31, 53, 255] {
        let error = refused(Settings { host_address_bits, ..settings() });
        assert_eq!(error, BringUpError::BadHostWidth(host_address_bits));
    }
    let error = refused(Settings { cpus: 200, ..settings() });
    assert_eq!(error, BringUpError::TooSmall { entries: 401, status: 200 });
    for number in 0..4 {
        let rig = Rig::new(Config::SERVER);
        let mut memory = rig.memory();
        let place = match number {
            0 => &mut memory.root,
            1 => &mut memory.contexts,
            2 => &mut memory.queue,
            _ => &mut memory.status,
        };
        let far: &'static Ram = Box::leak(Box::new(Ram::new(Mfn((1 << 34) - 1), 2, 0)));
        *place = far.lend(2);
        let error = Vtd::bring_up(rig.unit, rig.bench, memory, settings()).unwrap_err();
        assert_eq!(error, BringUpError::OutOfReach, "{number}");
        assert_eq!(rig.unit.take_acts(), []);
    }
}

#[test]
fn an_entry_that_the_unit_could_not_walk_is_refused() {
    let (rig, driver) = up(Config { cap: Config::SERVER.cap & !7, ..Config::SERVER });
    let deep = |levels| TableRoot { levels, ..root(1) };
    for (root, tag) in [
        (deep(2), TAG),
        (deep(5), TAG),
        (deep(255), TAG),
        (root(1 << 34), TAG),
        (root(u64::MAX), TAG),
        (root(1), Tag(0)),
        (root(1), Tag(16)),
    ] {
        assert_eq!(driver.attach(source(1), root, tag), Err(AttachError::Refused), "{root:?}");
    }
    let mut elsewhere = source(1);
    elsewhere.0.seg = 1;
    assert_eq!(driver.attach(elsewhere, root(1), TAG), Err(AttachError::Refused));
    assert_eq!(driver.block(elsewhere), Err(UnitError));
    driver.stop(elsewhere);
    driver.restart(elsewhere);
    assert_eq!(rig.unit.take_acts(), []);
    driver.attach(source(1), root(1), Tag(15)).unwrap();
    rig.clean();
}

#[test]
fn a_bus_that_no_page_is_left_for_is_refused_and_the_others_go_on() {
    let (rig, driver) = up(Config::SERVER);
    let buses = u16::try_from(CONTEXTS).unwrap();
    for bus in 0..buses {
        driver.attach(source(bus << 8), root(1), TAG).unwrap();
    }
    let other = source(buses << 8);
    assert_eq!(driver.attach(other, root(1), TAG), Err(AttachError::Refused));
    driver.block(other).unwrap();
    driver.stop(other);
    driver.restart(other);
    driver.attach(source(0x0108), root(1), TAG).unwrap();
    rig.clean();
}

#[test]
fn quirks_go_into_what_is_attached() {
    let rig = Rig::new(Config::SERVER);
    let quirks = Quirks::HIDE_SUPERPAGES;
    let driver = rig.up_with(Settings { quirks, ..settings() });
    assert!(!driver.facts().features.contains(pviommu_hypervisor::platform::UnitFeatures::LEAF_2M));
}

#[test]
fn a_unit_that_is_not_driven_is_told_with_what_would_have_to_be_different() {
    let words = [
        (BringUpError::Absent, "no unit answers at this address"),
        (BringUpError::NoQueue, "the unit has no invalidation queue (ECAP.QI)"),
        (BringUpError::NoCommonWidth(0x1f), "the unit walks no tables of 3 to 5 levels (CAP 0x1f)"),
        (BringUpError::BadHostWidth(31), "a host address width of 31 bits, expected 32 to 52"),
        (
            BringUpError::TooSmall { entries: 401, status: 200 },
            "the CPUs need a queue of 401 entries and 200 status words",
        ),
        (BringUpError::OutOfReach, "memory of the unit is above the host address width"),
        (
            BringUpError::OtherMode(0x401),
            "firmware left translation on in another mode (RTADDR 0x401)",
        ),
        (BringUpError::NoAnswer(Step::Translation), "the unit did not answer in time: Translation"),
    ];
    for (error, said) in words {
        assert_eq!(error.to_string(), said);
    }
    let words = [
        (IrqTableError::NotSupported, "the unit cannot remap interrupts like that"),
        (IrqTableError::BadTable, "the table of interrupts has a bad size or place"),
        (IrqTableError::Failed, "the unit has failed"),
    ];
    for (error, said) in words {
        assert_eq!(error.to_string(), said);
    }
}
