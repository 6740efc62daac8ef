//! Flush first, then give back: each kind of thing, with a device that has it cached.

use pviommu_abi::{ContextId, Gfn};

use crate::kit::{DEVICE, GUEST, RW, with_guest};

/// INV-20.
#[test]
fn a_page_is_given_back_after_the_flush_of_its_unmap() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 8, RW), (0, 8));
        assert!((5..13).all(|bfn| vm.writes(DEVICE, bfn)));
        assert_eq!(vm.unmap(context, 5, 8), (0, 8));
        assert_eq!(vm.bed.violations(), []);
        vm.bed.board().free_page(GUEST, Gfn(1)).unwrap();
        assert!((5..13).all(|bfn| !vm.writes(DEVICE, bfn)));
        vm.end();
    });
}

/// INV-07.
#[test]
fn a_table_is_freed_after_the_flush_of_what_led_to_it() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        // Leaf tables in one above, and each in one of its own: more than are kept empty.
        for far in [512, 512 * 512] {
            for table in 0..12 {
                assert_eq!(vm.map(context, table * far, table, 1, RW), (0, 1));
                assert!(vm.writes(DEVICE, table * far));
            }
            let before = vm.bed.counters().table_frames_live;
            for table in 0..12 {
                assert_eq!(vm.unmap(context, table * far, 1), (0, 1));
            }
            assert!(vm.bed.counters().table_frames_live < before);
            assert!((0..12).all(|table| !vm.writes(DEVICE, table * far)));
        }
        assert_eq!(vm.bed.violations(), []);
        vm.end();
    });
}

/// INV-09, INV-10: the next context gets the tag of the one that the device has left.
#[test]
fn a_tag_is_flushed_before_another_context_gets_it() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 1, RW), (0, 1));
        assert!(vm.writes(DEVICE, 5));
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        let next = vm.context();
        assert_eq!(vm.attach(DEVICE, next), 0);
        assert_eq!(vm.bed.violations(), []);
        assert!(!vm.writes(DEVICE, 5), "the former context's translation is in force");
        vm.end();
    });
}
