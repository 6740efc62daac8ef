//! The hardware domain, with and without a driver for its IOMMU.

use pviommu_abi::{
    Background as Wire, BatchOp, CapabilityFlags, DomId, Errno, Gfn, LimitFlags, Origin,
    OwnershipMode,
};
use pviommu_hypervisor::{DefaultMap, platform::Access};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Step, When},
};

use super::{
    ALL_FORMS, BLOCK, DEVICES, HOLE, ZERO, case, end, is_background, is_never_the_guests,
    is_not_the_guests, stays_until_unmapped,
};
use crate::acts::{
    Found, background, batch_one, both, element, find, frame, is_free, limits, lookup, moves, take,
    take_step_by_step,
};
use crate::batch_kit::READ_WRITE;
use crate::kit::{DEVICE, DOM0, GUEST, RW, Vm, err, with};

/// "... otherwise it is an identity MFN map": of the domain's own pages, kept in step with its P2M.
/// INV-70.
#[test]
fn dom0_in_strict_mode_has_an_identity_mfn_map_that_xen_maintains() {
    with(&case(DOM0, DefaultMap::IdentityMfn), |vm| {
        let bed = vm.bed;
        let dom0 = Vm::new(bed, DOM0, 0);
        let at = |gfn| frame(bed, DOM0, gfn);
        let reaches_own = |gfn| {
            let reach = |device: &_| moves(bed, *device, at(gfn).0, (DOM0, gfn));
            DEVICES.iter().all(reach)
        };
        assert!([0, 0x3f, BLOCK, BLOCK + 0x1ff].into_iter().all(reaches_own));
        assert!(is_background(bed, frame(bed, GUEST, 3).0), "another domain's page");
        assert_eq!(bed.counters().references_live, 0, "what is maintained is not held");
        let told = limits(&dom0, ZERO).unwrap().state;
        assert!(told.contains(LimitFlags::NEED_IOMMU) && !told.contains(LimitFlags::OWNED));
        assert!(bed.domain(DOM0).need_iommu());
        assert!(dom0.capabilities().cap_flags.contains(CapabilityFlags::DEFAULT_IDENTITY));

        // When the P2M of the domain is modified, Xen adjusts the mappings accordingly.
        for gfn in [5, BLOCK + 0x80] {
            let old = bed.balloon_out(DOM0, Gfn(gfn)).unwrap();
            assert!(is_background(bed, old.0) && is_free(bed, old));
            let new = bed.populate(DOM0, Gfn(gfn)).unwrap();
            assert!(new != old && reaches_own(gfn));
            let newer = bed.exchange(DOM0, Gfn(gfn)).unwrap();
            assert!(is_background(bed, new.0) && is_free(bed, new) && reaches_own(gfn));
            bed.set_access(DOM0, Gfn(gfn), Access::READ).unwrap();
            for device in DEVICES {
                assert_eq!(both(bed, device, newer.0), [Found::At(newer), Found::Fault]);
            }
            bed.set_access(DOM0, Gfn(gfn), Access::all()).unwrap();
            assert!(reaches_own(gfn) && reaches_own(gfn - 1) && reaches_own(gfn + 1));
        }
        bed.populate(DOM0, Gfn(HOLE)).unwrap();
        assert!(reaches_own(HOLE));

        is_never_the_guests(&dom0, at(3).0);
        assert!(reaches_own(3));
        assert_eq!(lookup(&dom0, ZERO, at(3).0).unwrap().origin, Origin::MAINTAINED);

        // Contexts that it allocated are its own all the same.
        let own = dom0.context();
        for device in DEVICES {
            assert_eq!(dom0.attach(device, own), 0);
        }
        assert!(is_background(bed, at(3).0), "it sees its own context and no other");
        assert_eq!(dom0.map(own, 0x77, 3, 2, RW), (0, 2));
        assert!(moves(bed, DEVICE, 0x77, (DOM0, 3)) && moves(bed, DEVICE, 0x78, (DOM0, 4)));
        stays_until_unmapped(&dom0, DOM0, (own, 0x77), 3);
        assert_eq!(dom0.attach(DEVICE, ZERO), 0);
        assert!(moves(bed, DEVICE, at(4).0, (DOM0, 4)));
        end(bed, at(4).0);
    });
}

/// "With PV-IOMMU there is also a host map but ... only initialized and not maintained", and Tian's
/// ownership switch: "clear all initial mappings before serving". INV-71.
#[test]
fn dom0_with_a_pv_iommu_driver_takes_over_from_the_host_map() {
    with(&case(DOM0, DefaultMap::Host), |vm| {
        let bed = vm.bed;
        let dom0 = Vm::new(bed, DOM0, 0);
        let at = |gfn| frame(bed, DOM0, gfn);
        let host = |domain, gfn| {
            let reach = |device: &_| moves(bed, *device, frame(bed, domain, gfn).0, (domain, gfn));
            DEVICES.iter().all(reach)
        };
        // It is trusted with all memory, and holds none of it.
        assert!(host(DOM0, 0) && host(DOM0, BLOCK + 0x1ff) && host(GUEST, 3));
        assert_eq!(bed.counters().references_live, 0);
        let told = limits(&dom0, ZERO).unwrap().state;
        assert!(!told.intersects(LimitFlags::NEED_IOMMU | LimitFlags::OWNED));
        is_not_the_guests(&dom0, at(3).0);
        let initial = |bfn| lookup(&dom0, ZERO, bfn).is_ok_and(|it| it.origin == Origin::INITIAL);

        // Nothing happens when pages are removed from or added to it.
        let old = bed.exchange(DOM0, Gfn(5)).unwrap();
        let gone = bed.balloon_out(DOM0, Gfn(6)).unwrap();
        assert!(initial(old.0) && initial(gone.0) && is_free(bed, gone));
        assert!(host(DOM0, 5), "all memory is mapped, whoever has it");

        // The switch: each access goes through the one map or the other.
        bed.schedule().set(Step::Yield, When::Every(1));
        let mut moved = Vec::new();
        let entries = take_step_by_step(&dom0, DOM0, OwnershipMode::CLEAR, || {
            // At last the old table goes, piece by piece.
            if !bed.domain(DOM0).owns_default() {
                is_not_the_guests(&dom0, at(3).0);
            }
            let found = DEVICES.map(|device| find(bed, device, at(3).0, Direction::Write));
            assert!(found.iter().all(|it| [Found::At(at(3)), background()].contains(it)));
            moved.push(found.iter().filter(|it| **it == background()).count());
        });
        bed.schedule().clear();
        assert!(entries > 2 && moved.is_sorted() && moved.contains(&1), "{moved:?}");
        assert!(limits(&dom0, ZERO).unwrap().state.contains(LimitFlags::OWNED));
        for gone in [at(0), at(5), at(BLOCK), frame(bed, GUEST, 3)] {
            assert!(is_background(bed, gone.0) && lookup(&dom0, ZERO, gone.0).is_err());
        }
        assert_eq!(take(&dom0, OwnershipMode::CLEAR, Wire::DEFAULT), 0, "it has it already");

        // The domain controls its own mappings.
        assert_eq!(dom0.map(ZERO, 0x10, 7, 3, RW), (0, 3));
        let element = element(BatchOp::MAP, READ_WRITE, 0x400, BLOCK, 0x200);
        assert_eq!(batch_one(&dom0, ZERO, DomId::SELF, element), (0, 0, 0x200));
        assert!((0..3).all(|i| moves(bed, DEVICE, 0x10 + i, (DOM0, 7 + i))));
        assert!(moves(bed, DEVICE, 0x5ff, (DOM0, BLOCK + 0x1ff)));
        assert_eq!(dom0.map(ZERO, 0x11, 7, 1, RW), (err(Errno::EADDRINUSE), 0));
        assert_eq!(bed.counters().references_live, 0x203);

        // It does not conflict with anything that Xen is doing.
        stays_until_unmapped(&dom0, DOM0, (ZERO, 0x10), 7);
        let held = at(8);
        let new = bed.exchange(DOM0, Gfn(8)).unwrap();
        assert_eq!(both(bed, DEVICE, 0x11), [Found::At(held); 2], "it is pinned");
        assert!(is_background(bed, new.0) && is_background(bed, held.0));

        // The next kernel starts as this one did.
        assert_eq!(take(&dom0, OwnershipMode::GIVE_BACK, Wire::DEFAULT), 0);
        assert!(is_free(bed, held) && bed.counters().references_live == 0);
        assert!(host(DOM0, 0) && host(DOM0, 8) && host(GUEST, 3) && initial(at(9).0));
        assert!(is_background(bed, 0x12), "what the old kernel mapped is gone");
        is_not_the_guests(&dom0, at(3).0);
        for form in ALL_FORMS {
            assert_eq!(take(&dom0, form, Wire::DEFAULT), 0);
        }
        assert!(host(DOM0, 8));
        end(bed, at(8).0);
    });
}
