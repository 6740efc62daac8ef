//! Replays on units that this target is about, by the library and by the program.

use std::process::{Command, Output};

use pviommu_hypervisor::Background;
use pviommu_testbed::{
    replay::{Options, Summary, Units, run},
    trace::Trace,
};
use serde_json::Value;

/// A machine with 4 GiB and a function without reserved ranges of its own.
const HEADER: &str = "\
# IOMMU trace of a real Linux kernel, format 1
# name: synthetic
# what: written for a test
# ram: 00000000-ffffffff : System RAM
# pci: 0000:00:01.0 0x1b36:0x0010 class 0x010802 driver nvme group 1 type DMA
# group: 1 DMA | 0000:00:01.0  | 0x00000000fee00000 0x00000000feefffff msi;
0 0 D 1 DMA 00:01.0
";

pub(crate) fn trace(events: &str) -> Trace {
    Trace::read("test", format!("{HEADER}{events}").as_bytes()).unwrap()
}

fn replay(trace: &Trace, units: Units) -> Summary {
    let options = Options { units, background: Background::Scratch, ..Options::default() };
    run(trace, &options, &mut |_| ()).unwrap()
}

#[test]
fn a_map_in_the_hole_of_hypertransport_is_refused_on_units_that_have_one() {
    let trace = trace("1 0 M 1 fd00000000 5000 4096 rw\n2 0 M 1 fcfffff000 6000 4096 rw\n");
    for units in Units::ALL.into_iter().filter(|units| *units != Units::ThreeLevels) {
        let summary = replay(&trace, units);
        assert!(summary.is_clean(), "{units:?}: {summary}");
        let amd = matches!(units, Units::AmdVi | Units::AmdViNpCache);
        assert_eq!(summary.refused_reserved, u64::from(amd), "{units:?}");
    }
}

#[test]
fn an_address_of_five_levels_is_replayed_where_units_can_be_made_so_wide() {
    let trace = trace("1 0 M 1 1fffffffffff000 5000 4096 rw\n2 0 U 1 1fffffffffff000 4096 4096\n");
    for units in [Units::Coherent, Units::FiveLevels, Units::AmdVi] {
        let summary = replay(&trace, units);
        assert!(summary.is_clean(), "{units:?}: {summary}");
    }
}

#[test]
fn a_trace_beyond_three_levels_is_refused_by_line_and_width() {
    let narrow = trace("1 0 M 1 7ffffff000 5000 4096 rw\n");
    assert!(replay(&narrow, Units::ThreeLevels).is_clean());
    let wide = trace("1 0 M 1 7ffffff000 5000 8192 rw\n");
    let options = Options { units: Units::ThreeLevels, ..Options::default() };
    let error = run(&wide, &options, &mut |_| ()).unwrap_err().to_string();
    let expected = "test:8: found a map that ends at 8000000fff, expected bus addresses of at most \
                    39 bits, which is all of --unit vtd-3level";
    assert_eq!(error, expected);
}

/// The program, on a trace that comes with it.
pub(crate) fn program(arguments: &[&str]) -> Output {
    let file = format!("{}/traces/d0-small-strict.trace.gz", env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_pviommu")).args(arguments).arg(file).output().unwrap()
}

#[test]
fn the_program_replays_on_every_unit_and_the_json_says_which() {
    for units in Units::ALL {
        let output = program(&["replay", "--json", "--unit", units.name(), "--batch", "16"]);
        assert_eq!(output.status.code(), Some(0), "{units:?}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value.get("unit").and_then(Value::as_str), Some(units.name()));
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        for key in ["mismatches", "violations", "faults", "leaked_refs", "leaked_frames"] {
            assert_eq!(number(key), Some(0), "{key} in {value}");
        }
        assert!(number("scratch_hits") > Some(0), "{value}");
    }
}

#[test]
fn every_breakage_ends_in_status_1_on_amdvi() {
    let breakages = [
        "skip-flush",
        "early-release",
        "first-page-only",
        "keep-stale-scratch",
        "leaf-only-on-scratch",
    ];
    for unit in ["amdvi", "amdvi-npcache"] {
        for how in breakages {
            let output = program(&["replay", "--json", "--unit", unit, "--break", how]);
            assert_eq!(output.status.code(), Some(1), "{how} on {unit}");
        }
    }
}
