//! The same sequences with failures in them.

use proptest::prelude::*;
use pviommu_testbed::model::{self, Event};

use super::{machine, step};

/// Few, but as many as `PROPTEST_CASES` says if it says anything.
fn few() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if asked { usual.cases } else { 48 }, ..usual }
}

proptest! {
    #![proptest_config(few())]

    /// INV-11, INV-15, INV-20, INV-21, INV-25, INV-30, INV-50, INV-53, INV-54, INV-60, INV-61.
    #[test]
    fn whatever_fails_everything_is_as_before_or_as_asked_for(
        machine in machine(),
        events in prop::collection::vec(step().prop_map(|bytes| Event::from_bytes(&bytes)), 1..16),
    ) {
        model::run_chaos(&machine, &events, &|_| {});
    }
}
