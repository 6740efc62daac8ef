//! Mutation tests of the service, with all mutants in one build: each is a branch, switched on by a variable,
//! and only tests that reach it are run. cargo-mutants says what the mutants are.

mod compile;
mod list;
mod place;
mod reach;
mod report;
mod rewrite;
mod run;
mod tree;
mod trial;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Parser;
use list::{MODULES, Mutant};
use reach::Test;
use report::Results;
use tree::{State, Tree};
use trial::{Line, Trials, Verdict};

/// Tests whether the tests notice mutants of the service, and writes docs/mutants.md.
#[derive(Parser)]
struct Options {
    /// The repository.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where copy, build and results lie.
    #[arg(long, default_value = "target/mutants")]
    work: PathBuf,
    /// Tests only what was neither caught before nor survived for a reason that is given: right, if tests were added
    /// and nothing else.
    #[arg(long)]
    keep: bool,
    /// Runs no test that takes longer, in milliseconds.
    #[arg(long, default_value_t = 60_000)]
    longest: u64,
    /// Only writes the page.
    #[arg(long)]
    page: bool,
    /// Parts of hypervisor/src; without any, all.
    modules: Vec<String>,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.page {
        return report::page(&options.root);
    }
    if options.modules.is_empty() {
        options.modules = MODULES.map(String::from).into();
    }
    for module in &options.modules {
        ensure!(MODULES.contains(&module.as_str()), "there is no {module} in {MODULES:?}");
    }
    fs::create_dir_all(&options.work)?;
    let (root, work) = (fs::canonicalize(&options.root)?, fs::canonicalize(&options.work)?);
    let commit = tree::commit(&root)?;
    let mut tree = Tree::copy(&root, &work, list::list(&root)?)?;
    let dropped = work.join(format!("dropped-{:x}", tree.hash));
    let of_tests = |name: &str| work.join(format!("{name}-{:x}-{}", tree.hash, options.longest));
    let (reached, results) = (of_tests("reached"), of_tests("results"));
    let programs = compile::compile(&root, &mut tree, &dropped)?;
    let count = |wanted: State| tree.states.iter().filter(|state| **state == wanted).count();
    eprintln!(
        "mutants: {} of {} are in the build, {} not viable, {} not switched",
        count(State::Switched),
        tree.mutants.len(),
        count(State::NotViable),
        count(State::NotSwitched)
    );

    let tests: Vec<Test> = match read(&reached) {
        Some(tests) => tests,
        None => reach::reach(&programs, &work, Duration::from_millis(options.longest))?,
    };
    fs::write(&reached, serde_json::to_string(&tests)?)?;

    let mut verdicts = known(&results);
    let memory = work.join("verdicts.json");
    let mut all: HashMap<String, Verdict> = read(&memory).unwrap_or_default();
    if options.keep {
        let reasons = report::reasons(&root)?;
        for (index, mutant) in tree.mutants.iter().enumerate() {
            let before = all.get(&named(mutant));
            let stays = |verdict: &&Verdict| {
                !matches!(verdict, Verdict::Survived(_)) || reasons.contains_key(&mutant.key())
            };
            if let Some(verdict) = before.filter(stays) {
                verdicts.entry(index).or_insert_with(|| verdict.clone());
            }
        }
    }
    for module in &options.modules {
        let trials = Trials {
            programs: &programs,
            tests: &tests,
            mutants: &tree.mutants,
            results: &results,
        };
        let wanted: Vec<usize> = (0..tree.mutants.len())
            .filter(|&index| tree.mutants[index].module() == module)
            .filter(|&index| {
                tree.states[index] == State::Switched && !verdicts.contains_key(&index)
            })
            .collect();
        eprintln!("mutants: {module}: {} to test", wanted.len());
        trials.run(&wanted)?;
        verdicts.extend(known(&results));
        let named =
            |(index, verdict): (&usize, &Verdict)| (named(&tree.mutants[*index]), verdict.clone());
        all.extend(verdicts.iter().map(named));
        fs::write(&memory, serde_json::to_string(&all)?)?;
        let of =
            Results::of(module, (&commit, options.longest), &tree.mutants, &tree.states, &verdicts);
        if let Some(results) = of {
            results.write(&root.join("tests/mutants/results"), module)?;
        }
    }
    report::page(&root)
}

fn named(mutant: &Mutant) -> String {
    format!("{}: {}", mutant.place(), mutant.name)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// What was found out before; a line that was not finished is none.
fn known(results: &Path) -> HashMap<usize, Verdict> {
    let text = fs::read_to_string(results).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.map(|line| (line.mutant, line.verdict)).collect()
}
