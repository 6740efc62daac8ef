//! Dumps and questions while others edit what is looked at.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use pviommu_abi::{Bfn, FreeFlags, Gfn};
use pviommu_hypervisor::{
    DumpLine,
    addr::{GfnRange, Mfn},
    operator::{Reason, Shown},
    platform::{Access, SourceId},
};
use pviommu_testbed::machine::Config;

use crate::{
    kit::{DEVICE, GUEST, RW, Vm, with},
    look::dump_all,
};

/// Those who edit and those who look go on until each has done enough, however slow one is.
struct Meeting {
    parties: u64,
    content: AtomicU64,
    failed: AtomicBool,
}

impl Meeting {
    fn of(parties: u64) -> Self {
        Self { parties, content: AtomicU64::new(0), failed: AtomicBool::new(false) }
    }

    /// Acts, with the number of times before, until all have acted as often as they must.
    fn act(&self, least: u64, mut act: impl FnMut(u64)) {
        let _leaves = Leaves(self);
        let goes_on = || self.content.load(Ordering::Acquire) < self.parties;
        let mut times = 0;
        while goes_on() && !self.failed.load(Ordering::Acquire) {
            act(times);
            times += 1;
            self.content.fetch_add(u64::from(times == least), Ordering::AcqRel);
        }
    }
}

/// Nobody waits for one whose check failed.
struct Leaves<'m>(&'m Meeting);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.failed.fetch_or(thread::panicking(), Ordering::AcqRel);
    }
}

/// Two guests' CPUs map and unmap, large leaves among it, and a context comes and goes; a third one
/// looks all the time. What it is told is never a frame that is not the guest's.
#[test]
fn a_table_can_be_looked_at_while_two_cpus_edit_it() {
    let mut config = Config::one_guest(4096);
    config.cpus = 3;
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        let meeting = Meeting::of(3);
        let edit = |cpu: usize, base: u64| {
            let own = Vm::new(vm.bed, GUEST, cpu);
            meeting.act(200, |round| {
                let at = base + (round % 7) * 0x400;
                let large = own.map(context, at, 512, 512, RW);
                let small = own.map(context, at + 0x200 + round % 5, round % 400, 100, RW);
                assert_eq!((large, small), ((0, 512), (0, 100)));
                assert_eq!(own.unmap(context, at + 3, 1), (0, 1));
                assert_eq!(own.unmap(context, at, 3), (0, 3));
                assert_eq!(own.unmap(context, at + 4, 508), (0, 508));
                assert_eq!(own.unmap(context, at + 0x200 + round % 5, 100), (0, 100));
                if round % 50 == 0 {
                    let other = own.alloc().unwrap();
                    assert_eq!(own.map(other, 1, 1, 1, RW), (0, 1));
                    assert_eq!(own.free(other, FreeFlags::empty()), 0);
                    assert_eq!(vm.bed.trim(GUEST, cpu), Ok(()));
                }
            });
        };
        thread::scope(|scope| {
            scope.spawn(|| edit(1, 0));
            scope.spawn(|| edit(2, 0x10_0000));
            scope.spawn(|| meeting.act(30, |_| look(vm, context)));
        });
        assert!(dump_all(vm, context, 8).iter().all(|line| line.shown == Shown::Blocked));
        vm.end();
    });
}

/// INV-07: no table is freed under the eyes of who looks at it. It is long enough for a look to be
/// under way when it goes.
#[test]
fn a_context_may_go_while_it_is_looked_at() {
    let mut config = Config::one_guest(64);
    config.cpus = 2;
    with(&config, |vm| {
        assert_eq!(vm.init(8, 10), 0);
        let (domain, cpu) = (vm.bed.domain(GUEST), vm.bed.own_cpu());
        let meeting = Meeting::of(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                meeting.act(100, |_| {
                    let context = vm.alloc().unwrap();
                    for bfn in (0..0x4000).step_by(0x100) {
                        assert_eq!(vm.map(context, bfn, 0, 64, RW), (0, 64));
                    }
                    assert_eq!(vm.free(context, FreeFlags::empty()), 0);
                });
            });
            scope.spawn(|| {
                meeting.act(1000, |_| {
                    let mut lines = [DumpLine::EMPTY; 100];
                    let id = pviommu_abi::ContextId(1);
                    let _ = vm.bed.iommu().dump(domain, cpu, id, Bfn(0), &mut lines);
                });
            });
        });
        vm.end();
    });
}

fn look(vm: &Vm<'_>, context: pviommu_abi::ContextId) {
    let own = |frame: Mfn| {
        let p2m = vm.bed.board().p2m(GUEST).unwrap();
        (0..4096).any(|gfn| p2m.lookup(Gfn(gfn)).is_some_and(|it| it.frame == frame))
    };
    let lines: Vec<DumpLine> = dump_all(vm, context, 5);
    for line in &lines {
        assert!(line.bfns.first() <= line.bfns.last());
        if let Shown::Pages { first, .. } = line.shown {
            let last = Mfn(first.0 + line.bfns.pages() - 1);
            assert!(own(first) && own(last), "{line}");
        }
    }
    let cpu = vm.bed.own_cpu();
    for bfn in [0, 3, 0x200, 0x250, 0x10_0000].map(Bfn) {
        let source = SourceId(DEVICE);
        let told = vm.bed.iommu().explain(cpu, source, bfn.0 << 12, Access::READ).unwrap();
        match told.reason {
            Reason::Allowed { frame, .. } => assert!(own(frame), "{told}"),
            Reason::Scratch(_) | Reason::NotMapped => {}
            ref other => unreachable!("{other:?}"),
        }
    }
    let stats = vm.bed.iommu().context_stats(vm.bed.domain(GUEST), context).unwrap();
    assert_eq!((stats.units().len(), stats.frozen), (1, false));
}
