//! The traces of real kernels on the whole stack, and the same on machines broken on purpose.

use pviommu_hypervisor::Background;
use pviommu_testbed::machine::Break;
use pviommu_testbed::replay::{Options, run};

use crate::text::{BUNDLED, bundled};

/// Maps, unmaps, batches of maps, and most live maps at a time.
const KNOWN: [[u64; 4]; 7] = [
    [4553, 3698, 3709, 145],
    [31186, 11918, 11928, 207],
    [16632, 8064, 8074, 146],
    [13658, 13653, 13656, 1329],
    [36217, 34931, 36215, 1293],
    [30741, 8734, 8741, 293],
    [45259, 43426, 43702, 482],
];

/// Every breakage, with a background over which it shows.
pub(crate) const BREAKAGES: [(Break, Background); 5] = [
    (Break::SkipFlush, Background::Fault),
    (Break::EarlyRelease, Background::Fault),
    (Break::FirstPageOnly, Background::Fault),
    (Break::KeepStaleScratch, Background::Scratch),
    (Break::LeafOnlyOnScratch, Background::Scratch),
];

/// Replays one bundled trace in full.
fn replays_clean(number: usize) {
    let trace = bundled(BUNDLED[number]);
    let mut reported = 0;
    let summary = run(&trace, &Options::default(), &mut |done| reported = done).unwrap();
    assert!(summary.is_clean(), "{summary}");
    assert_eq!(reported, trace.events.len(), "progress ends at the end");
    let seen = [summary.maps, summary.unmaps, summary.map_batches, summary.peak_live_maps];
    assert_eq!(seen, KNOWN[number], "{}", summary.name);
    assert_eq!(summary.ops, summary.maps + summary.unmaps);
    assert_eq!((summary.oddities, summary.refused_reserved), (0, 0), "{summary}");
    // One call for each operation, one for each flush of a flush queue, and a few to set up.
    let most = summary.ops + trace.counts.flushes + 100;
    assert!((summary.ops..most).contains(&summary.hypercalls), "{summary}");
    assert!(summary.dma_checked > summary.ops, "{summary}");
    assert!(summary.faults_expected > summary.unmaps, "{summary}");
    assert!(summary.ns_per_op > 0.0, "{summary}");
    let is_lazy = trace.name().contains("lazy");
    assert_eq!(summary.mode, if is_lazy { "lazy" } else { "strict" });
    assert_eq!(summary.stale_hits > 0, is_lazy, "{summary}");
    if is_lazy {
        // The maps of what waits are flushed, and what the trace flushes.
        assert!(summary.iotlb_flushes < summary.unmaps / 10, "{summary}");
    } else {
        assert!(summary.iotlb_flushes >= summary.unmaps, "{summary}");
    }
}

#[test]
fn d0_small_strict() {
    replays_clean(0);
}

#[test]
fn d1_nvme_strict() {
    replays_clean(1);
}

#[test]
fn d2_nvme_lazy() {
    replays_clean(2);
}

#[test]
fn d3_ext4_virtioblk_strict() {
    replays_clean(3);
}

#[test]
fn d4_net_strict() {
    replays_clean(4);
}

#[test]
fn d5_usb_ahci_hotplug() {
    replays_clean(5);
}

#[test]
fn d6_mixed_lazy_4cpu() {
    replays_clean(6);
}

/// A check that cannot fail proves nothing: each breakage is noticed, in each trace.
#[test]
fn every_breakage_is_noticed_in_every_trace() {
    for name in BUNDLED {
        let trace = bundled(name);
        for (sabotage, background) in BREAKAGES {
            let rest = Options { background, ..Options::default() };
            let options = Options { sabotage: Some(sabotage), limit: Some(3000), ..rest };
            let summary = run(&trace, &options, &mut |_| ()).unwrap();
            assert!(!summary.is_clean(), "{sabotage:?} in {name}:\n{summary}");
            assert!(!summary.findings.is_empty(), "{sabotage:?} in {name} is told in words");
        }
    }
}

#[test]
fn a_replay_does_the_same_every_time() {
    let trace = bundled("d0");
    let options = Options { limit: Some(2000), ..Options::default() };
    let once = || {
        let summary = run(&trace, &options, &mut |_| ()).unwrap();
        pviommu_testbed::replay::Summary { ns_per_op: 0.0, ..summary }
    };
    assert_eq!(once(), once());
}
