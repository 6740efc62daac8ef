//! What every page-table format must do, and what the table does in every format: written once,
//! for each of them, and for one that no hardware has.
//!
//! A new format is one more line at the end of this file. Whether its bits are those of the
//! specification is not asked here, but by its own golden words and by a walker of the testbed.

#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod arena;
mod backgrounds;
mod bits;
mod corners;
mod device;
mod emptied;
mod foreign;
mod initial;
mod large;
mod odd;
mod passes;
mod random;
mod rig;
mod singles;
mod splits;
mod taken;
mod told;

#[cfg(feature = "amdvi")]
use pviommu_hypervisor::format::AmdV1;
#[cfg(feature = "vtd")]
use pviommu_hypervisor::format::VtdSecondStage;

/// Runs the suite for a format: the widths of its frame numbers in bits, the depths of its
/// tables, and the highest level of its leaves.
macro_rules! conformance {
    ($name:ident: $format:ty, frames $frames:literal, levels $levels:expr, leaves $leaves:literal) => {
        mod $name {
            use super::*;

            type Rig = rig::Rig<$format>;

            fn rigs(check: impl Fn(&mut Rig)) {
                rig::every_kind($levels, $leaves).for_each(|kind| check(&mut Rig::new(kind)));
            }

            #[test]
            fn leaves_are_read_as_they_were_written() {
                bits::leaves_are_read_as_they_were_written::<$format>($frames, $leaves);
            }

            #[test]
            fn table_entries_are_read_as_they_were_written() {
                bits::table_entries_are_read_as_they_were_written::<$format>($frames);
            }

            #[test]
            fn soft_bits_change_nothing_else() {
                bits::soft_bits_change_nothing_else::<$format>();
            }

            #[test]
            fn the_next_leaf_of_a_run_maps_the_next_frame() {
                bits::the_next_leaf_of_a_run_maps_the_next_frame::<$format>($frames);
            }

            #[test]
            fn an_empty_entry_is_like_no_other() {
                bits::an_empty_entry_is_like_no_other::<$format>();
            }

            #[test]
            fn any_word_can_be_read() {
                bits::any_word_can_be_read::<$format>();
            }

            #[test]
            fn pages_at_all_corners_are_found_and_nothing_beside_them() {
                rigs(corners::pages_at_all_corners_are_found_and_nothing_beside_them);
            }

            #[test]
            fn single_pages_are_mapped_where_tables_are_and_go_as_they_came() {
                rigs(singles::single_pages_are_mapped_where_tables_are_and_go_as_they_came);
            }

            #[test]
            fn single_pages_are_left_alone_where_anything_is_unusual() {
                rigs(singles::single_pages_are_left_alone_where_anything_is_unusual);
            }

            #[test]
            fn leaves_of_all_sizes_are_found_and_go_as_they_came() {
                rigs(corners::leaves_of_all_sizes_are_found_and_go_as_they_came);
            }

            #[test]
            fn leaves_of_one_call_end_with_their_table_and_at_what_is_in_the_way() {
                rigs(large::leaves_of_one_call_end_with_their_table_and_at_what_is_in_the_way);
            }

            #[test]
            fn a_run_is_filled_with_the_largest_leaves_that_fit() {
                rigs(large::a_run_is_filled_with_the_largest_leaves_that_fit);
            }

            #[test]
            fn runs_of_all_lengths_go_on_in_the_next_table() {
                rigs(corners::runs_of_all_lengths_go_on_in_the_next_table);
            }

            #[test]
            fn nothing_is_mapped_beyond_the_table() {
                rigs(corners::nothing_is_mapped_beyond_the_table);
            }

            #[test]
            fn a_split_keeps_every_page_at_every_instant() {
                rigs(splits::a_split_keeps_every_page_at_every_instant);
            }

            #[test]
            fn a_split_that_was_paid_for_takes_what_was_reserved() {
                rigs(splits::a_split_that_was_paid_for_takes_what_was_reserved);
            }

            #[test]
            fn no_leaf_is_formed_where_tables_are() {
                rigs(splits::no_leaf_is_formed_where_tables_are);
            }

            #[test]
            fn a_blocked_range_is_not_present_and_not_mapped() {
                rigs(backgrounds::a_blocked_range_is_not_present_and_not_mapped);
            }

            #[test]
            fn what_is_as_it_is_to_be_takes_no_tables() {
                rigs(backgrounds::what_is_as_it_is_to_be_takes_no_tables);
            }

            #[test]
            fn a_direct_range_leads_to_the_frames_of_its_numbers() {
                rigs(backgrounds::a_direct_range_leads_to_the_frames_of_its_numbers);
            }

            #[test]
            fn neighbours_of_a_map_lead_to_the_scratch_page_at_every_instant() {
                rigs(backgrounds::neighbours_of_a_map_lead_to_the_scratch_page_at_every_instant);
            }

            #[test]
            fn few_tables_are_left_wherever_pages_were() {
                rigs(emptied::few_tables_are_left_wherever_pages_were);
            }

            #[test]
            fn few_tables_are_left_wherever_large_leaves_were() {
                rigs(emptied::few_tables_are_left_wherever_large_leaves_were);
            }

            #[test]
            fn few_tables_are_left_of_pages_and_leaves_together() {
                rigs(emptied::few_tables_are_left_of_pages_and_leaves_together);
            }

            #[test]
            fn the_tables_of_one_page_or_leaf_stay() {
                rigs(emptied::the_tables_of_one_page_or_leaf_stay);
            }

            #[test]
            fn what_is_blocked_stays_when_empty_tables_go() {
                rigs(passes::what_is_blocked_stays_when_empty_tables_go);
            }

            #[test]
            fn a_piece_takes_no_table_with_what_is_before_it() {
                rigs(passes::a_piece_takes_no_table_with_what_is_before_it);
            }

            #[test]
            fn a_piece_takes_out_no_more_pages_than_it_may() {
                rigs(passes::a_piece_takes_out_no_more_pages_than_it_may);
            }

            #[test]
            fn a_pass_for_empty_tables_looks_at_no_pages() {
                rigs(passes::a_pass_for_empty_tables_looks_at_no_pages);
            }

            #[test]
            fn handles_stay_while_their_pages_do() {
                rigs(foreign::handles_stay_while_their_pages_do);
            }

            #[test]
            fn no_table_is_linked_before_there_are_enough() {
                rigs(foreign::no_table_is_linked_before_there_are_enough);
            }

            #[test]
            fn nothing_is_mapped_by_a_handle_that_there_is_not() {
                rigs(foreign::nothing_is_mapped_by_a_handle_that_there_is_not);
            }

            #[test]
            fn no_larger_leaf_is_filled_in_than_frames_are_aligned_to() {
                rigs(initial::no_larger_leaf_is_filled_in_than_frames_are_aligned_to);
            }

            #[test]
            fn filling_links_no_table_for_what_comes_after() {
                rigs(initial::filling_links_no_table_for_what_comes_after);
            }

            #[test]
            fn a_guests_leaf_takes_the_place_of_one_it_started_with() {
                rigs(initial::a_guests_leaf_takes_the_place_of_one_it_started_with);
            }

            #[test]
            fn a_part_that_is_blocked_takes_only_what_was_paid_for() {
                rigs(initial::a_part_that_is_blocked_takes_only_what_was_paid_for);
            }

            #[test]
            fn a_map_over_scratch_is_flushed_as_far_up_as_it_changed() {
                rigs(told::a_map_over_scratch_is_flushed_as_far_up_as_it_changed);
            }

            #[test]
            fn a_page_that_is_blocked_is_flushed_as_a_leaf() {
                rigs(told::a_page_that_is_blocked_is_flushed_as_a_leaf);
            }

            #[test]
            fn what_there_is_no_room_for_is_left_until_after_the_flush() {
                rigs(told::what_there_is_no_room_for_is_left_until_after_the_flush);
            }

            #[test]
            fn a_leaf_that_goes_as_a_whole_takes_no_tables() {
                rigs(taken::a_leaf_that_goes_as_a_whole_takes_no_tables);
            }

            #[test]
            fn a_table_whose_pages_were_taken_out_is_empty() {
                rigs(taken::a_table_whose_pages_were_taken_out_is_empty);
            }

            #[test]
            fn tables_that_had_to_stay_are_counted_until_they_go() {
                rigs(emptied::tables_that_had_to_stay_are_counted_until_they_go);
            }

            #[test]
            fn tables_that_are_in_use_leave_room_for_others() {
                rigs(emptied::tables_that_are_in_use_leave_room_for_others);
            }

            #[test]
            fn what_is_before_an_unmap_in_its_leaf_stays() {
                rigs(large::what_is_before_an_unmap_in_its_leaf_stays);
            }

            #[test]
            fn leaves_that_follow_each_other_go_by_one_call() {
                rigs(large::leaves_that_follow_each_other_go_by_one_call);
            }

            #[test]
            fn a_leaf_that_cannot_be_split_goes_as_a_whole_if_it_may() {
                rigs(splits::a_leaf_that_cannot_be_split_goes_as_a_whole_if_it_may);
            }

            #[test]
            fn a_map_says_what_it_ended_at() {
                rigs(corners::a_map_says_what_it_ended_at);
            }

            #[test]
            fn a_frame_that_was_not_linked_is_as_it_came() {
                rigs(backgrounds::a_frame_that_was_not_linked_is_as_it_came);
            }

            #[test]
            fn random_maps_and_unmaps_are_what_a_list_says() {
                random::random_maps_and_unmaps_are_what_a_list_says::<$format>($levels, $leaves);
            }
        }
    };
}

#[cfg(feature = "vtd")]
conformance!(vtd_second_stage: VtdSecondStage, frames 40, levels 3..=5, leaves 2);
#[cfg(feature = "amdvi")]
conformance!(amd_v1: AmdV1, frames 40, levels 3..=5, leaves 2);
conformance!(unlike_all_others: odd::Odd, frames 36, levels 2..=5, leaves 3);
