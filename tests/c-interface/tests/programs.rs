//! Each test of the programs in C, on units of both makes, the usual ones and those as poor as they come.

use pviommu_c_tests::{on_machine, suite::Suite};
use pviommu_testbed::machine::UnitKind;

/// A test for each name; and one that no test of C is without.
macro_rules! tests {
    ($suite:expr, $all:ident: $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                for unit in UnitKind::ALL.into_iter().filter(|unit| unit.is_built()) {
                    for facts in [unit.facts(), unit.poor_facts()] {
                        on_machine(facts, |bed| $suite.run(stringify!($name), bed));
                    }
                }
            }
        )*

        #[test]
        fn $all() {
            assert_eq!($suite.names(), [$(stringify!($name)),*]);
        }
    };
}

tests! {
    Suite::LinuxV7, every_test_of_the_linux_driver_runs:
    probing_sets_the_service_up_once
    init_beyond_limits_is_refused
    every_device_has_a_context_of_its_own
    a_device_moves_between_contexts
    a_loop_of_single_pages_adds_up_in_one_structure
    a_range_is_mapped_by_one_call
    a_call_that_gives_way_goes_on_from_its_structure
    an_error_keeps_what_came_before
    an_unmap_stops_at_a_hole_and_counts
    a_context_with_devices_is_not_freed
    padding_is_ignored_and_preserved
    a_mapping_to_read_is_not_written
    what_makes_no_sense_is_refused
    what_is_not_served_says_so
    reserved_ranges_are_counted_then_told
    a_buffer_that_is_too_small_holds_the_first
    reserved_ranges_cannot_be_mapped
    drivers_come_and_go_for_ever
}

tests! {
    Suite::Embedder, every_test_of_the_embedder_runs:
    scattered_pages_are_acquired_by_a_list
    pages_that_leave_are_taken_out
    empty_tables_are_given_back
    only_a_maintained_map_follows_the_p2m
    devices_go_where_they_are_given
    a_device_that_faults_without_end_is_stopped
}

tests! {
    Suite::Refusals, every_test_of_refusals_runs:
    null_is_no_object
    what_is_not_aligned_is_no_object
    another_kind_of_object_is_none
    numbers_that_mean_nothing_are_refused
    objects_are_made_in_memory_that_fits_only
    a_machine_that_does_not_fit_says_why
    an_operator_sees_what_there_is
}
