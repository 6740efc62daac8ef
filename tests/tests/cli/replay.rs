//! The program as people and scripts run it: exit status, output, messages.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::{is_refused, stderr, stdout, trace};

/// The first line of every trace.
const FIRST: &str = "# IOMMU trace of a real Linux kernel, format 1\n";

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pviommu")).args(arguments).output().unwrap()
}

#[test]
fn without_arguments_a_trace_is_replayed_that_is_built_in() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("operations            39475 (30741 maps, 8734 unmaps)"), "{text}");
    assert!(text.contains("mismatches            0"), "{text}");
    assert_eq!(stderr(&output), "", "no progress bar where there is no terminal");
}

#[test]
fn json_is_one_object_with_the_promised_keys() {
    let file = trace("d0-small-strict");
    for arguments in [vec!["replay", &file, "--json"], vec!["--json", &file]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let expected = [
            ("ops", 8251),
            ("maps", 4553),
            ("unmaps", 3698),
            ("map_batches", 3709),
            ("mismatches", 0),
            ("violations", 0),
            ("faults", 0),
            ("refused_reserved", 0),
            ("peak_live_maps", 145),
            ("leaked_refs", 0),
            ("leaked_frames", 0),
            ("devices", 7),
            ("contexts", 6),
        ];
        for (key, count) in expected {
            assert_eq!(number(key), Some(count), "{key} in {value}");
        }
        let named = [("background", "scratch"), ("mode", "strict"), ("unit", "vtd")];
        for (key, name) in named {
            assert_eq!(value.get(key).and_then(Value::as_str), Some(name), "{key} in {value}");
        }
        assert_eq!((number("batch"), number("batches")), (Some(1), Some(0)), "{value}");
        let counted = [
            "scratch_hits",
            "hypercalls",
            "dma_checked",
            "faults_expected",
            "iotlb_flushes",
            "table_frames_peak",
        ];
        for key in counted {
            assert!(number(key).is_some_and(|count| count > 0), "{key} in {value}");
        }
        assert!(value.get("ns_per_op").and_then(Value::as_f64).is_some_and(|ns| ns > 0.0));
        assert_eq!(value.get("name").and_then(Value::as_str), Some("d0-small-strict"));
    }
}

#[test]
fn every_breakage_ends_in_status_1() {
    let breakages = [
        "skip-flush",
        "early-release",
        "first-page-only",
        "keep-stale-scratch",
        "leaf-only-on-scratch",
    ];
    for how in breakages {
        for level in ["iommu", "dma"] {
            let file = trace("d0-small-strict");
            let output = run(&["replay", &file, "--level", level, "--break", how, "--json"]);
            assert_eq!(output.status.code(), Some(1), "{how}: {}", stderr(&output));
            let value: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(value.get("mismatches").and_then(Value::as_u64) > Some(0), "{how}: {value}");
        }
    }
}

#[test]
fn what_cannot_be_done_ends_in_status_2_and_one_line() {
    let of_scratch = "cannot be noticed here; expected a background of scratch pages";
    let wide = format!("{}/wide.trace", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&wide, format!("{FIRST}1 0 D 1 DMA 00:01.0\n2 0 M 1 8000000000 1000 4096 r\n"))
        .unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["--reuse", "8"], "mappings cannot be kept at level iommu; expected level dma"),
        (&["--shares"], "pages of another domain cannot be mapped at level iommu"),
        (
            &["--level", "dma", "--batch", "16"],
            "the size of batches cannot be chosen at level dma; expected level iommu",
        ),
        (&["replay", "/nonexistent.trace"], "/nonexistent.trace: cannot be read"),
        (&["/nonexistent.trace"], "/nonexistent.trace: cannot be read"),
        (&["replay", env!("CARGO_MANIFEST_DIR")], "cannot be read"),
        (
            &["replay", &wide, "--unit", "vtd-3level"],
            "expected bus addresses of at most 39 bits, which is all of --unit vtd-3level",
        ),
        (&["--background", "fault", "--break", "keep-stale-scratch"], of_scratch),
        (&["--background", "fault", "--break", "leaf-only-on-scratch"], of_scratch),
    ];
    for (arguments, expected) in cases {
        is_refused(&run(arguments), arguments, expected);
    }
}

#[test]
fn wrong_usage_ends_in_status_2() {
    let cases: [&[&str]; 9] = [
        &["--level", "bus"],
        &["--level", "dma", "--reuse", "0"],
        &["--level", "dma", "--reuse", "4097"],
        &["--level", "dma", "--reuse", "8", "--lazy"],
        &["--unit", "smmu"],
        &["--batch", "0"],
        &["--break", "everything"],
        &["--lazy", "--strict"],
        &["replay", "--no-such-option"],
    ];
    for arguments in cases {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn each_option_changes_what_is_replayed_and_the_json_says_so() {
    let file = trace("d0-small-strict");
    let ways: [(&[&str], [&str; 3], u64); 4] = [
        (&["--unit", "vtd", "--background", "fault", "--strict"], ["fault", "strict", "vtd"], 1),
        (&["--lazy", "--batch", "16"], ["scratch", "lazy", "vtd"], 16),
        (&["--unit", "vtd-coherent", "--batch", "128"], ["scratch", "strict", "vtd-coherent"], 128),
        (&["--unit", "vtd-plain", "--lazy"], ["scratch", "lazy", "vtd-plain"], 1),
    ];
    for (options, named, batch) in ways {
        let output = run(&[&["replay", "--json", file.as_str()], options].concat());
        assert_eq!(output.status.code(), Some(0), "{options:?}: {}", stderr(&output));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (key, name) in ["background", "mode", "unit"].into_iter().zip(named) {
            assert_eq!(value.get(key).and_then(Value::as_str), Some(name), "{options:?}: {value}");
        }
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        assert_eq!(number("batch"), Some(batch), "{options:?}: {value}");
        assert_eq!(number("faults"), Some(0), "{options:?}: {value}");
        assert_eq!(number("scratch_hits") > Some(0), named[0] == "scratch", "{options:?}: {value}");
        assert_eq!(number("stale_hits") > Some(0), named[1] == "lazy", "{options:?}: {value}");
        let calls = value.get("hypercalls_per_op").and_then(Value::as_f64);
        assert_eq!(calls < Some(1.0), batch > 1, "{options:?}: {value}");
    }
}

#[test]
fn the_level_of_the_dma_api_tells_its_counts() {
    let file = trace("d0-small-strict");
    let ways: [(&[&str], &str, f64); 3] = [
        (&["--strict"], "strict", 2.0),
        (&["--lazy"], "lazy", 1.02),
        (&["--reuse", "2048"], "reuse", 0.2),
    ];
    for (options, mode, most) in ways {
        let replay: &[&str] = &["replay", &file, "--level", "dma", "--background", "fault"];
        let output = run(&[replay, options, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{options:?}: {}", stderr(&output));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (key, name) in [("level", "dma"), ("mode", mode)] {
            assert_eq!(value.get(key).and_then(Value::as_str), Some(name), "{options:?}: {value}");
        }
        let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap();
        assert_eq!((number("map_batches"), number("unmaps")), (3709, 3698), "{value}");
        assert_eq!((number("dma_maps"), number("dma_unmaps")), (3708, 3698), "{value}");
        assert_eq!((number("mismatches"), number("oddities")), (0, 0), "{value}");
        assert_eq!(number("reuse_hits") > 3000, mode == "reuse", "{value}");
        let calls = value.get("hypercalls_per_p").and_then(Value::as_f64).unwrap();
        assert!(calls <= most && calls * 2.0 > most / 2.0, "{options:?}: {value}");
        let output = run(&[replay, options].concat());
        let text = stdout(&output);
        let told = format!("  hypercalls            {} (", number("hypercalls"));
        assert!(text.contains(&told) && text.contains(" per P; "), "{text}");
        assert_eq!(text.contains("mapped again"), mode == "reuse", "{text}");
    }
}

/// Runs the program on `text` as its standard input.
fn run_on(text: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pviommu"))
        .args(["replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn standard_input_is_a_trace_too() {
    let good = run_on(&format!("{FIRST}1 0 D 1 DMA 00:01.0\n2 0 M 1 fffff000 1000 4096 r\n"));
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    let bad = run_on(&format!("{FIRST}1 0 D 1 DMA 00:01.0\n2 0 M 1 fffff001 1000 4096 r\n"));
    assert_eq!(bad.status.code(), Some(2));
    assert_eq!(
        stderr(&bad),
        "error: standard input:3: found iova \"fffff001\", expected an address at a 4096-byte boundary\n"
    );
    assert_eq!(stdout(&bad), "");
}
