//! The example `embed.c`, on units of the testbed.

use pviommu_c_tests::embed_machine::run;
use pviommu_testbed::machine::UnitKind;

/// One test, because the example has its memory to itself.
#[test]
fn the_example_maps_what_a_device_then_writes() {
    for kind in UnitKind::ALL.into_iter().filter(|kind| kind.is_built()) {
        let printed = run(kind);
        let wrote = "embed: a device wrote to a guest's page through a mapping";
        assert_eq!(printed, [wrote, "embed: done"]);
    }
}
