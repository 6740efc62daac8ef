//! `pviommu groups` as people and scripts run it: exit status, output, messages.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::{is_refused, stderr, stdout};

/// Three functions, two of one device, as `lspci -vvv -nn` prints them.
const PRINTED: &str = include_str!("../pci/samples/desktop.txt");

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pviommu")).arg("groups").args(arguments).output().unwrap()
}

/// Runs the program on `bytes` as its standard input.
fn run_on(bytes: &[u8], arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pviommu"))
        .args(["groups", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

/// A file of `tests/pci`.
fn file(name: &str) -> String {
    format!("{}/pci/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of this test in the folder that cargo keeps for tests.
fn scratch_file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

/// A machine with a switch that has no ACS, of which Linux says that it isolates.
fn switch() -> Value {
    let text = std::fs::read(file("handmade.json")).unwrap();
    let mut all: Value = serde_json::from_slice(&text).unwrap();
    let topologies = all["topologies"].as_array_mut().unwrap();
    topologies.retain(|topology| topology["name"] == "switch-acs-none");
    assert_eq!(topologies.len(), 1);
    all
}

#[test]
fn without_a_file_a_real_machine_is_shown_a_line_for_each_group() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(text.starts_with("bug219984: 34 functions, 27 groups (safe)\n"), "{text}");
    assert!(
        text.contains(
            "\ngroup 2: 00:01.0 PCI bridge (root port), 01:00.0 VGA compatible controller, \
             01:00.1 Audio device\n"
        ),
        "{text}"
    );
    assert_eq!(text.lines().filter(|line| line.starts_with("group ")).count(), 27, "{text}");
    assert!(!text.contains("why: "), "{text}");
}

#[test]
fn why_says_what_ties_and_what_would_part() {
    let text = stdout(&run(&["--why"]));
    let expected = "    why: 01:00.0 is below 00:01.0, which has no access control (ACS)";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("    to part: 01:00.0, 01:00.1: "), "{text}");
}

#[test]
fn json_is_one_object_of_sorted_groups_and_nothing_else() {
    let output = run_on(switch().to_string().as_bytes(), &["--json", "--why"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        value,
        json!({"topologies": [{"name": "switch-acs-none", "groups": [
            ["00:00.0"],
            ["00:01.0"],
            ["01:00.0", "02:00.0", "02:01.0", "03:00.0", "04:00.0"],
        ]}]})
    );
    let linux = run_on(switch().to_string().as_bytes(), &["--json", "--mode", "as-linux"]);
    let value: Value = serde_json::from_slice(&linux.stdout).unwrap();
    assert_eq!(value["topologies"][0]["groups"], switch()["topologies"][0]["linux_groups"]);
}

#[test]
fn compare_ends_in_status_1_where_there_is_a_difference() {
    let input = switch().to_string();
    let same = run_on(input.as_bytes(), &["--compare", "--mode", "as-linux"]);
    assert_eq!(same.status.code(), Some(0), "{}", stderr(&same));
    assert!(stdout(&same).ends_with("\nthe same groups as Linux's\n"), "{}", stdout(&same));
    let other = run_on(input.as_bytes(), &["--compare"]);
    assert_eq!(other.status.code(), Some(1), "{}", stderr(&other));
    let text = stdout(&other);
    assert!(
        text.contains("\n1 difference from Linux's groups\n  here:  {01:00.0, 02:00.0"),
        "{text}"
    );
    assert!(text.contains("  Linux: {01:00.0} {02:00.0, 03:00.0} {02:01.0, 04:00.0}\n"), "{text}");
    let silent = run_on(input.as_bytes(), &["--compare", "--json"]);
    assert_eq!(silent.status.code(), Some(1));
    assert_eq!(stdout(&silent).lines().count(), 1);
    assert_eq!(stderr(&silent), "differences from Linux's groups: 1\n");
    // Not asked for, a difference is none.
    assert_eq!(run_on(input.as_bytes(), &[]).status.code(), Some(0));
}

#[test]
fn files_of_all_machines_are_as_linux_has_them() {
    for name in ["handmade.json", "real.json", "random-quirks.json.gz", "quirk-table.json.gz"] {
        let output = run(&[&file(name), "--mode", "as-linux", "--compare", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        assert_eq!(stderr(&output), "differences from Linux's groups: 0\n");
    }
}

#[test]
fn each_form_is_recognised_compressed_or_not() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(PRINTED.as_bytes()).unwrap();
    let (plain, packed) = (run_on(PRINTED.as_bytes(), &[]), run_on(&gzip.finish().unwrap(), &[]));
    assert_eq!(plain.status.code(), Some(0), "{}", stderr(&plain));
    assert_eq!(stdout(&plain), stdout(&packed));
    let text = stdout(&plain);
    assert!(text.starts_with("standard input: 7 functions, "), "{text}");
    assert!(text.contains("\n  not seen: bit 7 of the header type"), "{text}");
    let json = run_on(PRINTED.as_bytes(), &["--json"]);
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    let groups = value["topologies"][0]["groups"].as_array().unwrap();
    let members = groups.iter().map(|group| group.as_array().unwrap().len());
    assert_eq!(members.sum::<usize>(), 7);
}

#[test]
fn pictures_are_written_where_they_are_asked_for() {
    let (dot, svg) = (scratch_file("groups.dot"), scratch_file("groups.svg"));
    let (dot_name, svg_name) = (dot.to_str().unwrap(), svg.to_str().unwrap());
    let output = run(&["--dot", dot_name, "--svg", svg_name]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).ends_with(&format!("\ndrawn in {svg_name}\n")));
    let graph = std::fs::read_to_string(&dot).unwrap();
    assert!(graph.starts_with("digraph groups {\n") && graph.ends_with("}\n"), "{graph}");
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.starts_with("<svg xmlns=") && drawn.ends_with("</svg>\n"));
    let again = run(&["--svg", svg_name, "--json"]);
    assert_eq!(stdout(&again).lines().count(), 1, "{}", stdout(&again));
    assert_eq!(std::fs::read_to_string(&svg).unwrap(), drawn, "the same each time");
}

#[test]
fn the_picture_in_the_guide_is_what_is_drawn() {
    let svg = scratch_file("guide.svg");
    assert_eq!(run(&["--svg", svg.to_str().unwrap()]).status.code(), Some(0));
    let guide = format!("{}/../docs/groups.svg", env!("CARGO_MANIFEST_DIR"));
    let same = std::fs::read(&svg).unwrap() == std::fs::read(&guide).unwrap();
    assert!(same, "draw it again: pviommu groups --svg docs/groups.svg");
}

#[test]
fn what_cannot_be_done_ends_in_status_2_and_one_line() {
    let broken = scratch_file("broken.json");
    std::fs::write(&broken, "{\"format\": \"pviommu-pci-1\",\n \"topologies\": [{]}").unwrap();
    let broken = broken.to_str().unwrap();
    let mut loops = switch();
    loops["topologies"][0]["functions"][1]["bus"]["secondary"] = json!(0x80);
    let twisted = scratch_file("twisted.json");
    std::fs::write(&twisted, loops.to_string()).unwrap();
    let twisted = twisted.to_str().unwrap();
    let printed = scratch_file("printed.txt");
    std::fs::write(&printed, PRINTED).unwrap();
    let printed = printed.to_str().unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["/nonexistent.json"], "/nonexistent.json: cannot be read"),
        (&[env!("CARGO_MANIFEST_DIR")], "cannot be read"),
        (&[broken], "broken.json:2:18: key must be a string, expected the form pviommu-pci-1"),
        (&[twisted], "twisted.json: topology \"switch-acs-none\": found bridge 0000:00:01.0"),
        (
            &[printed, "--compare"],
            "printed.txt\": found no groups of Linux's, expected linux_groups",
        ),
        (&["--svg", "/nonexistent/out.svg"], "/nonexistent/out.svg: cannot be written"),
        (&[&file("README.md")], "README.md:1: found \"# PCI topologies"),
    ];
    for (arguments, expected) in cases {
        is_refused(&run(arguments), arguments, expected);
    }
}

#[test]
fn wrong_usage_ends_in_status_2() {
    let cases: [&[&str]; 4] =
        [&["--mode", "unsafe"], &["--sysfs", "file"], &["--svg"], &["--no-such-option"]];
    for arguments in cases {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// An override of access control is possible, and never silent.
#[test]
fn what_the_operator_vouches_for_is_told() {
    let output = run(&["--vouch", "00:01.0,01:00.0", "--vouch", "01:00.1"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told =
        "  overridden: 00:01.0, 01:00.0, 01:00.1 count as isolating by the operator's word alone\n";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("\ngroup 2: 00:01.0 PCI bridge (root port)\n"), "{text}");
    let nobody = ["--vouch", "00:07.7"];
    is_refused(&run(&nobody), &nobody, "real.json: there is no function 00:07.7 to vouch for");
}
