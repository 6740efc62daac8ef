//! What an embedder calls, with the most work that a guest can have it do.

use pviommu_abi::{ContextId, Gfn};
use pviommu_hypervisor::{
    DefaultMap, Outcome, Role, Sweep,
    addr::{GfnRange, Mfn, MfnRange},
    platform::{Access, UnitFeatures},
};

use super::kit::{G1, M2, Measure, config, map_sparsely, measure, measure_part};
use crate::{
    deferred::unmap_later,
    kit::{DEVICE, GUEST, RW, SECOND},
};

/// All contexts, with a page in each table of a few, something that waits, and large leaves in one.
fn fill(of: &Measure<'_>) -> ContextId {
    let vm = of.vm;
    let context = vm.attached_context();
    map_sparsely(vm, context, 16 * G1, 1000);
    assert_eq!(vm.map(context, 4 * G1, G1, G1 as u32, RW), (0, G1 as u32));
    assert_eq!(vm.map(context, 0, 0, 20_000, RW), (0, 20_000));
    for _ in 1..128 {
        let other = vm.alloc().unwrap();
        assert_eq!(vm.attach(SECOND, other), 0);
        assert_eq!(vm.map(other, 0, 0, 32, RW), (0, 32));
        assert_eq!(unmap_later(vm, other, 0, 31), (0, 31));
    }
    assert_eq!(vm.bed.domain(GUEST).stats().deferred_pages, 127 * 31);
    context
}

fn until_done(mut call: impl FnMut() -> Outcome) {
    while call() == Outcome::Continue {}
}

#[test]
fn set_default() {
    let mut config = config();
    config.domains[0].limits.default_map_frames = 4096;
    measure("set_default", &config, |of| {
        of.by("a guest map", || {
            assert_eq!(of.vm.bed.set_default(GUEST, DefaultMap::Guest), Ok(()));
        });
    });
}

/// Of the hardware domain, and by small leaves only.
#[test]
fn set_default_to_host() {
    let mut config = config();
    config.units[0].features.remove(UnitFeatures::LEAF_1G | UnitFeatures::LEAF_2M);
    config.domains[0].role = Role::Hardware;
    config.domains[0].limits.default_map_frames = 4096;
    let row = "set_default";
    measure_part(row, &config, |of| {
        of.by("a host map", || {
            assert_eq!(of.vm.bed.set_default(GUEST, DefaultMap::Host), Ok(()));
        });
    });
}

#[test]
fn p2m_changed() {
    let mut config = config();
    config.domains[0].limits.default_map_frames = 4096;
    config.domains[0].default_map = DefaultMap::IdentityGfn;
    measure("p2m_changed", &config, |of| {
        let bed = of.vm.bed;
        let range = |first, pages| GfnRange::of_pages(Gfn(first), pages).unwrap();
        of.by("scattered pages go", || {
            assert!(bed.balloon_out_range(GUEST, range(1000, 500)).is_ok());
        });
        of.by("a page of a large leaf goes", || {
            assert!(bed.balloon_out(GUEST, Gfn(G1 + 1000)).is_ok());
        });
        for access in [Access::READ, Access::all()] {
            of.by("many that follow each other change", || {
                let changed = bed.set_access_range(GUEST, range(G1 + 5000, 100_000), access);
                assert_eq!(changed, Ok(()));
            });
        }
        of.by("and go", || {
            assert!(bed.balloon_out_range(GUEST, range(G1 + 3000, 20_000)).is_ok());
        });
    });
}

#[test]
fn retarget() {
    measure("retarget", &config(), |of| {
        fill(of);
        let bed = of.vm.bed;
        let all = [MfnRange::new(Mfn(0), Mfn(1 << 30)).unwrap()];
        let first = bed.board().p2m(GUEST).and_then(|p2m| p2m.lookup(Gfn(G1 + 5))).unwrap().frame;
        of.by("one page", || assert_eq!(bed.retarget(GUEST, &[MfnRange::single(first)]), Ok(())));
        of.by("everything", || assert_eq!(bed.retarget(GUEST, &all), Ok(())));
    });
}

#[test]
fn trim() {
    measure("trim", &config(), |of| {
        let context = fill(of);
        for table in 0..1000 {
            assert_eq!(of.vm.unmap(context, 16 * G1 + table * M2, 1), (0, 1));
        }
        let (bed, mut sweep) = (of.vm.bed, Sweep::default());
        of.by("tables without entries", || {
            until_done(|| bed.iommu().trim(bed.domain(GUEST), 0, &mut sweep));
        });
    });
}

#[test]
fn teardown() {
    measure("teardown", &config(), |of| {
        fill(of);
        assert_eq!(of.vm.attach(SECOND, ContextId(5)), 0);
        of.by("all contexts", || assert_eq!(of.vm.bed.teardown(GUEST, 0), 0));
    });
}

#[test]
fn flush_deferred() {
    measure("flush_deferred", &config(), |of| {
        let context = fill(of);
        let left = 4096 - 127 * 31;
        assert_eq!(unmap_later(of.vm, context, 0, left), (0, left));
        let bed = of.vm.bed;
        of.by("a little in each context", || {
            until_done(|| bed.iommu().flush_deferred(bed.domain(GUEST), 0));
        });
        assert_eq!(unmap_later(of.vm, context, 5000, 4096), (0, 4096));
        of.by("all in one", || until_done(|| bed.iommu().flush_deferred(bed.domain(GUEST), 0)));
        // Of frames that follow each other, so that what waits are runs of many pages.
        for run in 0..16 {
            assert_eq!(of.vm.map(context, 24 * G1 + run * M2, G1 + run * 300, 255, RW), (0, 255));
            assert_eq!(unmap_later(of.vm, context, 24 * G1 + run * M2, 255), (0, 255));
        }
        assert_eq!(bed.domain(GUEST).stats().deferred_pages, 16 * 255);
        of.by("runs", || until_done(|| bed.iommu().flush_deferred(bed.domain(GUEST), 0)));
    });
}

#[test]
fn assign() {
    measure("assign", &config(), |of| {
        fill(of);
        let bed = of.vm.bed;
        for device in [DEVICE, SECOND] {
            of.by("taken", || assert_eq!(bed.unassign(GUEST, 0, device), Ok(())));
            of.by("given", || assert_eq!(bed.assign(GUEST, device), Ok(())));
        }
    });
}
