//! A unit is switched on: what it is told, and that nobody passes.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::RegisterBlock,
    unit::{
        Driver,
        acpi::{DeviceSettings, IvhdFlags},
        amdvi::{AmdVi, BringUpError, IrqEntries, Quirks, Settings},
    },
};
use pviommu_testbed::hardware::amdvi::{Command, Manner, Unit, Verdict, control, status};

use super::kit::{
    FEATURES, HEADER, ONE_BY_ONE, TAG, resources, root, settings, source, through, try_with, unit,
    up, with,
};

const RUNNING: u64 =
    control::ENABLED | control::COMMANDS | control::EVENT_LOG | control::EVENT_INTERRUPT;

#[test]
fn nobody_passes_from_the_moment_on_that_the_unit_is_on() {
    for flags in [IvhdFlags::COHERENT, IvhdFlags::empty()] {
        let unit = unit();
        assert_eq!(unit.request(3, 1), Verdict::Passed, "a unit that is off");
        unit.watch(&[0, 3, 0x1ff]);
        let _driver = with(&unit, &Settings { flags, ..settings() });
        for id in [0, 3, 0x1ff, 0x200, 0xffff] {
            assert_eq!(unit.request(id, 1), Verdict::Refused, "{id:x}");
        }
        assert_eq!(unit.mistakes(), []);
    }
}

#[test]
fn what_a_unit_cached_in_a_former_life_is_forgotten() {
    let unit = unit();
    let _driver = try_with(&unit, &settings()).unwrap();
    assert!(unit.take_done().contains(&Command::ForgetAll));
}

#[test]
fn a_unit_without_a_command_for_all_is_told_of_each() {
    let unit = Unit::new(16, ONE_BY_ONE);
    let _driver = try_with(&unit, &settings()).unwrap();
    let done = unit.take_done();
    let count = |is: fn(&Command) -> bool| done.iter().filter(|it| is(it)).count();
    assert_eq!(count(|it| matches!(it, Command::ForgetAll)), 0);
    assert_eq!(count(|it| matches!(it, Command::ForgetDevice(_))), 0x200);
    assert_eq!(count(|it| matches!(it, Command::ForgetInterrupts(_))), 0x200);
    let whole = |it: &Command| {
        matches!(it, Command::ForgetPages { first: 0, last: u64::MAX, tables: true, .. })
    };
    assert_eq!(done.iter().filter(|it| whole(it)).count(), 0x1_0000);
    assert_eq!(unit.mistakes(), []);
    let quirks = Quirks::NO_INVALIDATE_ALL;
    let unit = Unit::new(16, FEATURES);
    let _driver = try_with(&unit, &Settings { quirks, ..settings() }).unwrap();
    assert!(!unit.take_done().contains(&Command::ForgetAll));
}

#[test]
fn the_control_register_has_what_firmware_says_and_no_more() {
    let cases = [
        (IvhdFlags::empty(), 0),
        (IvhdFlags::COHERENT, control::COHERENT),
        (IvhdFlags::TUNNEL, control::TUNNEL),
        (IvhdFlags::ISOCHRONOUS, control::ISOCHRONOUS),
        (IvhdFlags::PASS_POSTED | IvhdFlags::RESPONSE_PASS_POSTED, control::PASS),
        (IvhdFlags::REMOTE_IOTLB | IvhdFlags::PREFETCH | IvhdFlags::PAGE_REQUESTS, 0),
    ];
    for (flags, bits) in cases {
        let unit = unit();
        let _driver = with(&unit, &Settings { flags, ..settings() });
        let (control, status) = unit.control_and_status();
        assert_eq!(control, RUNNING | bits, "{flags:?}");
        assert_eq!(status, status::COMMANDS_RUN | status::EVENT_LOG_RUNS);
    }
    let unit = unit();
    let extended_features = Some(FEATURES | 1 << 2);
    let interrupt_entries = IrqEntries::X2apic;
    let _driver = with(&unit, &Settings { interrupt_entries, extended_features, ..settings() });
    let expected = RUNNING | control::COHERENT | control::LONG_X2APIC;
    assert_eq!(unit.control_and_status().0, expected);
}

#[test]
fn what_firmware_wants_of_a_device_is_in_its_entry_and_stays() {
    let unit = unit();
    let of_device = |id| (id == 5).then_some(DeviceSettings { data: 0xd3, extended: 0 });
    let driver = AmdVi::bring_up(resources(&unit, &unit), &settings(), of_device).unwrap();
    let pass = 0xc300_0000_0000_0000;
    assert_eq!(unit.stored(4), Some([3, 0, 0, 0]));
    assert_eq!(unit.stored(5), Some([3, 0x100_0000_0000, pass, 0]));
    driver.attach(source(5), root(0x1234), TAG).unwrap();
    assert_eq!(unit.stored(5), Some([0x6000_0000_0123_4803, 0x100_0000_0007, pass, 0]));
    driver.block(source(5)).unwrap();
    assert_eq!(unit.stored(5), Some([3, 0x100_0000_0000, pass, 0]));
}

#[test]
fn no_memory_is_excluded_from_translation() {
    let unit = unit();
    unit.write64(0x20, 0x10_0000 | 3);
    unit.write64(0x28, 0x1f_ffff);
    let _driver = up(&unit);
    assert_eq!((unit.read64(0x20), unit.read64(0x28)), (0, 0));
    assert_eq!(unit.request(3, 0x120), Verdict::Refused);
}

/// The model snoops only if it is told to.
#[test]
fn a_unit_that_does_not_snoop_sees_what_was_written_back() {
    let unit = unit();
    let driver = with(&unit, &Settings { flags: IvhdFlags::empty(), ..settings() });
    for round in 1..600 {
        driver.attach(source(3), root(round), TAG).unwrap();
        driver.invalidate(TAG, pviommu_hypervisor::platform::Invalidation::Everything).unwrap();
        assert_eq!(unit.request(3, 1), through(round));
    }
    driver.stop(source(3));
    assert_eq!(unit.request(3, 1), Verdict::Refused);
}

#[test]
fn what_cannot_be_is_an_error_of_its_own() {
    let gone = unit();
    gone.vanish();
    assert_eq!(try_with(&gone, &settings()).err(), Some(BringUpError::Absent));
    let error = |settings: Settings| try_with(&unit(), &settings).err();
    let features = |extended_features| Settings { extended_features, ..settings() };
    assert_eq!(error(features(Some(FEATURES | 3 << 10))), Some(BringUpError::Unsupported));
    let x2apic = Settings { interrupt_entries: IrqEntries::X2apic, ..settings() };
    assert_eq!(error(x2apic), Some(BringUpError::Unsupported), "no XTSup");
    let without = Settings { header: HEADER & !(1 << 27), ..x2apic };
    let long = Settings { interrupt_entries: IrqEntries::Long, ..without };
    assert_eq!(error(long), Some(BringUpError::Unsupported), "no register to say it");
    assert_eq!(error(Settings { cpus: 0, ..settings() }), Some(BringUpError::Ring(3)));
    assert_eq!(error(Settings { cpus: 127, ..settings() }), None);
    assert_eq!(error(Settings { cpus: 128, ..settings() }), Some(BringUpError::Ring(257)));
    assert_eq!(error(Settings { cpus: 513, ..settings() }), Some(BringUpError::Memory));
}

#[test]
fn memory_of_a_size_that_cannot_be_told_is_refused() {
    let unit = Unit::new(1024, FEATURES);
    let good = resources(&unit, &unit);
    let three = unit.ram.lend(3);
    let error = |it| AmdVi::bring_up(it, &settings(), |_| None).err();
    let mut odd = good;
    odd.commands = three;
    assert_eq!(error(odd), Some(BringUpError::Memory));
    odd = good;
    odd.events = three;
    assert_eq!(error(odd), Some(BringUpError::Memory));
    odd = good;
    odd.device_table = unit.ram.lend(513);
    assert_eq!(error(odd), Some(BringUpError::Memory));
    odd.device_table = unit.ram.lend(256);
    odd.commands = unit.ram.lend(2);
    odd.events = unit.ram.lend(128);
    assert_eq!(error(odd), None);
}

#[test]
fn memory_that_the_unit_cannot_reach_is_refused() {
    let error = |first| {
        let unit = Unit::at(Mfn(first), 7, FEATURES);
        try_with(&unit, &settings()).err()
    };
    assert_eq!(error((1 << 36) - 7), None);
    assert_eq!(error((1 << 36) - 6), Some(BringUpError::OutOfReach));
}

/// It is off, or refuses everything.
#[test]
fn hardware_that_does_not_answer_ends_bring_up_in_time() {
    for deaf in [status::COMMANDS_RUN, status::EVENT_LOG_RUNS] {
        let unit = unit();
        unit.set_deaf(deaf);
        assert_eq!(try_with(&unit, &settings()).err(), Some(BringUpError::NoAnswer));
        assert!(unit.now() < 1200, "{}", unit.now());
        assert_eq!(unit.request(3, 1), Verdict::Refused);
    }
    for manner in [Manner::Never, Manner::Silent] {
        let unit = unit();
        unit.set_manner(manner);
        assert_eq!(try_with(&unit, &settings()).err(), Some(BringUpError::NoAnswer));
        assert!(unit.now() < 2200, "{}", unit.now());
        assert_eq!(unit.request(3, 1), Verdict::Refused);
    }
}
