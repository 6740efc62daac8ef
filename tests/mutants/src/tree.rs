//! The copy of the tree that is tested, with all mutants in it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    list::Mutant,
    place::place,
    rewrite::{Part, Rewritten, rewrite},
};

/// What has a mutant's branch taken.
const SWITCH: &str = include_str!("../switch.rs");
const LIBRARY: &str = "hypervisor/src/lib.rs";

/// What a mutant is to the build.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum State {
    Switched,
    /// The mutated program does not compile.
    NotViable,
    /// It may compile, but not as a branch of another.
    NotSwitched,
}

/// The copy, and what goes into it.
pub(crate) struct Tree {
    pub(crate) place: PathBuf,
    pub(crate) mutants: Vec<Mutant>,
    pub(crate) states: Vec<State>,
    /// Where what is built from it lies.
    pub(crate) target: PathBuf,
    /// What the copied files are.
    pub(crate) hash: u64,
}

fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").current_dir(root).args(arguments).output()?;
    ensure!(output.status.success(), "git {arguments:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The commit that is tested, and whether anything else than this tool and what it writes has changed since.
pub(crate) fn commit(root: &Path) -> Result<String> {
    let commit = git(root, &["rev-parse", "--short", "HEAD"])?;
    let others = ["status", "--porcelain", "--", ".", ":!tests/mutants", ":!docs/mutants.md"];
    let dirty = if git(root, &others)?.is_empty() { "" } else { " and more" };
    Ok(format!("{}{dirty}", commit.trim()))
}

/// Files that a test can depend on, and what is beside them.
fn files(root: &Path) -> Result<Vec<String>> {
    let listed = git(root, &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let is_there = |path: &&str| !path.starts_with("tests/mutants/") && root.join(path).is_file();
    Ok(listed.lines().filter(is_there).map(String::from).collect())
}

/// As the step `test` of `ci.sh` has it.
fn is_tested(path: &str) -> bool {
    !path.ends_with(".md") && !path.ends_with(".sh") && !path.starts_with("tests/sabotage/")
}

impl Tree {
    /// Copies what git knows or would add, but for what is written with mutants in it.
    pub(crate) fn copy(root: &Path, work: &Path, mutants: Vec<Mutant>) -> Result<Self> {
        let place = work.join("tree");
        let written: HashSet<&str> =
            mutants.iter().map(|it| it.file.as_str()).chain([LIBRARY]).collect();
        let mut hasher = DefaultHasher::new();
        (include_str!("place.rs"), SWITCH).hash(&mut hasher);
        for path in files(root)? {
            let bytes = fs::read(root.join(&path))?;
            if is_tested(&path) {
                (&path, &bytes).hash(&mut hasher);
            }
            let to = place.join(&path);
            // Cargo goes by the times of files.
            if !written.contains(path.as_str()) && fs::read(&to).ok().as_ref() != Some(&bytes) {
                fs::create_dir_all(to.parent().context("a file lies in a directory")?)?;
                fs::copy(root.join(&path), &to)?;
            }
        }
        let states = vec![State::NotSwitched; mutants.len()];
        let target = work.join("build");
        Ok(Self { place, mutants, states, target, hash: hasher.finish() })
    }

    /// Writes the files that have mutants, with those that `dropped` has not, and what does the switching.
    /// Returns what was written, by path.
    pub(crate) fn instrument(
        &mut self,
        root: &Path,
        dropped: &BTreeSet<usize>,
    ) -> Result<BTreeMap<String, Rewritten>> {
        let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (index, mutant) in self.mutants.iter().enumerate() {
            by_file.entry(&mutant.file).or_default().push((index, mutant));
        }
        let mut out = BTreeMap::new();
        for (path, mut mutants) in by_file {
            mutants.retain(|(index, _)| !dropped.contains(index));
            let source = fs::read_to_string(root.join(path))?;
            let placed = place(&source, &mutants).with_context(|| format!("{path} is no Rust"))?;
            for (index, _) in mutants {
                self.states[index] = if placed.not_viable.contains(&index) {
                    State::NotViable
                } else if placed.placed.contains(&index) {
                    State::Switched
                } else {
                    State::NotSwitched
                };
            }
            let is_edit = |part: &Part| matches!(part, Part::Mutant(..));
            let mut edits = placed.edits;
            edits.retain(|edit| edit.parts.iter().any(is_edit));
            let rewritten = rewrite(&source, edits);
            write(&self.place.join(path), &rewritten.text)?;
            out.insert(path.to_owned(), rewritten);
        }
        write(&self.place.join("hypervisor/src/mutant.rs"), SWITCH)?;
        let library = fs::read_to_string(root.join(LIBRARY))?;
        let with_switch = library.replacen("\npub mod addr;", "\nmod mutant;\npub mod addr;", 1);
        ensure!(with_switch != library, "{LIBRARY} has no `pub mod addr;`");
        write(&self.place.join(LIBRARY), &with_switch)?;
        Ok(out)
    }
}

/// Writes what differs only, for cargo.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}
