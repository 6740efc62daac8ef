//! A guest with a device of its own, with and without a virtual IOMMU.

use pviommu_abi::{Background as Wire, DomId, Errno, Gfn, LimitFlags, Origin, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, platform::Access};

use super::{
    ALL_FORMS, BLOCK, DEVICES, HOLE, SCATTERED, ZERO, case, end, gfns, is_background,
    is_never_the_guests, is_not_the_guests, stays_until_unmapped,
};
use crate::acts::{
    Found, background, batch_one, both, element, frame, is_free, limits, lookup, moves, take,
};
use crate::batch_kit::READ_WRITE;
use crate::kit::{DEVICE, GUEST, RW, err, with};

/// "When h/w is passed through the guest gets an identity GFN map", which Xen keeps synchronized with
/// the P2M.
#[test]
fn hvm_without_a_virtual_iommu_has_an_identity_gfn_map_that_xen_maintains() {
    with(&case(GUEST, DefaultMap::IdentityGfn), |vm| {
        let bed = vm.bed;
        let reaches = |gfn| DEVICES.iter().all(|device| moves(bed, *device, gfn, (GUEST, gfn)));
        assert!([0, SCATTERED - 1, BLOCK, BLOCK + 0x1ff].into_iter().all(reaches));
        assert!(is_background(bed, HOLE) && is_background(bed, frame(bed, GUEST, 3).0));
        assert_eq!(bed.counters().references_live, 0, "what is maintained is not held");
        let told = limits(vm, ZERO).unwrap().state;
        assert!(told.contains(LimitFlags::NEED_IOMMU) && !told.contains(LimitFlags::OWNED));

        for gfn in [5, BLOCK + 0x80] {
            if gfn > BLOCK {
                // A change in the middle of a large page leaves its neighbours as they are.
                assert_eq!(lookup(vm, ZERO, gfn).unwrap().order, 9);
            }
            let old = bed.balloon_out(GUEST, Gfn(gfn)).unwrap();
            assert!(is_background(bed, gfn) && is_free(bed, old));
            assert!([gfn - 1, gfn + 1, BLOCK, BLOCK + 0x1ff].into_iter().all(reaches));
            assert_eq!(lookup(vm, ZERO, gfn - 1).unwrap().order, 0);
            let new = bed.populate(GUEST, Gfn(gfn)).unwrap();
            assert!(new != old && reaches(gfn));
            let newer = bed.exchange(GUEST, Gfn(gfn)).unwrap();
            assert!(is_free(bed, new) && reaches(gfn));
            bed.set_access(GUEST, Gfn(gfn), Access::READ).unwrap();
            for device in DEVICES {
                assert_eq!(both(bed, device, gfn), [Found::At(newer), Found::Fault]);
            }
            bed.set_access(GUEST, Gfn(gfn), Access::empty()).unwrap();
            assert!(is_background(bed, gfn), "hidden from the guest, and from its devices");
            bed.set_access(GUEST, Gfn(gfn), Access::all()).unwrap();
            assert!(reaches(gfn));
        }
        // Ranges, over the end of the block and of a table.
        bed.balloon_out_range(GUEST, gfns(BLOCK + 0x1f0, 0x10)).unwrap();
        assert!((0x1f0..0x200).all(|i| is_background(bed, BLOCK + i)) && reaches(BLOCK + 0x1ef));
        bed.populate_range(GUEST, gfns(BLOCK + 0x1f8, 0x10)).unwrap();
        assert!((0x1f8..0x208).all(|i| reaches(BLOCK + i)) && is_background(bed, BLOCK + 0x1f7));

        is_never_the_guests(vm, 3);
        assert!(reaches(3));
        assert_eq!(lookup(vm, ZERO, 3).unwrap().origin, Origin::MAINTAINED);
        let own = vm.context();
        for device in DEVICES {
            assert_eq!(vm.attach(device, own), 0);
        }
        assert!(is_background(bed, 3));
        assert_eq!(vm.map(own, 0x77, 3, 1, RW), (0, 1));
        assert!(moves(bed, DEVICE, 0x77, (GUEST, 3)));
        stays_until_unmapped(vm, GUEST, (own, 0x77), 3);
        for device in DEVICES {
            assert_eq!(vm.attach(device, ZERO), 0);
        }
        assert!(is_background(bed, 3) && reaches(4), "it was kept in step meanwhile");
        end(bed, 4);
    });
}

/// "With virtual VTd I'd expect there would be a guest map and then the guest would get the same level
/// of control over the IOMMU that PV-IOMMU allows."
#[test]
fn hvm_with_a_virtual_iommu_takes_over_from_the_guest_map() {
    with(&case(GUEST, DefaultMap::Guest), |vm| {
        let bed = vm.bed;
        let reaches = |bfn, gfn| DEVICES.iter().all(|it| moves(bed, *it, bfn, (GUEST, gfn)));
        let held = |gfn| bed.board().references(GUEST, Gfn(gfn));
        let pages = SCATTERED + 0x200;
        assert!([0, SCATTERED - 1, BLOCK, BLOCK + 0x1ff].into_iter().all(|gfn| reaches(gfn, gfn)));
        assert_eq!((bed.counters().references_live, held(3), held(BLOCK)), (pages, 1, 1));
        let told = limits(vm, ZERO).unwrap().state;
        assert!(!told.intersects(LimitFlags::NEED_IOMMU | LimitFlags::OWNED));
        is_not_the_guests(vm, 3);
        assert_eq!(lookup(vm, ZERO, 3).unwrap().origin, Origin::INITIAL);

        // Xen does not adjust it: the page stays behind its bus frame until the guest unmaps it.
        let old = frame(bed, GUEST, 5);
        bed.exchange(GUEST, Gfn(5)).unwrap();
        let gone = bed.balloon_out(GUEST, Gfn(BLOCK + 0x80)).unwrap();
        bed.populate(GUEST, Gfn(HOLE)).unwrap();
        let as_it_was = || {
            let zombies = [(5, old), (BLOCK + 0x80, gone)];
            let both = |(bfn, at)| both(bed, DEVICE, bfn) == [Found::At(at); 2];
            zombies.into_iter().all(both) && is_background(bed, HOLE)
        };
        assert!(as_it_was() && !is_free(bed, old) && !is_free(bed, gone));

        // No big switch: the initial entries stay until they are mapped over or unmapped.
        assert_eq!(take(vm, OwnershipMode::KEEP, Wire::DEFAULT), 0);
        assert!(limits(vm, ZERO).unwrap().state.contains(LimitFlags::OWNED) && as_it_was());
        assert_eq!(bed.counters().references_live, pages);
        assert_eq!(vm.unmap(ZERO, 5, 1), (0, 1));
        assert!(is_background(bed, 5) && is_free(bed, old));
        assert_eq!(vm.map(ZERO, BLOCK + 0x80, 7, 1, RW), (0, 1), "no conflict");
        assert!(reaches(BLOCK + 0x80, 7) && is_free(bed, gone) && held(7) == 2);
        assert!(reaches(BLOCK + 0x7f, BLOCK + 0x7f) && reaches(BLOCK + 0x81, BLOCK + 0x81));
        let again = vm.map(ZERO, BLOCK + 0x80, 7, 1, RW);
        assert_eq!(again, (err(Errno::EADDRINUSE), 0), "this one is the guest's own");
        let over = element(pviommu_abi::BatchOp::MAP, READ_WRITE, 0x38, 0x10, 0x10);
        assert_eq!(batch_one(vm, ZERO, DomId::SELF, over), (0, 0, 0x10));
        assert!(reaches(0x38, 0x10) && reaches(0x47, 0x1f) && held(0x38) == 0 && held(0x10) == 2);
        assert_eq!(vm.unmap(ZERO, BLOCK, 0x200), (0, 0x200));
        assert!(is_background(bed, BLOCK) && is_background(bed, BLOCK + 0x80) && held(BLOCK) == 0);
        for form in [OwnershipMode::KEEP, OwnershipMode::CLEAR] {
            assert_eq!(take(vm, form, Wire::DEFAULT), 0);
            assert!(reaches(0x38, 0x10), "it has it already, and nothing changes");
        }
        assert_eq!(vm.unmap(ZERO, 0x10, 1), (0, 1));
        stays_until_unmapped(vm, GUEST, (ZERO, 0x38), 0x10);

        // Back to the start, by the P2M of now; then as a native driver begins.
        assert_eq!(take(vm, OwnershipMode::GIVE_BACK, Wire::DEFAULT), 0);
        assert!(reaches(5, 5) && reaches(0x38, 0x38) && reaches(HOLE, HOLE));
        assert!(is_background(bed, BLOCK + 0x80) && is_background(bed, 0x10));
        assert_eq!((held(0x11), bed.counters().references_live), (1, pages - 1));
        is_not_the_guests(vm, 3);
        assert_eq!(take(vm, OwnershipMode::CLEAR, Wire::FAULT), 0);
        assert_eq!(bed.counters().references_live, 0);
        for bfn in [3, 5, BLOCK, HOLE] {
            assert_eq!(both(bed, DEVICE, bfn), [Found::Fault; 2], "the background it chose");
        }
        assert_eq!(vm.map(ZERO, 3, 4, 1, RW), (0, 1));
        assert!(reaches(3, 4));
        assert_eq!(take(vm, OwnershipMode::GIVE_BACK, Wire::DEFAULT), 0);
        assert!(reaches(3, 3) && both(bed, DEVICE, 0x2000) == [background(); 2]);
        for form in ALL_FORMS {
            assert_eq!(take(vm, form, Wire::DEFAULT), 0);
        }
        end(bed, 3);
    });
}
