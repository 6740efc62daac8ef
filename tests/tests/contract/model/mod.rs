//! Random sequences of everything that can happen to three domains and four devices, against the model of
//! [`pviommu_testbed::model`].

mod chaos;

use proptest::prelude::*;
use pviommu_testbed::model::{self, Kind, Machine, Op};

use crate::kinds;

/// What a step is chosen by: more than any needs.
const BYTES: usize = 48;

/// A machine of the kind that this process runs its tests on.
fn machine() -> impl Strategy<Value = Machine> {
    let kind = Kind { unit: kinds::unit(), background: kinds::background() };
    let bytes = prop::collection::vec(any::<u8>(), BYTES);
    bytes.prop_map(move |bytes| Machine::from_bytes(&bytes, kind))
}

fn step() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), BYTES)
}

/// A quarter of what `PROPTEST_CASES` says: a case is forty steps with DMA of all devices after each.
fn quarter() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 4, ..usual }
}

proptest! {
    #![proptest_config(quarter())]

    /// INV-20, INV-21, INV-25, INV-27, INV-30, INV-31, INV-70, INV-72.
    #[test]
    fn whatever_happens_is_what_the_contract_says(
        machine in machine(),
        ops in prop::collection::vec(step().prop_map(|bytes| Op::from_bytes(&bytes)), 1..40),
    ) {
        model::run(&machine, &ops);
    }
}
