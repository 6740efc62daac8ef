//! Granted and foreign pages: they never wait, and are never kept, whatever the device's mode is.

use pviommu_hypervisor::Background;
use pviommu_testbed::replay::{Options, Units, run};

use super::{in_mode, modes};
use crate::text::bundled;

#[test]
fn pages_of_another_domain_are_gone_as_soon_as_they_are_unmapped() {
    for start in ["d0", "d5"] {
        let trace = bundled(start);
        for mode in modes() {
            for background in [Background::Fault, Background::Scratch] {
                let options = Options {
                    shares: true,
                    background,
                    units: Units::Mixed,
                    limit: Some(2000),
                    ..in_mode(mode)
                };
                let summary = run(&trace, &options, &mut |_| ()).unwrap();
                assert!(summary.is_clean(), "{options:?}: {summary}");
                assert!(summary.shared > 40, "{options:?}: {summary}");
                let without = Options { shares: false, ..options.clone() };
                let without = run(&trace, &without, &mut |_| ()).unwrap();
                // Each takes a call to map it and at least one to unmap it, and none is found again.
                let more = summary.hypercalls - without.hypercalls;
                assert!(more >= 2 * summary.shared, "{options:?}: {summary}");
                assert_eq!(summary.reuse_hits, without.reuse_hits, "{options:?}: {summary}");
            }
        }
    }
}
