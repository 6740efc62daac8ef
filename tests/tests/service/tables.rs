//! Tables without entries: a few stay, the others go, and nothing goes too early.

use pviommu_testbed::{machine::Config, measure::memory_counts};

use crate::kinds;
use crate::kit::{DEVICE, GUEST, RW, background_tables, over_scratch, with, with_guest};

/// The root, and one table of levels 2 and 1 each.
fn upper() -> u32 {
    3 + background_tables()
}

#[test]
fn a_few_empty_tables_stay_until_a_trim() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        let empty = vm.bed.counters().table_frames_live;
        for i in 0..40 {
            assert_eq!(vm.map(context, i * 512, i % 16, 1, RW), (0, 1));
        }
        assert_eq!(vm.bed.counters().table_frames_live, upper() + 40);
        for i in 0..40 {
            assert_eq!(vm.unmap(context, i * 512, 1), (0, 1));
        }
        let left = vm.bed.counters().table_frames_live;
        assert!((empty + 4..=empty + 8).contains(&left), "{left} beside {empty}");
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        assert_eq!(vm.bed.counters().table_frames_live, empty);
        assert_eq!(vm.map(context, 7, 3, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 7, 3));
        vm.end();
    });
}

#[test]
fn one_call_over_many_leaf_tables_leaves_no_more_than_eight_tables() {
    with_guest(40 * 512, |vm| {
        let context = vm.attached_context();
        let empty = vm.bed.counters().table_frames_live;
        assert_eq!(vm.map(context, 100, 0, 40 * 512, RW), (0, 40 * 512));
        assert!(vm.lands_in(DEVICE, 100 + 40 * 512 - 1, 40 * 512 - 1));
        assert_eq!(vm.unmap(context, 100, 40 * 512), (0, 40 * 512));
        assert!(vm.bed.counters().table_frames_live <= empty + 8);
        vm.end();
    });
}

#[test]
fn a_trim_keeps_what_is_mapped() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        for i in 0..6 {
            assert_eq!(vm.map(context, i * 512 * 512, i, 1, RW), (0, 1));
        }
        for i in [1, 3, 5] {
            assert_eq!(vm.unmap(context, i * 512 * 512, 1), (0, 1));
        }
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        assert!([0, 2, 4].iter().all(|i| vm.lands_in(DEVICE, i * 512 * 512, *i)));
        // A table of each level below 2 for each of the three.
        assert_eq!(vm.bed.counters().table_frames_live, upper() - 1 + 3 + 3);
        vm.end();
    });
}

/// A unit that goes on with a table it cached would miss a map in the table that replaced it.
#[test]
fn a_freed_leaf_table_is_not_walked_again() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        for round in 0..3 {
            for i in 0..20 {
                assert_eq!(vm.map(context, i * 512 + round, i % 16, 1, RW), (0, 1));
                assert!(vm.lands_in(DEVICE, i * 512 + round, i % 16));
            }
            for i in 0..20 {
                assert_eq!(vm.unmap(context, i * 512 + round, 1), (0, 1));
                assert!(!vm.reads(DEVICE, i * 512 + round));
            }
        }
        assert_eq!(vm.bed.violations(), []);
        vm.end();
    });
}

/// INV-02, INV-07: the entry that pointed to it is published, too, before the table is freed.
#[test]
fn a_table_that_was_unlinked_is_not_walked_by_a_unit_that_does_not_snoop() {
    use pviommu_hypervisor::platform::UnitFeatures;
    let mut config = Config::one_guest(16);
    config.units[0].features.remove(UnitFeatures::COHERENT);
    with(&config, |vm| {
        let context = vm.attached_context();
        // Leaf tables, and those above with them.
        for far in [512, 512 * 512, 512 * 512] {
            for i in 0..20 {
                assert_eq!(vm.map(context, i * far, i % 16, 1, RW), (0, 1));
            }
            for i in 0..20 {
                assert_eq!(vm.unmap(context, i * far, 1), (0, 1));
            }
            assert!((0..20).all(|i| vm.hits_background(DEVICE, i * far)));
        }
        assert_eq!(vm.bed.violations(), []);
        vm.end();
    });
}

#[test]
fn tables_are_as_deep_as_the_unit_needs() {
    use pviommu_hypervisor::platform::UnitFeatures;
    for (feature, bits) in
        [(UnitFeatures::LEVELS_3, 39), (UnitFeatures::LEVELS_4, 48), (UnitFeatures::LEVELS_5, 57)]
    {
        let mut config = Config::one_guest(16);
        let unit = &mut config.units[0];
        unit.features.remove(UnitFeatures::LEVELS_4);
        unit.features.insert(feature);
        unit.bus_address_bits = bits;
        with(&config, |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.capabilities().max_iova_addr, (1 << bits) - 1);
            let top = (1u64 << (bits - 12)) - 1;
            assert_eq!(vm.map(context, top, 5, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, top, 5));
            vm.end();
        });
    }
}

/// A walker that does not snoop sees what has been published only.
#[test]
fn units_that_cache_what_is_not_present_are_told_of_maps() {
    use pviommu_hypervisor::platform::UnitFeatures;
    let mut config = Config::one_guest(600);
    config.units[0].features.insert(UnitFeatures::CACHES_NOT_PRESENT);
    with(&config, |vm| {
        let context = vm.attached_context();
        assert!(!vm.reads(DEVICE, 1) && !vm.reads(DEVICE, 599));
        assert_eq!(vm.map(context, 0, 0, 600, RW), (0, 600));
        assert!(vm.lands_in(DEVICE, 1, 1) && vm.lands_in(DEVICE, 599, 599));
        // Over a scratch page nothing turns present that was not.
        let (syncs, flushes) = (vm.bed.counters().map_syncs, vm.bed.counters().iotlb_flushes);
        assert_eq!(
            (syncs, flushes),
            if over_scratch() { (0, 1) } else { (1, 0) },
            "one call, one of them"
        );
        vm.end();
    });
}

/// What a mapping takes is its entry, and nothing beside the table; what is left of it is a few tables, and no more than
/// that whatever the background.
#[test]
fn a_mapping_takes_no_memory_but_its_entry_and_leaves_a_few_tables() {
    let counts = memory_counts(kinds::unit(), kinds::background());
    assert!(counts.iter().all(|count| count.is_met()), "{counts:?}");
}
