//! What is merged is exactly what was there, whatever the order.

use super::*;

/// First and last frames.
type Bounds<'a> = &'a [(u64, u64)];

const ALL: Access = Access::all();

fn of(kind: ReservedKind, first: u64, last: u64) -> Reserved {
    let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
    Reserved { range, kind, access: Access::empty() }
}

fn window(first: u64, last: u64) -> Reserved {
    of(ReservedKind::BridgeWindow, first, last)
}

fn direct(first: u64, last: u64, access: Access) -> Reserved {
    Reserved { access, ..of(ReservedKind::Direct, first, last) }
}

fn merged(ranges: &[Reserved]) -> Result<Vec<Reserved>, TooManyRanges> {
    let mut out = RangeList::new();
    merge(ranges.iter().copied(), &mut out).map(|()| out.to_vec())
}

#[test]
fn ranges_of_one_kind_that_overlap_or_touch_become_one() {
    let cases: [(Bounds<'_>, Bounds<'_>); 7] = [
        (&[(10, 19), (20, 29)], &[(10, 29)]),
        (&[(10, 19), (21, 29)], &[(10, 19), (21, 29)]),
        (&[(10, 19), (15, 29)], &[(10, 29)]),
        (&[(10, 29), (15, 19)], &[(10, 29)]),
        (&[(10, 19), (10, 19)], &[(10, 19)]),
        // One that joins two others, and comes last.
        (&[(30, 39), (10, 19), (20, 29)], &[(10, 39)]),
        (&[(5, 5), (4, 4), (3, 3), (1, 1), (0, 0)], &[(0, 1), (3, 5)]),
    ];
    for (given, expected) in cases {
        let windows = |of: Bounds<'_>| of.iter().map(|(a, b)| window(*a, *b)).collect::<Vec<_>>();
        assert_eq!(merged(&windows(given)), Ok(windows(expected)), "{given:?}");
    }
}

#[test]
fn kinds_stay_apart() {
    let mut ranges = Vec::from([
        direct(10, 19, ALL),
        of(ReservedKind::DirectRelaxable, 10, 19),
        of(ReservedKind::Reserved, 10, 19),
        of(ReservedKind::Msi, 10, 19),
        window(10, 19),
    ]);
    assert_eq!(merged(&ranges), Ok(ranges.clone()));
    ranges.reverse();
    let again = merged(&ranges).unwrap();
    ranges.reverse();
    assert_eq!(again, ranges);
}

/// Devices share a direct range if they mean exactly the same, so none may grow without need.
#[test]
fn direct_ranges_become_one_only_where_they_would_be_in_conflict() {
    let touching = [direct(10, 19, ALL), direct(20, 29, ALL)];
    assert_eq!(merged(&touching), Ok(touching.to_vec()));
    let overlapping = [direct(10, 20, ALL), direct(20, 29, ALL)];
    assert_eq!(merged(&overlapping), Ok(Vec::from([direct(10, 29, ALL)])));
    // No access is given that nobody asked for: the service refuses the device.
    let unlike = [direct(10, 20, Access::READ), direct(20, 29, Access::WRITE)];
    assert_eq!(merged(&unlike), Ok(unlike.to_vec()));
}

#[test]
fn only_direct_ranges_have_an_access() {
    let loud = Reserved { access: ALL, ..window(10, 19) };
    assert_eq!(merged(&[loud, window(20, 29)]), Ok(Vec::from([window(10, 29)])));
    let relaxable = Reserved { access: ALL, ..of(ReservedKind::DirectRelaxable, 1, 2) };
    assert_eq!(merged(&[relaxable]), Ok(Vec::from([relaxable])));
}

#[test]
fn a_doorbell_of_hardware_wins_over_a_window_to_choose_one_in() {
    let (hardware, software) = (of(ReservedKind::Msi, 50, 59), of(ReservedKind::SoftwareMsi, 1, 9));
    assert_eq!(merged(&[software]), Ok(Vec::from([software])));
    assert_eq!(merged(&[software, hardware]), Ok(Vec::from([hardware])));
}

#[test]
fn the_top_of_the_bus_is_no_exception() {
    let top = LAST_FRAME.0;
    let halves = [window(1, top / 2), window(top / 2 + 1, top), window(0, 0)];
    assert_eq!(merged(&halves), Ok(Vec::from([window(0, top)])));
    // Frames of which no byte has an address.
    assert_eq!(merged(&[window(top + 1, u64::MAX)]), Ok(Vec::new()));
    assert_eq!(merged(&[window(top, u64::MAX)]), Ok(Vec::from([window(top, top)])));
    let all = [window(0, u64::MAX - 1), window(1, u64::MAX)];
    assert_eq!(merged(&all), Ok(Vec::from([window(0, top)])));
}

#[test]
fn a_window_is_rounded_outwards_to_frames() {
    let frames = |first, last| frames_of(Window { first, last });
    assert_eq!(frames(0x1fff, 0x2000), BfnRange::new(Bfn(1), Bfn(2)));
    assert_eq!(frames(0x1234, 0x1234), Some(BfnRange::single(Bfn(1))));
    assert_eq!(frames(0, u64::MAX), BfnRange::new(Bfn(0), LAST_FRAME));
    assert_eq!(frames(0x2000, 0x1fff), None);
    assert_eq!(frames(0x1235, 0x1234), None, "not even if both are in one frame");
}

/// What counts is how many are left, not how many came or in which order.
#[test]
fn one_range_more_than_there_is_room_for_is_an_error() {
    let most = MAX_RANGES as u64;
    let evens = (0..=most).map(|n| window(2 * n, 2 * n));
    let mut ranges: Vec<_> = evens.collect();
    assert_eq!(merged(&ranges), Err(TooManyRanges));
    let mut out = RangeList::new();
    out.push(window(1, 1)).unwrap();
    assert!(merge(ranges.iter().copied(), &mut out).is_err() && out.is_empty());
    // What closes a gap brings it within bounds.
    ranges.push(window(1, 1));
    assert_eq!(merged(&ranges).map(|out| out.len()), Ok(MAX_RANGES));
    ranges.extend((1..most).map(|n| window(2 * n + 1, 2 * n + 1)));
    assert_eq!(merged(&ranges), Ok(Vec::from([window(0, 2 * most)])));
    let words = TooManyRanges.to_string();
    assert_eq!(words, "more than 32 reserved ranges are left after merging");
}

#[cfg(not(loom))]
mod random {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// The frames of each kind and access.
    fn frames(ranges: &[Reserved]) -> BTreeSet<(u64, u8, u8)> {
        let each = |range: &Reserved| {
            let (_, kind, access) = key(range);
            let all = range.range.first().0..=range.range.last().0;
            all.map(move |frame| (frame, kind, access)).collect::<Vec<_>>()
        };
        ranges.iter().flat_map(each).collect()
    }

    /// Few frames and kinds, so that all that can happen to two of them does.
    fn ranges() -> impl Strategy<Value = Vec<Reserved>> {
        let kinds = Vec::from([
            ReservedKind::Direct,
            ReservedKind::DirectRelaxable,
            ReservedKind::SoftwareMsi,
            ReservedKind::BridgeWindow,
        ]);
        let access = select(Vec::from([Access::READ, ALL]));
        let one = (select(kinds), 0..40u64, 0..6u64, access);
        vec(one, 0..24).prop_map(|all| {
            let range = |(kind, first, more, access)| {
                let access = if is_direct(kind) { access } else { Access::empty() };
                Reserved { access, ..of(kind, first, first + more) }
            };
            all.into_iter().map(range).collect()
        })
    }

    proptest! {
        #[test]
        fn merging_covers_exactly_what_was_there(ranges in ranges()) {
            let Ok(out) = merged(&ranges) else { return Ok(()) };
            prop_assert_eq!(frames(&out), frames(&ranges));
            // No frame twice, and nothing left to merge.
            let pages: u64 = out.iter().map(|range| range.range.pages()).sum();
            prop_assert_eq!(pages, frames(&out).len() as u64);
            for (n, range) in out.iter().enumerate() {
                prop_assert!(!out.iter().skip(n + 1).any(|later| belong_together(range, later)));
            }
            prop_assert!(out.is_sorted_by_key(key));
        }

        #[test]
        fn merging_again_changes_nothing(ranges in ranges()) {
            let Ok(out) = merged(&ranges) else { return Ok(()) };
            prop_assert_eq!(merged(&out), Ok(out));
        }

        #[test]
        fn order_and_repetition_do_not_matter(
            (ranges, other) in ranges().prop_flat_map(|ranges| {
                let doubled = [ranges.clone(), ranges.clone()].concat();
                (Just(ranges), Just(doubled).prop_shuffle())
            })
        ) {
            prop_assert_eq!(merged(&ranges), merged(&other));
        }
    }
}
