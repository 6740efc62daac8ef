//! Pages that leave while other vCPUs map and unmap, from threads of their own (INV-22, INV-27).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use pviommu_abi::{ContextId, Errno, Gfn, OwnershipMode};
use pviommu_hypervisor::{Outcome, Sweep, addr::MfnRange};
use pviommu_testbed::machine::{FrameKind, Step, When};

use super::kit::{end, three};
use crate::{
    kit::{DEVICE, GUEST, RW, Vm, err, with},
    switch::kit::{Ended, take},
};

/// Takes the page out, gives other threads time meanwhile, and waits until nobody holds it: a map that
/// had acquired it when it left gives it back by itself, and soon.
fn goes(vm: &Vm<'_>, gfn: u64) {
    let gone = vm.bed.balloon_out(GUEST, Gfn(gfn)).unwrap();
    let mut sweep = Sweep::default();
    loop {
        let (state, cpu) = (vm.bed.domain(GUEST), vm.bed.own_cpu());
        match vm.bed.iommu().retarget(state, cpu, &[MfnRange::single(gone)], &mut sweep) {
            Outcome::Done(status) => break assert_eq!(status, 0),
            _ => std::thread::yield_now(),
        }
    }
    let begin = Instant::now();
    let info = || vm.bed.board().memory().frames.info(gone).unwrap();
    while info().kind != FrameKind::Free {
        assert!(begin.elapsed() < Duration::from_secs(20), "{gfn} is held: {:?}", info());
        std::thread::yield_now();
    }
}

/// When a retarget returns no device reaches the page, however late a map was that had acquired it.
#[test]
fn a_map_that_is_under_way_does_not_bring_a_page_back() {
    for every in [0, 1] {
        with(&three(), |vm| {
            let (context, other) = (vm.attached_context(), vm.context());
            let done = AtomicBool::new(false);
            if every > 0 {
                vm.bed.schedule().set(Step::Yield, When::Every(every));
            }
            std::thread::scope(|scope| {
                let ended = Ended(&done);
                for (cpu, context) in [(1, context), (2, other)] {
                    let done = &done;
                    scope.spawn(move || {
                        let vm = Vm::new(vm.bed, GUEST, cpu);
                        while !done.load(Ordering::Relaxed) {
                            let base = cpu as u64 * 0x1000;
                            let (status, mapped) = vm.map(context, base, 0, 48, RW);
                            assert!([0, err(Errno::ENOENT)].contains(&status), "{status}");
                            let all = vm.unmap(context, base, mapped);
                            // Those that were taken out meanwhile are holes.
                            assert!([0, err(Errno::ENOENT)].contains(&all.0), "{all:?}");
                            for bfn in base..base + 48 {
                                let _ = vm.unmap(context, bfn, 1);
                            }
                        }
                    });
                }
                for gfn in (8..48).rev() {
                    goes(vm, gfn);
                }
                drop(ended);
            });
            vm.bed.schedule().clear();
            assert_eq!(vm.bed.violations(), []);
            end(vm);
        });
    }
}

/// The default context changes hands all the while.
#[test]
fn a_page_leaves_while_the_default_context_changes_hands() {
    let config = three().with_default_map(pviommu_hypervisor::DefaultMap::Guest);
    with(&config, |vm| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let ended = Ended(&done);
            scope.spawn(|| {
                let vm = Vm::new(vm.bed, GUEST, 1);
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(take(&vm, OwnershipMode::CLEAR), 0);
                    let _ = vm.map(ContextId::DEFAULT, 0, 0, 32, RW);
                    assert_eq!(take(&vm, OwnershipMode::GIVE_BACK), 0);
                }
            });
            let busy = [(DEVICE, (0..40).collect())];
            vm.bed.with_busy_devices(&busy, || {
                for gfn in (8..40).rev() {
                    goes(vm, gfn);
                }
            });
            drop(ended);
        });
        assert_eq!(vm.bed.violations(), []);
        end(vm);
    });
}
