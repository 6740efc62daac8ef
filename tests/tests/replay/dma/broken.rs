//! A check that cannot fail proves nothing: machines that are broken on purpose.

use pviommu_testbed::machine::Break;
use pviommu_testbed::replay::{Mode, Options, ReplayError, run};

use super::{in_mode, modes, reuse};
use crate::bundled::BREAKAGES;
use crate::text::{BUNDLED, bundled};

#[test]
fn every_breakage_is_noticed_in_every_trace() {
    for name in BUNDLED {
        let trace = bundled(name);
        for (sabotage, background) in BREAKAGES {
            // With more kept, nothing would be unmapped in some.
            for mode in [Mode::Strict, Mode::Lazy, reuse(16)] {
                let rest = Options { background, limit: Some(8000), ..in_mode(mode) };
                let options = Options { sabotage: Some(sabotage), ..rest };
                let summary = run(&trace, &options, &mut |_| ()).unwrap();
                assert!(!summary.is_clean(), "{sabotage:?} in {name}, {mode:?}:\n{summary}");
                assert!(!summary.findings.is_empty(), "{sabotage:?} in {name} is told in words");
            }
        }
    }
}

#[test]
fn a_breakage_of_scratch_pages_cannot_be_noticed_without_them() {
    for mode in modes() {
        let options = Options { sabotage: Some(Break::KeepStaleScratch), ..in_mode(mode) };
        let error = run(&bundled("d0"), &options, &mut |_| ()).unwrap_err();
        assert!(matches!(error, ReplayError::Unnoticeable { .. }), "{error}");
    }
}
