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

/// Tests of these names, each of which makes its check of a table of every kind.
macro_rules! on_every_kind {
    ($($file:ident: $($name:ident)+;)+) => {
        $($(
            #[test]
            fn $name() {
                rigs($file::$name);
            }
        )+)+
    };
}

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

            on_every_kind! {
                corners:
                    pages_at_all_corners_are_found_and_nothing_beside_them
                    leaves_of_all_sizes_are_found_and_go_as_they_came
                    runs_of_all_lengths_go_on_in_the_next_table
                    nothing_is_mapped_beyond_the_table
                    a_map_says_what_it_ended_at;
                singles:
                    single_pages_are_mapped_where_tables_are_and_go_as_they_came
                    single_pages_are_left_alone_where_anything_is_unusual;
                large:
                    leaves_of_one_call_end_with_their_table_and_at_what_is_in_the_way
                    a_run_is_filled_with_the_largest_leaves_that_fit
                    what_is_before_an_unmap_in_its_leaf_stays
                    leaves_that_follow_each_other_go_by_one_call;
                splits:
                    a_split_keeps_every_page_at_every_instant
                    a_split_that_was_paid_for_takes_what_was_reserved
                    no_leaf_is_formed_where_tables_are
                    a_leaf_that_cannot_be_split_goes_as_a_whole_if_it_may;
                backgrounds:
                    a_blocked_range_is_not_present_and_not_mapped
                    what_is_as_it_is_to_be_takes_no_tables
                    a_direct_range_leads_to_the_frames_of_its_numbers
                    neighbours_of_a_map_lead_to_the_scratch_page_at_every_instant
                    a_frame_that_was_not_linked_is_as_it_came;
                emptied:
                    few_tables_are_left_wherever_pages_were
                    few_tables_are_left_wherever_large_leaves_were
                    few_tables_are_left_of_pages_and_leaves_together
                    the_tables_of_one_page_or_leaf_stay
                    tables_that_had_to_stay_are_counted_until_they_go
                    tables_that_are_in_use_leave_room_for_others;
                passes:
                    what_is_blocked_stays_when_empty_tables_go
                    a_piece_takes_no_table_with_what_is_before_it
                    a_piece_takes_out_no_more_pages_than_it_may
                    a_pass_for_empty_tables_looks_at_no_pages;
                foreign:
                    handles_stay_while_their_pages_do
                    no_table_is_linked_before_there_are_enough
                    nothing_is_mapped_by_a_handle_that_there_is_not;
                initial:
                    no_larger_leaf_is_filled_in_than_frames_are_aligned_to
                    filling_links_no_table_for_what_comes_after
                    a_guests_leaf_takes_the_place_of_one_it_started_with
                    a_part_that_is_blocked_takes_only_what_was_paid_for;
                told:
                    a_map_over_scratch_is_flushed_as_far_up_as_it_changed
                    a_page_that_is_blocked_is_flushed_as_a_leaf
                    what_there_is_no_room_for_is_left_until_after_the_flush;
                taken:
                    a_leaf_that_goes_as_a_whole_takes_no_tables
                    a_table_whose_pages_were_taken_out_is_empty;
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
