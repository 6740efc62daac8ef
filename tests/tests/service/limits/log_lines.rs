//! Lines that a guest can have written to the log: so many, and none while a lock is held.

use std::{sync::mpsc::channel, time::Duration};

use pviommu_abi::{AllocContextExt, Background, Bfn, ContextId, Errno, FaultReason, Subop};
use pviommu_hypervisor::{
    Fault, FaultRule, GroupRule, Outcome, Reported, ReservedKind, Risks,
    addr::BfnRange,
    platform::{Access, DeviceFacts, SourceId, UnitId},
};
use pviommu_testbed::machine::{self, Bed, Config, Step, When};

use crate::{
    kit::{DEVICE, GUEST, OTHER, RW, SECOND, Vm, two_guests, with},
    listener::{lines_of, listen},
};
use pviommu_testbed::vm::unmap_argument;

/// A guest that has two devices of which the first reserves 2 MiB and the second the first 16 pages of
/// those: when the first leaves a context, what it reserved alone stays blocked for want of a table.
fn config(lines: u32) -> Config {
    let mut config = two_guests(64);
    config.devices[1].owner = GUEST;
    for (device, pages) in config.devices.iter_mut().zip([0x200, 0x10]) {
        let range = BfnRange::of_pages(Bfn(0x8_0000), pages).unwrap();
        device.reserved.push(machine::reserved(range, ReservedKind::Reserved));
    }
    config.domains.iter_mut().for_each(|domain| domain.limits.max_log_lines = lines);
    config
}

fn over_scratch(vm: &Vm<'_>) -> ContextId {
    assert_eq!(vm.init(8, 8), 0);
    let mut argument =
        AllocContextExt { background: Background::SCRATCH, ..AllocContextExt::default() };
    assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument), 0);
    let context = ContextId(u16::try_from(argument.ctx_id).unwrap());
    assert_eq!((vm.attach(DEVICE, context), vm.attach(SECOND, context)), (0, 0));
    context
}

/// Has the first device leave the context and come back.
fn leave_and_come_back(vm: &Vm<'_>, context: ContextId) {
    assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
    assert_eq!(vm.attach(DEVICE, context), 0);
}

fn suppressed(vm: &Vm<'_>) -> u64 {
    vm.bed.domain(GUEST).stats().log_lines_suppressed
}

/// INV-57: and nobody else's lines are fewer.
#[test]
fn as_many_lines_are_written_as_are_allowed_and_the_others_are_counted() {
    with(&config(3), |vm| {
        let context = over_scratch(vm);
        let heard = lines_of(|| (0..10).for_each(|_| leave_and_come_back(vm, context)));
        assert_eq!((heard.len(), suppressed(vm)), (3, 7), "{heard:?}");
        assert!(heard.iter().all(|line| line.contains("of domain 1,")), "{heard:?}");
        assert!(
            heard.iter().all(|line| line.contains("the bus frames 0x80010-0x801ff stay blocked")),
            "{heard:?}"
        );
        assert_eq!(vm.bed.domain(OTHER).stats().log_lines_suppressed, 0);

        vm.bed.domain(GUEST).renew_log_lines();
        let heard = lines_of(|| (0..2).for_each(|_| leave_and_come_back(vm, context)));
        assert_eq!((heard.len(), suppressed(vm)), (2, 7), "{heard:?}");
        vm.end();
    });
}

#[test]
fn a_domain_that_may_have_no_lines_has_none() {
    with(&config(0), |vm| {
        let context = over_scratch(vm);
        assert_eq!(lines_of(|| leave_and_come_back(vm, context)), [] as [&str; 0]);
        assert_eq!(suppressed(vm), 1);
        vm.end();
    });
}

/// INV-15: a unit that fails is told of once, and what it may still reach once for each flush.
#[test]
fn what_a_failed_unit_leaves_is_told() {
    with(&Config::one_guest(64), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 0, 20, RW), (0, 20));
        vm.bed.schedule().set(Step::Invalidate, When::From(1));
        let heard = lines_of(|| {
            assert_eq!(vm.unmap(context, 0, 4).0, Errno::EIO.to_ret());
            assert_eq!(vm.unmap(context, 4, 4).0, Errno::EIO.to_ret());
        });
        vm.bed.schedule().clear();
        assert_eq!(
            heard,
            [
                "pviommu: unit 0 failed; contexts behind it are frozen",
                "pviommu: of domain 1, 4 pages and 0 table frames are never given back",
            ]
        );
        assert_eq!(vm.bed.domain(GUEST).stats().leaked_pages, 4);
    });
}

/// Runs `act` on a thread of its own, which must not wait for ever.
fn ends<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, over) = channel();
    std::thread::spawn(move || done.send(act()));
    let patience = Duration::from_secs(20);
    let result = over.recv_timeout(patience);
    assert!(result.is_ok(), "a line was written while a lock was held, or a call failed");
    result.unwrap()
}

/// Calls that take every lock a guest's call takes, with the same CPU.
fn takes_all_locks(bed: &Bed<'_>, context: ContextId) {
    let domain = bed.domain(GUEST);
    // The CPU's room, the lock of moving together, the administration lock, that of groups, a device's state.
    assert_eq!(bed.iommu().assign(domain, 0, DEVICE), Err(Errno::EBUSY));
    // The record of what waits.
    assert_eq!(bed.iommu().flush_deferred(domain, 0), Outcome::Done(0));
    assert!(bed.iommu().device_stats(DEVICE).is_some());
    let vm = Vm::new(bed, GUEST, 0);
    let mut nothing = unmap_argument(context, 0x100, 1);
    assert_eq!(vm.op(Subop::UNMAP_PAGES, &mut nothing), Errno::ENOENT.to_ret());
}

/// Does `act`, and at each line that it has logged `check`, on another thread, while `act` waits; how
/// many lines there were.
fn at_each_line(act: impl FnOnce(), check: impl Fn() + Sync) -> usize {
    let (line, lines) = channel();
    let (checked, go_on) = channel();
    std::thread::scope(|scope| {
        let check = &check;
        let checks = scope.spawn(move || {
            lines.iter().fold(0, |seen, _: String| {
                check();
                // Who logged has failed if it does not listen any more.
                let _ = checked.send(());
                seen + 1
            })
        });
        let listening = listen(move |text| {
            let _ = line.send(text);
            let _ = go_on.recv();
        });
        act();
        drop(listening);
        checks.join().unwrap()
    })
}

/// A logger that calls the service waits for nothing: no lock is held, not even the CPU's room.
#[test]
fn no_lock_is_held_while_a_line_is_written() {
    let lines = ends(|| {
        let mut config = config(u32::MAX);
        config.domains[0].group_rule = GroupRule::TogetherOnly;
        with(&config, |vm| {
            let context = over_scratch(vm);
            let check = || takes_all_locks(vm.bed, context);
            let lines = at_each_line(|| leave_and_come_back(vm, context), check);
            vm.end();
            lines
        })
    });
    assert_eq!(lines, 1);
}

/// A unit fails under the locks of whatever is going on.
#[test]
fn no_lock_is_held_while_it_is_told_that_a_unit_failed() {
    let lines = ends(|| {
        with(&config(u32::MAX), |vm| {
            over_scratch(vm);
            let domain = vm.bed.domain(GUEST);
            // It is broken by then; that is found out under the same locks.
            let check = || assert!(vm.bed.iommu().assign(domain, 0, DEVICE).is_err());
            vm.bed.schedule().set(Step::Invalidate, When::From(1));
            let lines =
                at_each_line(|| assert_ne!(vm.attach(DEVICE, ContextId::DEFAULT), 0), check);
            vm.bed.schedule().clear();
            lines
        })
    });
    assert!(lines > 0);
}

/// A risk that somebody took is told of when the device is given.
#[test]
fn no_lock_is_held_while_it_is_told_which_risks_were_taken() {
    let lines = ends(|| {
        let mut config = config(u32::MAX);
        config.devices[0].facts = DeviceFacts::empty();
        config.devices[0].risks = Risks::UNSAFE_INTERRUPTS;
        config.domains[0].group_rule = GroupRule::TogetherOnly;
        with(&config, |vm| {
            let context = over_scratch(vm);
            assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            let check = || takes_all_locks(vm.bed, context);
            let lines = at_each_line(|| assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(())), check);
            vm.end();
            lines
        })
    });
    assert_eq!(lines, 1);
}

/// INV-48: whoever drives a device can have it faulting, reset and started as often as it likes.
#[test]
fn a_device_that_is_stopped_again_and_again_is_told_of_once_a_minute() {
    let mut config = Config::one_guest(64);
    config.faults = FaultRule { window_ms: 100, recorded: 4, storm: 10 };
    with(&config, |vm| {
        let iommu = vm.bed.iommu();
        let storm = |now| {
            let (access, reason) = (Access::WRITE, FaultReason::NOT_MAPPED);
            let fault = Fault { source: SourceId(DEVICE), address: 0x5000, access, reason };
            let mut reports = (0..11).map(|_| iommu.report_fault(UnitId(0), &fault, now));
            assert_eq!(reports.by_ref().last(), Some(Reported::Stopped));
            assert_eq!(iommu.restart(DEVICE), Ok(()));
        };
        let heard = lines_of(|| (0..20).for_each(|number| storm(1000 + number * 5000)));
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert!(heard[0].contains("storm 1") && heard[1].contains("storm 13"), "{heard:?}");
        assert_eq!(iommu.device_stats(DEVICE).unwrap().storms, 20);
        vm.end();
    });
}
