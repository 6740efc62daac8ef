//! The level of the DMA API on every kind of unit, and what its options rule out.

use pviommu_hypervisor::Background;
use pviommu_testbed::machine::Harshness;
use pviommu_testbed::replay::{Level, Mode, Options, ReplayError, Summary, Units, run};

use super::{in_mode, modes, reuse};
use crate::text::bundled;

#[test]
fn a_small_real_trace_replays_cleanly_in_every_way() {
    let trace = bundled("d0");
    for mode in modes().into_iter().chain([reuse(16)]) {
        for background in [Background::Scratch, Background::Fault] {
            for units in Units::ALL {
                let rest = in_mode(mode);
                let options = Options { background, units, limit: Some(4000), ..rest };
                let summary = run(&trace, &options, &mut |_| ()).unwrap();
                assert!(summary.is_clean(), "{options:?}: {summary}");
                let scratch = background == Background::Scratch;
                assert_eq!(summary.scratch_hits > 0, scratch, "{options:?}: {summary}");
            }
        }
    }
}

#[test]
fn units_that_read_late_what_is_written_are_told() {
    let trace = bundled("d0");
    for mode in modes() {
        for units in [Units::Plain, Units::AmdViNpCache] {
            let (rest, harshness) = (in_mode(mode), Harshness::ALL);
            let options = Options { units, harshness, limit: Some(1000), ..rest };
            let summary = run(&trace, &options, &mut |_| ()).unwrap();
            assert!(summary.is_clean(), "{options:?}: {summary}");
        }
    }
}

#[test]
fn a_replay_does_the_same_every_time() {
    let trace = bundled("d6");
    for mode in modes() {
        let options = Options { limit: Some(3000), shares: true, ..in_mode(mode) };
        let once = || {
            let summary = run(&trace, &options, &mut |_| ()).unwrap();
            Summary { ns_per_op: 0.0, ..summary }
        };
        assert_eq!(once(), once());
    }
}

#[test]
fn what_belongs_to_one_level_is_refused_at_the_other() {
    let iommu = Options::default();
    let cases = [
        (Options { batch: 2, ..in_mode(Mode::Strict) }, Level::Iommu),
        (Options { mode: reuse(8), ..iommu.clone() }, Level::Dma),
        (Options { shares: true, ..iommu }, Level::Dma),
    ];
    for (options, level) in cases {
        let error = run(&bundled("d0"), &options, &mut |_| ()).unwrap_err();
        let is_told =
            matches!(error, ReplayError::OtherLevel { expected, .. } if expected == level.name());
        assert!(is_told, "{error}");
    }
}
