//! Traces in every way there is: with faults and with scratch pages, call by call and in batches,
//! flushed at once and later, behind either kind of unit and both.

use pviommu_hypervisor::Background;
use pviommu_testbed::machine::{Break, Harshness};
use pviommu_testbed::replay::{Mode, Options, ReplayError, run};

use crate::text::corners::corners;
use crate::text::{HEADER, bundled, every_way, trace};

#[test]
fn every_corner_replays_cleanly_in_every_way() {
    for (corner, events) in corners() {
        let trace = trace(HEADER, &events);
        for options in every_way() {
            let options = Options { harshness: Harshness::ALL, ..options };
            let summary = run(&trace, &options, &mut |_| ()).unwrap();
            assert!(summary.is_clean(), "{corner}, {options:?}: {summary}");
            assert_eq!(summary.oddities, 0, "{corner}, {options:?}: {summary}");
            let scratch = options.background == Background::Scratch;
            assert_eq!(summary.scratch_hits > 0, scratch, "{corner}, {options:?}: {summary}");
        }
    }
}

#[test]
fn a_small_real_trace_replays_cleanly_in_every_way() {
    let trace = bundled("d0");
    for options in every_way() {
        let options = Options { limit: Some(4000), ..options };
        let summary = run(&trace, &options, &mut |_| ()).unwrap();
        assert!(summary.is_clean(), "{options:?}: {summary}");
        let late = options.mode == Mode::Lazy;
        assert_eq!(summary.stale_hits > 0, late, "{options:?}: {summary}");
        assert_eq!(summary.mode, if late { "lazy" } else { "strict" });
        if options.mode == Mode::Strict {
            assert!(summary.iotlb_flushes >= summary.unmaps, "{options:?}: {summary}");
        } else if options.background == Background::Fault {
            assert!(summary.iotlb_flushes < summary.unmaps / 2, "{options:?}: {summary}");
        }
    }
}

/// A check that cannot fail proves nothing.
#[test]
fn every_breakage_is_noticed_in_every_way_where_it_does_anything() {
    let trace = bundled("d0");
    let breakages = [
        Break::SkipFlush,
        Break::EarlyRelease,
        Break::FirstPageOnly,
        Break::KeepStaleScratch,
        Break::LeafOnlyOnScratch,
    ];
    for breakage in breakages {
        let of_scratch = matches!(breakage, Break::KeepStaleScratch | Break::LeafOnlyOnScratch);
        for options in every_way() {
            let options = Options { sabotage: Some(breakage), limit: Some(600), ..options };
            let noticed = run(&trace, &options, &mut |_| ());
            if of_scratch && options.background == Background::Fault {
                let error = noticed.unwrap_err();
                assert!(matches!(error, ReplayError::Unnoticeable { .. }), "{error}");
            } else {
                let summary = noticed.unwrap();
                assert!(!summary.is_clean(), "{breakage:?}, {options:?}: {summary}");
                assert!(!summary.findings.is_empty(), "{breakage:?}, {options:?}");
            }
        }
    }
}
