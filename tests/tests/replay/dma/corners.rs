//! Corners of what drivers may do, and lines that contradict others.

use pviommu_testbed::replay::{Mode, Summary, run};

use super::{clean, in_mode, modes, reuse};
use crate::text::{FIRST, HEADER, trace};

const ATTACHED: &str = "D 1 DMA 00:01.0\n";

/// Replays `events` after the function has come, in all modes.
fn in_all_modes(events: &str) -> [Summary; 3] {
    modes().map(|mode| {
        let summary = clean(mode, &format!("{ATTACHED}{events}"));
        assert_eq!(summary.oddities, 0, "{mode:?}: {summary}");
        summary
    })
}

#[test]
fn small_buffers_share_a_page_in_all_directions() {
    let [strict, ..] = in_all_modes(
        "m 00:01.0 T fffff100 5100 8
         m 00:01.0 F ffffe200 5200 16
         m 00:01.0 B ffffd300 5300 1
         m 00:01.0 T ffffcff0 5ff0 32
         u 00:01.0 T fffff100 8
         u 00:01.0 F ffffe200 16
         u 00:01.0 B ffffd300 1
         u 00:01.0 T ffffcff0 32",
    );
    assert_eq!((strict.dma_maps, strict.dma_unmaps, strict.hypercalls), (4, 4, 8), "{strict}");
}

#[test]
fn the_same_buffer_mapped_twice_is_shared_where_mappings_are_kept() {
    let [strict, _, kept] = in_all_modes(
        "m 00:01.0 T fffff000 5000 4096
         m 00:01.0 T ffffe000 5000 4096
         u 00:01.0 T fffff000 4096
         m 00:01.0 F ffffd000 5000 4096
         u 00:01.0 T ffffe000 4096
         m 00:01.0 T ffffc000 5800 8
         u 00:01.0 T ffffc000 8
         u 00:01.0 F ffffd000 4096",
    );
    assert_eq!((strict.map_hypercalls, strict.reuse_hits), (4, 0), "{strict}");
    // Another direction is another mapping; another part of the same page is not.
    assert_eq!((kept.map_hypercalls, kept.reuse_hits), (2, 2), "{kept}");
}

#[test]
fn a_scatter_list_is_one_call_however_long_it_is() {
    let mut events = String::new();
    let pieces: Vec<String> = (0..300).map(|i| format!("{:x}", 0x10_0000 + i * 0x2000)).collect();
    for (i, piece) in pieces.iter().enumerate() {
        events.push_str(&format!("M 1 {:x} {piece} 4096 w\n", 0xff00_0000 + i * 4096));
    }
    // The line holds 128 of them.
    let listed = pieces[..128].join(",");
    events.push_str(&format!("P 1 ff000000 {}\n", 300 * 4096));
    events.push_str(&format!("g 00:01.0 F 300 1 ff000000:{:x} {listed}\n", 300 * 4096));
    events.push_str("h 00:01.0 F 300 100000\n");
    let [strict, lazy, _] = in_all_modes(&events);
    assert_eq!((strict.map_hypercalls, strict.dma_maps, strict.dma_unmaps), (1, 1, 1), "{strict}");
    assert_eq!(lazy.hypercalls, 2, "the map, and the flush at the end: {lazy}");
}

#[test]
fn pieces_of_a_list_that_do_not_touch_on_the_bus_stay_apart() {
    in_all_modes(
        "M 1 ffff0000 9000 4096 rw
         M 1 ffff1000 3000 8192 rw
         P 1 ffff0000 12288
         g 00:01.0 B 3 2 ffff0800:100,ffff1000:1200 9800,3000,4000
         h 00:01.0 B 3 9800",
    );
}

#[test]
fn coherent_memory_lies_where_the_trace_has_mapped_it() {
    let [strict, lazy, kept] = in_all_modes(
        "M 1 fffe0000 89b8000 32768 rwc
         M 1 fffe8000 8a20000 61440 rwc
         P 1 fffe0000 94208
         a 00:01.0 B fffe0000 91392
         f 00:01.0 B fffe0000 91392
         U 1 fffe0000 94208 94208
         f 00:01.0 B 0 0",
    );
    for summary in [&strict, &lazy, &kept] {
        assert_eq!((summary.dma_maps, summary.dma_unmaps), (1, 1), "{summary}");
        assert_eq!(summary.map_hypercalls, 1, "{summary}");
    }
}

/// A processor maps at a bus address again before another has told that it unmapped there.
#[test]
fn unmaps_that_are_told_late_are_those_of_the_map_before() {
    in_all_modes(
        "m 00:01.0 T fffff000 5000 4096
         m 00:01.0 T fffff000 6000 4096
         u 00:01.0 T fffff000 4096
         m 00:01.0 F fffff000 7000 2048
         u 00:01.0 F fffff000 2048
         u 00:01.0 T fffff000 4096",
    );
}

#[test]
fn a_device_that_was_given_higher_addresses_has_more_bits() {
    in_all_modes(
        "m 00:01.0 T 1fffff000 5000 4096
         m 00:01.0 T ffffe000 6000 4096
         u 00:01.0 T 1fffff000 4096",
    );
}

#[test]
fn devices_and_domains_go_with_what_is_mapped_for_them() {
    for mode in modes() {
        let summary = clean(
            mode,
            "G 1 00:01.0
             D 1 DMA 00:01.0
             D 2 DMA 00:02.0
             m 00:01.0 T fffff000 5000 4096
             m 00:02.0 F fffff000 5000 4096
             m 00:01.0 B ffffe000 6000 4096
             u 00:01.0 B ffffe000 4096
             R 1 00:01.0
             X 1
             G 1 00:01.0
             D 3 DMA 00:01.0
             m 00:01.0 F fffff000 5000 4096
             u 00:02.0 F fffff000 4096
             D 4 IDENTITY 00:02.0
             m 00:02.0 F 5000 5000 4096
             u 00:02.0 F 5000 4096
             D 5 BLOCKED 00:01.0",
        );
        assert_eq!((summary.oddities, summary.contexts), (0, 3), "{mode:?}: {summary}");
        assert_eq!((summary.dma_maps, summary.dma_unmaps), (4, 2), "{mode:?}: {summary}");
    }
}

#[test]
fn maps_of_user_space_are_no_drivers() {
    let summary = clean(Mode::Strict, "D 1 UNMANAGED 00:01.0\nM 1 40000000 40000000 1073741824 rw");
    assert_eq!((summary.dma_maps, summary.hypercalls), (0, 0), "{summary}");
}

#[test]
fn lines_that_contradict_others_are_counted_and_passed_over() {
    for (events, oddities) in [
        ("u 00:01.0 T fffff000 4096", 1),
        ("h 00:01.0 T 1 5000", 1),
        ("a 00:01.0 B fffff000 4096", 1),
        ("m 00:01.0 T fffff000 5000 0", 1),
        ("m 00:01.0 T fffff000 5000 8\nX 1\nu 00:01.0 T fffff000 8", 1),
        ("M 1 fffff000 5000 4096 r\ng 00:01.0 T 2 1 fffff000:2000 5000,6000", 1),
    ] {
        for mode in modes() {
            let summary = clean(mode, &format!("{ATTACHED}{events}"));
            assert_eq!(summary.oddities, oddities, "{mode:?}, {events}: {summary}");
        }
    }
}

#[test]
fn unmaps_that_wait_are_flushed_by_the_timer() {
    let mut text = format!("{FIRST}1 0 {ATTACHED}");
    text.push_str("1000 0 m 00:01.0 T fffff000 5000 4096\n2000 0 u 00:01.0 T fffff000 4096\n");
    let waits = format!("{text}90000000 0 m 00:01.0 T fffff000 6000 4096\n");
    let flushed = format!("{text}900000000 0 m 00:01.0 T fffff000 6000 4096\n");
    let calls = |text: &str| {
        let trace = crate::text::parse(text).unwrap();
        let summary = run(&trace, &in_mode(Mode::Lazy), &mut |_| ()).unwrap();
        assert!(summary.is_clean(), "{summary}");
        (summary.hypercalls, summary.iotlb_flushes)
    };
    // Two maps, and a flush either way: by the timer, or at the end.
    assert_eq!((calls(&waits), calls(&flushed)), ((3, 1), (3, 1)));
}

#[test]
fn no_more_are_kept_than_were_asked_for() {
    let mut events = String::from(ATTACHED);
    for i in 0..600 {
        let (iova, paddr) = (0xffff_f000_u64 - i * 4096, 0x10_0000 + i * 4096);
        events
            .push_str(&format!("m 00:01.0 T {iova:x} {paddr:x} 4096\nu 00:01.0 T {iova:x} 4096\n"));
    }
    for (kept, unmapped) in [(1, true), (64, true), (600, false)] {
        let summary = clean(reuse(kept), &events);
        assert_eq!(summary.iotlb_flushes > 0, unmapped, "{kept}: {summary}");
    }
}

#[test]
fn nothing_is_replayed_of_a_trace_without_drivers() {
    let summary = run(&trace(HEADER, "X 1"), &in_mode(Mode::Lazy), &mut |_| ()).unwrap();
    assert!(summary.is_clean(), "{summary}");
    assert_eq!((summary.dma_maps, summary.dma_checked), (0, 0), "{summary}");
}
