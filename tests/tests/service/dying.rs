//! Domains and contexts that are on their way out: they take nothing in, and leave nothing behind.

use pviommu_abi::{ContextId, Errno, FreeContext, FreeFlags, Subop};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::{Config, Step, When};
use zerocopy::IntoBytes;

use crate::kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest};

const PAGES: u32 = 2000;

/// INV-61, INV-45: at each point where a teardown gives way.
#[test]
fn nothing_goes_in_while_a_teardown_is_under_way() {
    with_guest(u64::from(PAGES), |vm| {
        let context = vm.attached_context();
        let second = vm.context();
        for context in [context, second] {
            assert_eq!(vm.map(context, 5, 0, PAGES, RW), (0, PAGES));
        }
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let gone = err(Errno::ENODEV);
        let mut pieces = 0;
        loop {
            let outcome = vm.bed.iommu().teardown(vm.bed.domain(GUEST), 0);
            let held = vm.bed.counters().references_live;
            for context in [context, second, ContextId::DEFAULT] {
                assert_eq!(vm.map(context, 5000, 0, 1, RW), (gone, 0));
                assert_eq!(vm.unmap(context, 5, 1), (gone, 0));
                assert_eq!(vm.attach(DEVICE, context), gone);
                assert_eq!(vm.free(context, FreeFlags::empty()), gone);
            }
            assert_eq!(vm.alloc(), Err(gone));
            assert_eq!(vm.init(1, 1), gone);
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::ESRCH));
            assert!(!vm.reads(DEVICE, 5), "its device has left it");
            assert_eq!(vm.bed.counters().references_live, held);
            match outcome {
                Outcome::Continue => pieces += 1,
                Outcome::Done(status) => break assert_eq!(status, 0),
            }
        }
        assert!(pieces > 2, "it gave way");
        vm.end();
    });
}

/// INV-61: whenever the teardown comes.
#[test]
fn a_map_that_meets_a_teardown_leaves_nothing_behind() {
    for round in 0..20 {
        with(&Config { cpus: 3, ..Config::one_guest(256) }, |vm| {
            let context = vm.attached_context();
            let bed = vm.bed;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let vm = Vm::new(bed, GUEST, 1);
                    for bfn in 0.. {
                        let (status, _) = vm.map(context, bfn * 70, bfn % 200, 40, RW);
                        // The context goes a moment after the domain was found alive.
                        if [err(Errno::ENODEV), err(Errno::EINVAL)].contains(&status) {
                            break;
                        }
                        assert_eq!(status, 0);
                    }
                });
                std::thread::sleep(std::time::Duration::from_micros(50 * round));
                assert_eq!(bed.teardown(GUEST, 2), 0);
            });
            assert_eq!(bed.counters().references_live, 0);
            vm.end();
        });
    }
}

/// INV-45: a context is nobody's from the first piece of its end on, and its number is not given out
/// before the last.
#[test]
fn a_context_that_is_half_freed_takes_nothing_in() {
    with_guest(u64::from(PAGES), |vm| {
        let context = vm.context();
        assert_eq!(vm.map(context, 5, 0, PAGES, RW), (0, PAGES));
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let at = vm.guest.argument_address() & !0xfff;
        let argument = FreeContext { ctx_no: context, ..FreeContext::default() };
        vm.bed.guest_write(GUEST, at, argument.as_bytes());
        let free = || vm.bed.hypercall(GUEST, 0, u64::from(Subop::FREE_CONTEXT.0), at);
        let mut pieces = 0;
        while free() == Outcome::Continue {
            pieces += 1;
            let held = vm.bed.counters().references_live;
            assert_eq!(vm.map(context, 5000, 0, 1, RW), (err(Errno::EINVAL), 0));
            assert_eq!(vm.unmap(context, 5, 1), (err(Errno::EINVAL), 0));
            assert_eq!(vm.attach(DEVICE, context), err(Errno::EINVAL));
            assert_eq!(vm.bed.counters().references_live, held);
            let other = vm.alloc().unwrap();
            assert_ne!(other, context);
            vm.bed.schedule().set(Step::Yield, When::Never);
            assert_eq!(vm.free(other, FreeFlags::empty()), 0);
            vm.bed.schedule().set(Step::Yield, When::Every(1));
        }
        assert!(pieces > 2, "it gave way");
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.counters().references_live, 0);
        for stale in [vm.free(context, FreeFlags::empty()), vm.attach(DEVICE, context)] {
            assert_eq!(stale, err(Errno::ENOENT));
        }
        assert_eq!(vm.alloc(), Ok(context), "now the number is free");
        vm.end();
    });
}

/// D14: the first and the last, and all between.
#[test]
fn every_context_goes_with_its_domain() {
    with_guest(256, |vm| {
        assert_eq!(vm.init(128, 12), 0);
        for number in 1..=128 {
            assert_eq!(vm.alloc(), Ok(ContextId(number)));
            assert_eq!(vm.map(ContextId(number), 7, u64::from(number), 1, RW), (0, 1));
        }
        assert_eq!(vm.alloc(), Err(err(Errno::ENOSPC)));
        assert_eq!(vm.attach(DEVICE, ContextId(128)), 0);
        assert!(vm.lands_in(DEVICE, 7, 128));
        assert_eq!(vm.bed.teardown(GUEST, 0), 0);
        assert_eq!(vm.bed.counters().references_live, 0);
        vm.end();
    });
}

/// What a domain does first, as far as it gets.
fn begin(vm: &Vm<'_>) -> Result<(), i64> {
    let done = |status: i64| if status == 0 { Ok(()) } else { Err(status) };
    done(vm.init(4, 6))?;
    let contexts = [vm.alloc()?, vm.alloc()?];
    done(vm.attach(DEVICE, contexts[0]))?;
    done(vm.map(contexts[0], 10, 1, 40, RW).0)?;
    done(vm.attach(DEVICE, contexts[1]))
}

/// INV-60: whichever step of a domain's beginning failed last, it ends, and twice.
#[test]
fn a_domain_ends_wherever_its_beginning_failed() {
    let steps = [Step::CopyIn, Step::CopyOut, Step::Alloc, Step::Policy, Step::Acquire];
    let units = [Step::Attach, Step::AttachRefused, Step::Invalidate];
    for step in steps.into_iter().chain(units) {
        let mut stopped = 0;
        for n in 1.. {
            let went = with_guest(64, |vm| {
                vm.bed.schedule().set(step, When::Nth(n));
                let went = begin(vm);
                vm.bed.schedule().clear();
                if vm.bed.failed_units().is_empty() {
                    vm.end();
                    return went;
                }
                // What the unit may reach stays; a second teardown finds the same, and nothing new.
                let left = [(); 2].map(|()| {
                    assert_eq!(vm.bed.teardown(GUEST, 0), err(Errno::EIO));
                    (vm.bed.counters().references_live, vm.bed.counters().table_frames_live)
                });
                assert_eq!((left[0], vm.bed.violations()), (left[1], vec![]));
                went
            });
            if went.is_ok() {
                break;
            }
            stopped += 1;
        }
        // A unit that does not cache what is not present is told of no map, but of every move.
        assert!(stopped > 0, "{step:?} never fails it");
    }
    with_guest(64, |vm| vm.end());
}
