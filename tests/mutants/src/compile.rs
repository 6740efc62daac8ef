//! Compiles the tree, leaving out what does not compile.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    rewrite::Rewritten,
    tree::{State, Tree},
};

/// Test programs that are not built: they take the longest, and what they test, others do.
const LEFT_OUT: [&str; 6] = ["replay", "show", "fuzz_corpus", "races", "cli", "trace"];

/// A program with tests.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where cargo would run it.
    pub(crate) directory: PathBuf,
}

/// Leaves out mutants until the rest compiles. What is left out by an error in its own text is not viable.
/// It is kept in `memory`, for the next time.
pub(crate) fn compile(root: &Path, tree: &mut Tree, memory: &Path) -> Result<Vec<Program>> {
    let known = fs::read_to_string(memory).unwrap_or_default();
    let mut dropped: BTreeMap<usize, State> = serde_json::from_str(&known).unwrap_or_default();
    let tests = tests(&tree.place)?;
    let library: &[&str] = &["check", "-p", "pviommu-hypervisor", "--lib"];
    let mut all =
        vec!["test", "--no-run", "-p", "pviommu-hypervisor", "-p", "pviommu-testbed", "--lib"];
    all.extend(tests.iter().flat_map(|test| ["--test", test]));
    for step in [library, &all] {
        loop {
            let written = tree.instrument(root, &dropped.keys().copied().collect())?;
            let (messages, success) = cargo(tree, step)?;
            if success {
                if step == all {
                    for (&index, &state) in &dropped {
                        tree.states[index] = state;
                    }
                    return programs(&messages);
                }
                break;
            }
            let before = dropped.len();
            for message in messages.iter().filter(|it| it["reason"] == "compiler-message") {
                drop_for(&message["message"], &written, &mut dropped)?;
            }
            ensure!(dropped.len() > before, "the tree does not compile without mutants");
            fs::write(memory, serde_json::to_string(&dropped)?)?;
            eprintln!("mutants: {} left out", dropped.len());
        }
    }
    bail!("the last step returns");
}

/// The test programs that are built, by name.
fn tests(tree: &Path) -> Result<BTreeSet<String>> {
    let mut tests = BTreeSet::new();
    for directory in ["hypervisor/tests", "tests/tests"] {
        for entry in fs::read_dir(tree.join(directory))? {
            let path = entry?.path();
            let name = path.file_stem().context("an entry has a name")?.to_string_lossy();
            if path.is_file() || path.join("main.rs").is_file() {
                tests.insert(name.into_owned());
            }
        }
    }
    tests.retain(|name| !LEFT_OUT.contains(&name.as_str()));
    Ok(tests)
}

fn cargo(tree: &Tree, arguments: &[&str]) -> Result<(Vec<Value>, bool)> {
    let output = Command::new("cargo")
        .args(arguments)
        .args(["--locked", "--message-format=json"])
        .current_dir(&tree.place)
        .env("CARGO_TARGET_DIR", &tree.target)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        // What mutants leave unused is not looked at.
        .env("RUSTFLAGS", "-Awarnings")
        .stderr(Stdio::inherit())
        .output()?;
    let lines = String::from_utf8(output.stdout)?;
    let messages = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((messages, output.status.success()))
}

/// Leaves out what an error is about.
fn drop_for(
    message: &Value,
    written: &BTreeMap<String, Rewritten>,
    dropped: &mut BTreeMap<usize, State>,
) -> Result<()> {
    let spans = message["spans"].as_array().map_or(&[][..], Vec::as_slice);
    if message["level"] != "error" || spans.is_empty() {
        return Ok(());
    }
    let (primary, others): (Vec<_>, Vec<_>) = spans.iter().partition(|it| it["is_primary"] == true);
    for span in primary.into_iter().chain(others) {
        let Some(rewritten) = span["file_name"].as_str().and_then(|it| written.get(it)) else {
            continue;
        };
        let offset = |name: &str| span[name].as_u64().and_then(|it| usize::try_from(it).ok());
        let start = offset("byte_start").context("a span starts")?;
        let end = offset("byte_end").context("a span ends")?;
        if let Some(found) = rewritten.around(&(start..end)) {
            let state = if found.itself { State::NotViable } else { State::NotSwitched };
            for &mutant in &found.mutants {
                dropped.entry(mutant).or_insert(state);
            }
            return Ok(());
        }
    }
    bail!("no mutant's:\n{}", message["rendered"].as_str().unwrap_or_default());
}

fn programs(messages: &[Value]) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for message in messages.iter().filter(|it| it["profile"]["test"] == true) {
        let Some(path) = message["executable"].as_str() else { continue };
        let manifest = message["manifest_path"].as_str().context("a target has a manifest")?;
        programs.push(Program {
            name: message["target"]["name"].as_str().context("a target has a name")?.into(),
            path: path.into(),
            directory: Path::new(manifest).parent().context("it lies in a directory")?.into(),
        });
    }
    // Cargo names first what it had compiled before.
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}
