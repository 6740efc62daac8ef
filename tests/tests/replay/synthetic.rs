//! Corners that the bundled traces do not have, as traces written for the purpose.

use pviommu_testbed::replay::{Options, ReplayError, run};

use crate::text::{FIRST, HEADER, parse, replay, replay_clean, replay_with};

#[test]
fn a_2_mib_map_takes_a_large_leaf_and_an_unmap_splits_it() {
    let whole = replay_clean(
        "D 1 UNMANAGED 00:01.0
         M 1 200000 400000 2097152 rw
         U 1 200000 2097152 2097152",
    );
    assert_eq!(whole.table_frames_peak, 3, "no table at the leaf level");
    let split = replay_clean(
        "D 1 UNMANAGED 00:01.0
         M 1 200000 400000 2097152 rw
         U 1 201000 4096 4096
         U 1 300000 8192 8192
         M 1 201000 999000 4096 r
         U 1 200000 2097152 1048576
         U 1 302000 1040384 1040384",
    );
    assert_eq!(split.table_frames_peak, 4, "the split needs one table");
    assert_eq!(split.peak_live_maps, 4, "two holes make three pieces, and one hole is filled");
}

#[test]
fn a_1_gib_map_takes_a_huge_leaf_and_an_unmap_splits_it_twice() {
    let whole = replay_clean(
        "D 1 UNMANAGED 00:01.0
         M 1 8000000000 40000000 1073741824 rwc
         U 1 8000000000 1073741824 1073741824",
    );
    assert_eq!(whole.table_frames_peak, 2, "the root and one table below it");
    let split = replay_clean(
        "D 1 UNMANAGED 00:01.0
         M 1 40000000 40000000 1073741824 w
         U 1 40201000 4096 4096
         U 1 40000000 2097152 2097152",
    );
    assert_eq!(split.table_frames_peak, 4, "each split needs one table");
}

#[test]
fn large_maps_that_are_not_aligned_alike_are_mapped_by_pages() {
    let summary = replay_clean(
        "D 1 UNMANAGED 00:01.0
         M 1 200000 401000 4194304 rw
         M 1 1000000 1000000 6291456 r
         U 1 200000 4194304 4194304
         U 1 11ff000 8192 8192",
    );
    assert_eq!(summary.peak_live_maps, 2);
}

#[test]
fn a_domain_may_map_before_it_has_a_device() {
    let summary = replay_clean(
        "M 1 fffff000 5000 4096 r
         M 1 ffffe000 5000 4096 w
         D 1 DMA 00:01.0
         U 1 fffff000 4096 4096
         X 1",
    );
    // One live map of each direction tried both ways on arrival, one gone tried both ways, one
    // left tried both ways at the end; the ends of the interrupt window and of the aperture.
    assert_eq!((summary.dma_checked, summary.faults_expected), (8 + 8, 6 + 8));
}

#[test]
fn devices_come_and_go() {
    let summary = replay_clean(
        "G 1 00:01.0
         D 1 DMA 00:01.0
         M 1 fffff000 5000 4096 rw
         D 1 DMA 00:02.0
         M 1 ffffe000 6000 4096 rw
         R 1 00:01.0
         M 1 ffffd000 7000 4096 rw
         X 1
         G 1 00:01.0
         D 2 DMA 00:01.0
         M 2 fffff000 7000 4096 r
         D 3 IDENTITY 00:01.0
         D 4 BLOCKED 00:02.0
         D 5 DMA-FQ 00:01.0
         D 2 DMA 00:01.0
         R 7 00:1e.0
         X 3
         X 99",
    );
    assert_eq!(summary.contexts, 3, "identity and blocked domains take no context");
}

#[test]
fn domains_use_the_same_bus_addresses_at_the_same_time() {
    let summary = replay_clean(
        "D 1 DMA 00:01.0
         D 2 DMA 00:02.0
         M 1 fffff000 5000 4096 r
         M 2 fffff000 6000 4096 w
         M 1 ffffe000 6000 4096 rw
         M 2 ffffe000 6000 4096 r
         U 1 fffff000 4096 4096
         M 1 fffff000 6000 4096 w
         U 2 ffffe000 8192 8192
         U 1 ffffe000 8192 8192",
    );
    assert_eq!((summary.contexts, summary.peak_live_maps), (2, 4));
}

#[test]
fn a_frame_is_mapped_many_times_with_different_permissions() {
    let mut events = String::from("D 1 DMA 00:01.0\n");
    for i in 0..24 {
        let prot = ["r", "w", "rw", "rwcnmp"][i % 4];
        events.push_str(&format!("M 1 {:x} 5000 4096 {prot}\n", 0xffff_f000_u64 - i as u64 * 4096));
    }
    for i in (0..24).rev() {
        events.push_str(&format!("U 1 {:x} 4096 4096\n", 0xffff_f000_u64 - i * 4096));
    }
    assert_eq!(replay_clean(&events).peak_live_maps, 24);
}

#[test]
fn one_unmap_removes_a_scatter_list() {
    replay_clean(
        "D 1 DMA 00:01.0
         M 1 fff80000 9000 4096 w
         M 1 fff81000 3000 8192 w
         M 1 fff83000 20000 53248 w
         P 1 fff80000 65536
         U 1 fff80000 65536 65536
         S 1 fff80000 fff8ffff",
    );
}

#[test]
fn a_sync_of_everything_is_understood() {
    let summary = replay_clean(
        "D 1 DMA 00:01.0
         M 1 fffff000 5000 4096 rw
         P 1 fffff000 4096
         U 1 fffff000 4096 4096
         S 1 - -",
    );
    assert_eq!(summary.map_batches, 1);
}

#[test]
fn an_unmap_that_did_nothing_changes_nothing() {
    let summary = replay_clean(
        "D 1 DMA 00:01.0
         M 1 fffff000 5000 4096 rw
         U 1 fffff000 4096 0
         U 1 ffff0000 4096 0",
    );
    assert_eq!((summary.unmaps, summary.peak_live_maps, summary.oddities), (2, 1, 0));
}

#[test]
fn a_trace_that_contradicts_itself_is_replayed_as_far_as_it_goes() {
    let summary = replay_clean(
        "D 1 DMA 00:01.0
         M 1 10000 5000 4096 rw
         M 1 e000 20000 16384 rw
         U 1 e000 16384 16384
         U 1 0 65536 65536
         U 2 0 4096 4096
         M 1 0 0 4096 c",
    );
    assert_eq!(summary.oddities, 5, "an overlap, two unmaps of holes, one of nothing, no r or w");
}

#[test]
fn frames_outside_the_header_s_memory_are_registers() {
    let header = HEADER.replace("00000000-ffffffff", "00001000-00100fff");
    let summary = replay_with(
        &header,
        "D 1 UNMANAGED 00:01.0
         M 1 0 0 2097152 rw
         M 1 fe000000 fe000000 16384 rwm
         U 1 fe000000 16384 16384",
    );
    assert!(summary.is_clean(), "{summary}");
}

#[test]
fn without_a_word_of_memory_all_that_is_mapped_is_memory() {
    let summary = replay_with(
        FIRST,
        "D 1 DMA 00:01.0
         M 1 200000 123400000 2097152 rw
         U 1 200000 2097152 2097152",
    );
    assert!(summary.is_clean(), "{summary}");
    assert_eq!(summary.table_frames_peak, 3, "large leaves need memory");
}

/// A machine whose first function has a direct range and whose second has a relaxable one.
fn with_direct_ranges() -> String {
    format!(
        "{FIRST}# ram: 00000000-0fffffff : System RAM
# group: 1 DMA | 0000:00:01.0 | 0x000a0000 0x000a1fff direct;0xfee00000 0xfeefffff msi;
# group: 2 DMA | 0000:00:02.0 | 0x00000000 0x00ffffff direct-relaxable;0xfee00000 0xfeefffff msi;
# group: 3 DMA | 0000:00:03.0 | 0x200000000 0x200001fff direct;0xfed00000 0xfef00fff direct;
"
    )
}

#[test]
fn maps_of_a_device_s_direct_ranges_are_refused_and_left_out() {
    let summary = replay_with(
        &with_direct_ranges(),
        "M 1 a0000 a0000 8192 rw
         D 1 DMA 00:01.0
         M 1 a1000 5000 4096 rw
         M 1 9f000 5000 4096 rw
         M 1 fee00000 5000 4096 rw
         U 1 a0000 8192 8192
         M 2 a0000 a0000 8192 rw
         D 2 DMA 00:02.0
         M 2 0 0 4096 rw
         M 3 200001000 0 8192 rw
         D 3 DMA 00:03.0
         M 3 fef00000 0 4096 rw
         M 3 200000000 0 4096 rw
         X 1",
    );
    assert!(summary.is_clean(), "{summary}");
    assert_eq!(summary.refused_reserved, 6, "{summary}");
    assert_eq!((summary.peak_live_maps, summary.oddities), (3, 0), "{summary}");
}

#[test]
fn bus_addresses_of_57_bits_take_five_levels() {
    let summary = replay_clean(
        "D 1 UNMANAGED 00:01.0
         M 1 1ffffffffe00000 40000000 2097152 r
         M 1 1000 1000 4096 w",
    );
    assert!(summary.table_frames_peak > 5, "{summary}");
}

#[test]
fn hundreds_of_address_spaces_live_at_once() {
    let mut events = String::new();
    for i in 0..300_u64 {
        events.push_str(&format!("D {i} DMA 00:{:02x}.{}\n", i % 32, i % 8));
        events.push_str(&format!("M {i} fffff000 {:x} 4096 rw\n", i * 4096));
    }
    assert_eq!(replay_clean(&events).contexts, 300);
}

#[test]
fn a_user_space_driver_s_maps_need_more_tables_than_usual() {
    let mut events = String::from("D 1 UNMANAGED 00:01.0\n");
    for i in 0..6000_u64 {
        let (iova, paddr) = (i << 30, (i * 7919 % 100_000) << 12);
        events.push_str(&format!("M 1 {iova:x} {paddr:x} 4096 rw\n"));
    }
    let summary = replay_clean(&events);
    assert!(summary.table_frames_peak > 12_000, "{summary}");
}

#[test]
fn a_machine_that_is_too_large_is_refused_by_line() {
    let refusal = |events: &str| {
        let trace = parse(&format!("{HEADER}{events}")).unwrap();
        let error = run(&trace, &Options::default(), &mut |_| ()).unwrap_err();
        assert!(matches!(error, ReplayError::TooLarge { .. }), "{error}");
        error.to_string()
    };
    let wide = refusal("1 0 M 1 200000000000000 1000 4096 rw\n");
    assert!(wide.starts_with("test:9: ") && wide.contains("57 bits"), "{wide}");
    let large = refusal("1 0 X 1\n2 0 M 1 0 0 137438953472 rw\n");
    assert!(large.starts_with("test:10: ") && large.contains("33554432 pages"), "{large}");
}

#[test]
fn a_limit_ends_a_replay_early_and_cleanly() {
    let trace = parse(&format!("{HEADER}1 0 D 1 DMA 00:01.0\n2 0 M 1 0 0 4096 r\n")).unwrap();
    for (limit, maps) in [(0, 0), (1, 0), (2, 1), (9, 1)] {
        let options = Options { limit: Some(limit), ..Options::default() };
        let summary = run(&trace, &options, &mut |_| ()).unwrap();
        assert!(summary.is_clean() && summary.maps == maps, "limit {limit}: {summary}");
    }
    assert_eq!(replay("X 1").ops, 0);
}
