//! How many hypercalls and flushes a driver's life takes, on the traces of real kernels.
//!
//! `P` ends a batch of maps in a trace, and a driver may not use an address before its map has
//! returned: `P` and `U` are what a driver cannot do better than, unless it puts off or keeps.

use pviommu_hypervisor::Background;
use pviommu_testbed::replay::{Mode, Options, Summary, Units, run};
use pviommu_testbed::trace::Trace;

use super::{in_mode, reuse};
use crate::text::{BUNDLED, bundled};

/// Buffers that are mapped and unmapped in each trace.
const KNOWN: [[u64; 2]; 7] = [
    [3708, 3698],
    [11927, 11918],
    [8073, 8064],
    [13655, 13653],
    [36214, 34931],
    [8740, 8734],
    [43701, 43426],
];

fn replayed(trace: &Trace, options: &Options) -> Summary {
    let mut reported = 0;
    let summary = run(trace, options, &mut |done| reported = done).unwrap();
    assert!(summary.is_clean(), "{options:?}: {summary}");
    assert_eq!(summary.oddities, 0, "{options:?}: {summary}");
    assert_eq!(reported, trace.events.len(), "progress ends at the end");
    assert!(summary.dma_checked > summary.dma_maps, "{options:?}: {summary}");
    summary
}

/// The same on scratch pages: each map that is made may take one flush more.
fn with_scratch(trace: &Trace, options: &Options, fault: &Summary) {
    let options = Options { background: Background::Scratch, ..options.clone() };
    let scratch = replayed(trace, &options);
    assert_eq!(scratch.hypercalls, fault.hypercalls, "{scratch}");
    let most = fault.iotlb_flushes + scratch.map_hypercalls;
    assert!(scratch.iotlb_flushes <= most, "{scratch}, and with faults {fault}");
}

fn meets_its_targets(number: usize, hypercalls_per_p: f64) {
    let trace = bundled(BUNDLED[number]);
    let strict = replayed(&trace, &in_mode(Mode::Strict));
    assert_eq!([strict.dma_maps, strict.dma_unmaps], KNOWN[number], "{strict}");
    assert!(strict.hypercalls <= strict.map_batches + strict.unmaps, "{strict}");
    assert!(strict.map_hypercalls <= strict.map_batches, "{strict}");
    assert_eq!((strict.mode, strict.reuse_hits, strict.map_flushes), ("strict", 0, 0), "{strict}");
    with_scratch(&trace, &in_mode(Mode::Strict), &strict);

    let lazy = replayed(&trace, &in_mode(Mode::Lazy));
    assert!(lazy.hypercalls_per_p <= 1.02, "{lazy}");
    assert!(lazy.iotlb_flushes * 64 <= lazy.dma_unmaps, "{lazy}");
    assert_eq!((lazy.mode, lazy.reuse_hits), ("lazy", 0), "{lazy}");
    with_scratch(&trace, &in_mode(Mode::Lazy), &lazy);

    let kept = replayed(&trace, &in_mode(reuse(2048)));
    assert!(kept.hypercalls_per_p <= hypercalls_per_p, "{kept}");
    assert_eq!(kept.reuse_hits + kept.map_hypercalls, kept.dma_maps, "{kept}");
    assert_eq!((kept.mode, kept.reuse), ("reuse", 2048), "{kept}");
    with_scratch(&trace, &in_mode(reuse(2048)), &kept);
}

#[test]
fn d0_small_strict() {
    meets_its_targets(0, 0.2);
}

#[test]
fn d1_nvme_strict() {
    meets_its_targets(1, 0.2);
}

#[test]
fn d2_nvme_lazy() {
    meets_its_targets(2, 0.2);
}

#[test]
fn d3_ext4_virtioblk_strict() {
    meets_its_targets(3, 0.6);
}

#[test]
fn d4_net_strict() {
    meets_its_targets(4, 0.2);
}

#[test]
fn d5_usb_ahci_hotplug() {
    meets_its_targets(5, 0.2);
}

#[test]
fn d6_mixed_lazy_4cpu() {
    meets_its_targets(6, 0.2);
}

/// A driver that is told nothing does as the traced kernel did.
#[test]
fn a_trace_is_replayed_as_it_was_recorded_unless_told_otherwise() {
    for (start, mode) in [("d0", "strict"), ("d2", "lazy")] {
        let options = Options { limit: Some(3000), ..in_mode(Mode::AsRecorded) };
        let summary = run(&bundled(start), &options, &mut |_| ()).unwrap();
        assert!(summary.is_clean(), "{summary}");
        assert_eq!((summary.level, summary.mode), ("dma", mode), "{summary}");
        let late = summary.iotlb_flushes * 20 < summary.dma_unmaps;
        assert_eq!(late, mode == "lazy", "{summary}");
    }
}

/// However few are kept.
#[test]
fn fewer_mappings_kept_are_fewer_found() {
    let trace = bundled("d2");
    let hits = [1, 64, 256, 2048].map(|kept| {
        let options = Options { units: Units::Plain, ..in_mode(reuse(kept)) };
        let summary = run(&trace, &options, &mut |_| ()).unwrap();
        assert!(summary.is_clean(), "{kept}: {summary}");
        summary.reuse_hits
    });
    assert!(hits.is_sorted(), "{hits:?}");
    assert!(hits[0] < hits[3] / 2, "{hits:?}");
}
