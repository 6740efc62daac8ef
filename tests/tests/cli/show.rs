//! `pviommu show` as people and scripts run it: exit status, output, messages.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::{is_refused, stderr, stdout, trace};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pviommu")).arg("show").args(arguments).output().unwrap()
}

/// A file of this test in the folder that cargo keeps for tests.
fn scratch_file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn a_pipe_gets_plain_lines_of_at_most_100_columns() {
    let output = run(&[&trace("d6-mixed-lazy-4cpu"), "--at", "20000"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(text.contains("5 address spaces after 20000 of 88685 operations"), "{text}");
    assert!(text.contains("more ranges with"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour where there is no terminal");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn without_a_file_the_built_in_trace_is_shown() {
    let output = run(&["--at", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("after 100 of 39475 operations"));
}

#[test]
fn json_is_one_object_that_adds_up() {
    let output = run(&[&trace("d1-nvme-strict"), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap();
    assert_eq!((number(&value, "operations"), number(&value, "of")), (43104, 43104));
    let spaces = value.get("spaces").and_then(Value::as_array).unwrap();
    assert_eq!(spaces.len(), 4);
    for space in spaces {
        let ranges = space.get("ranges").and_then(Value::as_array).unwrap();
        let frames = |range: &Value| number(range, "last") - number(range, "first") + 1;
        let is = |range: &Value, what| range.get("what").and_then(Value::as_str) == Some(what);
        for (what, total) in [("page", "mapped"), ("scratch", "scratch")] {
            let listed = ranges.iter().filter(|range| is(range, what));
            let listed: u64 = listed.map(frames).sum();
            assert_eq!(listed, number(space.get("totals").unwrap(), total), "{space}");
        }
        for range in ranges.iter().filter(|range| !is(range, "scratch")) {
            assert!(is(range, "page"), "{range}");
            assert_eq!(range.get("origin").and_then(Value::as_str), Some("guest"), "{range}");
        }
    }
}

#[test]
fn a_drawing_is_written_beside_the_text() {
    let path = scratch_file("show.svg");
    let name = path.to_str().unwrap();
    let output = run(&[&trace("d0-small-strict"), "--svg", name]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).ends_with(&format!("drawn in {name}\n")));
    let drawing = std::fs::read_to_string(&path).unwrap();
    assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
    let quiet = run(&[&trace("d0-small-strict"), "--svg", name, "--json"]);
    assert!(serde_json::from_slice::<Value>(&quiet.stdout).is_ok(), "the object and nothing else");
}

#[test]
fn what_cannot_be_done_ends_in_status_2_and_one_line() {
    let file = trace("d0-small-strict");
    let folder = env!("CARGO_MANIFEST_DIR");
    let nowhere = format!("{folder}/no-such-folder/out.svg");
    let cases: [(&[&str], &str); 5] = [
        (&["/nonexistent.trace"], "/nonexistent.trace: cannot be read"),
        (&[folder], "cannot be read"),
        (&[&file, "--at", "8252"], "found 8251 operations (M and U lines), expected at least 8252"),
        (&[&file, "--svg", &nowhere], "no-such-folder/out.svg: cannot be written"),
        (&[&file, "--svg", folder], "cannot be written"),
    ];
    for (arguments, expected) in cases {
        is_refused(&run(arguments), arguments, expected);
    }
}

#[test]
fn wrong_usage_ends_in_status_2() {
    let cases: [&[&str]; 4] =
        [&["--at", "-1"], &["--at", "many"], &["--background", "blue"], &["--no-such-option"]];
    for arguments in cases {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_help_says_what_an_operation_is() {
    let text = stdout(&run(&["--help"]));
    assert!(text.contains("lines M and U"), "{text}");
}
