//! Unmaps that wait for a flush, and operations that wait for their batch.

use pviommu_hypervisor::Background;
use pviommu_testbed::machine::Break;
use pviommu_testbed::replay::{Mode, Options, run};

use crate::text::{self, HEADER, replay_as, replay_clean, trace};

fn lazily() -> Options {
    Options { mode: Mode::Lazy, ..Options::default() }
}

fn strictly() -> Options {
    Options { mode: Mode::Strict, ..Options::default() }
}

fn in_batches(batch: u32) -> Options {
    Options { batch, ..Options::default() }
}

/// Maps and unmaps of one page each, at bus frames that are not used again.
fn pages(kind: &str, count: u64) -> String {
    let mut events = format!("D 1 {kind} 00:01.0\n");
    for i in 0..count {
        let iova = 0xffff_f000 - i * 4096;
        events.push_str(&format!("M 1 {iova:x} {:x} 4096 rw\n", 0x5000 + i * 4096));
        events.push_str(&format!("P 1 {iova:x} 4096\nU 1 {iova:x} 4096 4096\n"));
    }
    events
}

#[test]
fn a_trace_is_replayed_as_it_was_recorded_unless_told_otherwise() {
    for (kind, recorded) in [("DMA", "strict"), ("DMA-FQ", "lazy"), ("UNMANAGED", "strict")] {
        let events = pages(kind, 3);
        assert_eq!(replay_clean(&events).mode, recorded);
        assert_eq!(replay_as(&strictly(), &events).mode, "strict");
        assert_eq!(replay_as(&lazily(), &events).mode, "lazy");
    }
}

#[test]
fn a_lazy_trace_replayed_strictly_is_flushed_with_each_unmap() {
    let events = pages("DMA-FQ", 20) + "A 1";
    let strict = replay_as(&strictly(), &events);
    assert!(strict.iotlb_flushes >= 20, "{strict}");
    assert_eq!(strict.stale_hits, 0, "{strict}");
    let lazy = replay_clean(&events);
    assert!(lazy.iotlb_flushes <= 3, "{lazy}");
    // Both directions of each page, which the unit has cached.
    assert_eq!(lazy.stale_hits, 40, "{lazy}");
}

#[test]
fn a_strict_trace_replayed_lazily_is_flushed_after_256_unmaps() {
    let flushes = |unmaps| replay_as(&lazily(), &pages("DMA", unmaps)).iotlb_flushes;
    // What leaving the device at the end takes.
    let without = flushes(255);
    assert_eq!(flushes(256), without + 1);
    assert_eq!(flushes(300), without + 1);
    assert_eq!(flushes(600), without + 2);
}

#[test]
fn the_service_flushes_by_itself_what_no_trace_does() {
    let events = pages("DMA-FQ", 4096 + 300);
    let summary = replay_clean(&events);
    assert!((2..10).contains(&summary.iotlb_flushes), "{summary}");
}

#[test]
fn large_leaves_are_unmapped_lazily_as_a_whole_and_in_parts() {
    let events = "D 1 UNMANAGED 00:01.0
         M 1 40000000 40000000 1073741824 rw
         U 1 40000000 536870912 536870912
         U 1 60000000 536870912 536870912
         M 1 80000000 80000000 1073741824 rw
         U 1 80000000 1073741824 1073741824
         M 1 200000 200000 2097152 rw
         U 1 201000 4096 4096";
    for options in [lazily(), Options { background: Background::Scratch, ..lazily() }] {
        let summary = replay_as(&options, events);
        assert_eq!(summary.peak_live_maps, 2, "{summary}");
    }
}

#[test]
fn a_bus_frame_that_is_mapped_again_is_flushed_first() {
    let again = "D 1 DMA-FQ 00:01.0
         M 1 fffff000 5000 4096 rw
         U 1 fffff000 4096 4096
         M 1 fffff000 6000 4096 r
         U 1 fffff000 4096 4096
         M 1 fffff000 7000 4096 w";
    for batch in [1, 2, 16] {
        let summary = replay_as(&in_batches(batch), again);
        assert!(summary.iotlb_flushes >= 2, "{summary}");
    }
}

#[test]
fn a_flush_that_is_skipped_is_noticed_when_it_is_due() {
    let broken = Options { sabotage: Some(Break::SkipFlush), ..Options::default() };
    for background in [Background::Fault, Background::Scratch] {
        for batch in [1, 16] {
            let options = Options { background, batch, ..broken.clone() };
            let waits = "D 1 DMA-FQ 00:01.0
                 M 1 fffff000 5000 4096 rw
                 P 1 fffff000 4096
                 U 1 fffff000 4096 4096";
            let flushed = format!("{waits}\nA 1");
            let summary = run(&trace(HEADER, &flushed), &options, &mut |_| ()).unwrap();
            assert!(!summary.is_clean(), "{options:?}: {summary}");
        }
    }
}

/// `maps` single pages before one `P`.
fn scattered(maps: u64) -> String {
    let mut events = String::from("D 1 DMA 00:01.0\n");
    for i in 0..maps {
        let (iova, paddr) = (0xff00_0000 + i * 4096, 0x10_0000 + i * 8192);
        events.push_str(&format!("M 1 {iova:x} {paddr:x} 4096 w\n"));
    }
    events + &format!("P 1 ff000000 {}\n", maps * 4096)
}

#[test]
fn a_batch_takes_as_many_hypercalls_as_its_size_says() {
    let cases = [
        (128, 1, 0, 128),
        (128, 16, 8, 8),
        (128, 128, 1, 1),
        (300, 128, 3, 3),
        (300, 512, 3, 3),
        (5, 16, 1, 1),
    ];
    let beside = replay_clean("D 1 DMA 00:01.0").hypercalls;
    for (maps, batch, batches, calls) in cases {
        let summary = replay_as(&in_batches(batch), &scattered(maps));
        // The limits are asked for once.
        let asked = u64::from(batch > 1);
        assert_eq!(summary.hypercalls - beside - asked, calls, "{batch}: {summary}");
        assert_eq!(summary.batches, batches, "{batch}: {summary}");
        let elements = if batch > 1 { maps } else { 0 };
        assert_eq!(summary.batch_elements, elements, "{batch}: {summary}");
        assert!(summary.largest_batch <= u64::from(batch.min(128)), "{summary}");
    }
}

#[test]
fn what_a_batch_leaves_out_is_done_before_the_domain_goes() {
    let summary = replay_as(
        &Options { batch: 16, mode: Mode::Lazy, ..Options::default() },
        "D 1 DMA 00:01.0
         M 1 fffff000 5000 4096 rw
         U 1 fffff000 4096 4096
         M 1 ffffe000 6000 4096 rw
         X 1",
    );
    assert_eq!((summary.batches, summary.batch_elements), (1, 3), "{summary}");
}

#[test]
fn a_map_that_is_refused_does_not_end_its_batch() {
    let header = format!(
        "{}# ram: 00000000-0fffffff : System RAM
# group: 1 DMA | 0000:00:01.0 | 0x000a0000 0x000a1fff direct;0xfee00000 0xfeefffff msi;
",
        text::FIRST
    );
    let events = "D 1 DMA 00:01.0
         M 1 9f000 5000 4096 rw
         M 1 a1000 5000 4096 rw
         M 1 fee00000 5000 4096 rw
         M 1 a2000 6000 4096 rw
         M 1 9e000 7000 8192 rw
         M 1 a3000 7000 4096 rw
         P 1 9f000 16384";
    for options in text::every_way() {
        let summary = run(&trace(&header, events), &options, &mut |_| ()).unwrap();
        assert!(summary.is_clean(), "{options:?}: {summary}");
        assert_eq!((summary.refused_reserved, summary.oddities), (2, 1), "{options:?}: {summary}");
        assert_eq!(summary.peak_live_maps, 4, "{options:?}: {summary}");
    }
}
