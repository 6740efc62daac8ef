//! Random sequences of everything that can happen to three domains and four devices, against a model
//! that keeps plain maps: for each context what a bus frame leads to, by what right and made by whom;
//! for each frame who keeps it; for each device where it is.
//!
//! After each step every answer, where DMA of every device lands, every reference and pin, and what
//! guests are told must be what the model says, and the machine must have nothing to complain of.

mod chaos;
mod check;
mod devices;
mod embedder;
mod guests;
mod ops;
mod pages;
mod run;
mod setup;
mod told;
mod world;

use proptest::prelude::*;
use pviommu_abi::Background as Wire;
use pviommu_testbed::machine::{Step, When};

use crate::kit::with;
use ops::Op;
use run::{CONTEXTS, Run};
use setup::IDS;
use world::World;

fn run(seed: u64, yields: u64, ops: &[Op]) {
    let config = setup::config(seed);
    with(&config, |vm| {
        let bed = vm.bed;
        let mut run = Run::new(bed, World::new(bed, &config));
        for dom in 0..IDS.len() {
            assert_eq!(run.vm(dom).init(u32::from(CONTEXTS), 12), 0);
        }
        bed.schedule().set(Step::Yield, When::Every(yields));
        run.check();
        for (device, dom) in [(0, 1), (1, 0), (2, 2), (3, 1)] {
            run.step(&Op::Assign { dom, device });
            run.check();
        }
        for dom in 0..IDS.len() {
            run.step(&Op::Alloc { dom, background: Wire::DEFAULT, aperture: (0, 0) });
        }
        for op in ops {
            run.step(op);
            run.check();
        }
        for id in IDS {
            assert_eq!(bed.teardown(id, 0), 0);
            assert_eq!(bed.teardown(id, 0), 0, "a second teardown does nothing");
        }
        bed.assert_clean();
    });
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
        seed in any::<u64>(),
        yields in 1u64..5,
        ops in prop::collection::vec(ops::op(), 1..40),
    ) {
        run(seed, yields, &ops);
    }
}
