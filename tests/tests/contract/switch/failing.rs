//! INV-71: whatever fails during a switch, the old map is in force as a whole, or the new one.

use pviommu_abi::{ContextId, Errno, Gfn, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, Reserved, platform::UnitId};
use pviommu_testbed::machine::{Config, Half, Step, When, poor_facts, vtd_facts};

use super::kit::{take, that_ends};
use crate::{
    direct::kit::{ALL, READ_ONLY, SECOND, THIRD, check, direct, machine},
    kit::{DEVICE, GUEST, RW, Vm, err, with},
};

const ZERO: ContextId = ContextId::DEFAULT;

fn ranges() -> [Reserved; 2] {
    [direct(0x8000, 2, ALL), direct(0x9000, 600, READ_ONLY)]
}

/// Three devices, two of them with direct ranges, behind three units, one of them poor.
fn config(map: DefaultMap) -> Config {
    let [first, second] = ranges();
    let mut config = machine(&[&[first], &[second], &[]]);
    config.units.extend([vtd_facts(), poor_facts()]);
    for (device, unit) in config.devices.iter_mut().zip([0, 1, 2]) {
        device.unit = UnitId(unit);
    }
    config.with_default_map(map)
}

/// A switch, from where it begins.
#[derive(Clone, Copy, Debug)]
struct Form {
    map: DefaultMap,
    mode: OwnershipMode,
}

const FORMS: [Form; 5] = [
    Form { map: DefaultMap::Guest, mode: OwnershipMode::CLEAR },
    Form { map: DefaultMap::Guest, mode: OwnershipMode::GIVE_BACK },
    Form { map: DefaultMap::Blocked, mode: OwnershipMode::CLEAR },
    Form { map: DefaultMap::Blocked, mode: OwnershipMode::KEEP },
    Form { map: DefaultMap::Blocked, mode: OwnershipMode::GIVE_BACK },
];

/// What each device finds before the switch and after it, at bus frames 5 and 6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Map {
    Nothing,
    Initial,
    Guests,
}

impl Form {
    fn owned_before(self) -> bool {
        self.mode == OwnershipMode::GIVE_BACK
    }

    fn initial(self) -> Map {
        if self.map == DefaultMap::Guest { Map::Initial } else { Map::Nothing }
    }

    fn before(self) -> Map {
        if self.owned_before() { Map::Guests } else { self.initial() }
    }

    fn after(self) -> Map {
        if self.owned_before() { self.initial() } else { Map::Nothing }
    }

    /// Brings the domain to where the switch begins.
    fn prepare(self, vm: &Vm<'_>) {
        if self.owned_before() {
            assert_eq!(take(vm, OwnershipMode::CLEAR), 0);
            assert_eq!(vm.map(ZERO, 5, 15, 2, RW), (0, 2));
        }
    }
}

/// The map that `device` finds; it is one, wherever it looks.
fn found(vm: &Vm<'_>, device: pviommu_abi::PciDevice) -> Map {
    let both = |gfn| {
        let here = [0, 1].map(|i| vm.lands_in(device, 5 + i, gfn + i));
        assert_eq!(here[0], here[1], "a part of a map");
        here[0]
    };
    match (both(15), both(5)) {
        (true, _) => Map::Guests,
        (_, true) => Map::Initial,
        _ => {
            assert!(!vm.reads(device, 5) && !vm.reads(device, 6));
            Map::Nothing
        }
    }
}

fn check_direct(vm: &Vm<'_>) {
    let [first, second] = ranges();
    check(vm, DEVICE, &first);
    check(vm, SECOND, &second);
}

fn calls_of(form: Form, step: Step) -> u64 {
    with(&config(form.map), |vm| {
        form.prepare(vm);
        vm.bed.schedule().set(step, When::Never);
        assert_eq!(take(vm, form.mode), 0);
        vm.bed.schedule().calls(step)
    })
}

/// What can go wrong without a unit's failing.
#[test]
fn a_switch_that_fails_leaves_the_old_map_and_can_be_made_later() {
    let mut failed = 0;
    for form in FORMS {
        for step in
            [Step::Alloc, Step::Reserve, Step::Acquire, Step::AcquirePage, Step::AttachRefused]
        {
            let calls = calls_of(form, step);
            for n in (1..=calls).step_by(usize::try_from(calls / 24 + 1).unwrap()) {
                with(&config(form.map), |vm| {
                    form.prepare(vm);
                    let owned = vm.bed.domain(GUEST).owns_default();
                    let held = vm.bed.counters();
                    vm.bed
                        .schedule()
                        .acquire_fails_with(pviommu_hypervisor::platform::AcquireError::Saturated);
                    vm.bed.schedule().set(step, When::Nth(n));
                    let status = take(vm, form.mode);
                    vm.bed.schedule().clear();
                    check_direct(vm);
                    let here = [DEVICE, SECOND, THIRD].map(|device| found(vm, device));
                    if status == 0 {
                        assert_eq!(here, [form.after(); 3], "{form:?} {step:?} {n}");
                        assert_ne!(vm.bed.domain(GUEST).owns_default(), owned);
                    } else {
                        failed += 1;
                        assert!([-12, -16].contains(&status), "{form:?} {step:?} {n}: {status}");
                        assert_eq!(here, [form.before(); 3], "{form:?} {step:?} {n}");
                        assert_eq!(vm.bed.domain(GUEST).owns_default(), owned);
                        let now = vm.bed.counters();
                        assert_eq!(now.references_live, held.references_live);
                        assert_eq!(now.table_frames_live, held.table_frames_live);
                        assert_eq!(now.table_frames_reserved, held.table_frames_reserved);
                        assert_eq!(now.scratch_frames_live, held.scratch_frames_live);
                        assert_eq!(take(vm, form.mode), 0, "{form:?} {step:?} {n}");
                        let here = [DEVICE, SECOND, THIRD].map(|device| found(vm, device));
                        assert_eq!(here, [form.after(); 3], "{form:?} {step:?} {n}");
                    }
                    check_direct(vm);
                    // Neither is told of it later.
                    for mode in
                        [OwnershipMode::GIVE_BACK, OwnershipMode::CLEAR, OwnershipMode::GIVE_BACK]
                    {
                        assert_eq!(take(vm, mode), 0, "{form:?} {step:?} {n}");
                    }
                    vm.end();
                });
            }
        }
    }
    assert!(failed > 30, "{failed}");
}

/// A unit that has no room for the entry, however often it is asked: the call ends, and says so.
#[test]
fn a_switch_that_a_unit_always_refuses_ends_with_an_error() {
    for form in FORMS {
        with(&config(form.map), |vm| {
            form.prepare(vm);
            let refuses = vm.bed.schedule();
            refuses.set(Step::AttachRefused, When::From(1));
            let stop = (Step::AttachRefused, When::Never);
            let status = that_ends(vm, stop, || take(vm, form.mode));
            refuses.clear();
            assert_eq!(status, err(Errno::ENOMEM), "{form:?}");
            assert_eq!([DEVICE, SECOND, THIRD].map(|device| found(vm, device)), [form.before(); 3]);
            check_direct(vm);
            vm.end();
        });
    }
}

/// The unit took the entry of the first, has no room for that of the second, and then none for that of the first
/// either. It is blocked, and nobody gets it any more; the others never left.
#[test]
fn a_device_that_can_go_neither_on_nor_back_is_blocked_and_the_others_stay_where_they_were() {
    let form = FORMS[0];
    with(&config(form.map), |vm| {
        vm.bed.schedule().set(Step::AttachRefused, When::From(2));
        assert_eq!(take(vm, form.mode), err(Errno::ENOMEM));
        vm.bed.schedule().clear();
        let broken = || {
            let stats = |device| vm.bed.iommu().device_stats(device).unwrap();
            [DEVICE, SECOND, THIRD].map(|device| stats(device).broken)
        };
        assert_eq!(broken(), [true, false, false]);
        assert_eq!(found(vm, DEVICE), Map::Nothing);
        assert_eq!([SECOND, THIRD].map(|device| found(vm, device)), [form.before(); 2]);
        assert!(!vm.bed.domain(GUEST).owns_default());
        assert_eq!(take(vm, form.mode), 0, "it keeps nobody from a switch");
        assert_eq!([SECOND, THIRD].map(|device| found(vm, device)), [form.after(); 2]);
        assert_eq!((broken(), found(vm, DEVICE)), ([true, false, false], Map::Nothing));
        vm.end();
    });
}

/// INV-15: a unit fails at any of its calls. Each device is in one map, and nothing it may reach goes.
#[test]
fn a_unit_that_fails_during_a_switch_leaves_every_device_in_one_map() {
    for form in FORMS {
        for step in [Step::Attach, Step::Block, Step::Invalidate, Step::SyncMap] {
            for n in 1..=calls_of(form, step) {
                for half in [Half::Nothing, Half::Done] {
                    with(&config(form.map), |vm| {
                        form.prepare(vm);
                        vm.bed.schedule().hardware_fails(half);
                        vm.bed.schedule().set(step, When::Nth(n));
                        let status = take(vm, form.mode);
                        vm.bed.schedule().clear();
                        assert_eq!(status, err(Errno::EIO), "{form:?} {step:?} {n} {half:?}");
                        for device in [DEVICE, SECOND, THIRD] {
                            let here = found(vm, device);
                            let may = [form.before(), form.after(), Map::Nothing];
                            assert!(
                                may.contains(&here),
                                "{form:?} {step:?} {n} {half:?}: {here:?}"
                            );
                        }
                        check_direct(vm);
                        let _ = take(vm, form.mode);
                        let _ = take(vm, OwnershipMode::GIVE_BACK);
                        check_direct(vm);
                        vm.bed.teardown(GUEST, 0);
                        vm.bed.teardown(GUEST, 0);
                        check_direct(vm);
                        assert_eq!(vm.bed.violations(), [], "{form:?} {step:?} {n} {half:?}");
                    });
                }
            }
        }
    }
}

/// INV-15, INV-27: what is maintained holds no pages, so they stay for as long as a unit that has failed may reach them:
/// also when the domain has died, as far as it could.
#[test]
fn a_page_does_not_go_while_a_failed_unit_may_reach_it_in_the_map_of_a_dead_domain() {
    for map in [DefaultMap::IdentityGfn, DefaultMap::IdentityMfn] {
        with(&Config::one_guest(64).with_default_map(map), |vm| {
            let frame = vm.bed.board().machine_frame(GUEST, Gfn(12)).unwrap();
            let bfn = if map == DefaultMap::IdentityGfn { 12 } else { frame.0 };
            assert!(vm.writes(DEVICE, bfn));
            vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
            assert_eq!(vm.bed.teardown(GUEST, 0), err(Errno::EIO));
            vm.bed.schedule().clear();
            assert_eq!(vm.bed.balloon_out(GUEST, Gfn(12)), Err(Errno::EIO));
            assert_eq!(vm.bed.violations(), []);
        });
    }
}
