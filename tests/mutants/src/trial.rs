//! Whether the tests that reach a mutant notice it.

use std::{
    collections::{BTreeMap, HashMap},
    fs::OpenOptions,
    io::Write,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    compile::Program,
    list::{Mutant, number},
    reach::{Test, each},
    run::{End, Kind, Run},
};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// By this test.
    Caught(String),
    /// What it did had to be stopped, or stopped itself.
    Time(String),
    /// So many tests that reach it.
    Survived(usize),
}

/// A line of the file of results.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) mutant: usize,
    pub(crate) verdict: Verdict,
}

pub(crate) struct Trials<'t> {
    pub(crate) programs: &'t [Program],
    /// The quickest first.
    pub(crate) tests: &'t [Test],
    pub(crate) mutants: &'t [Mutant],
    /// Results are kept here as they come.
    pub(crate) results: &'t Path,
}

/// Of the tests that noticed other mutants of the file, so many go first.
const LIKELY: usize = 6;

/// What a first group of tests takes together; each other, so many times what the one before it takes.
const FIRST: Duration = Duration::from_millis(50);
const GROWTH: u32 = 3;

impl Trials<'_> {
    pub(crate) fn run(&self, wanted: &[usize]) -> Result<()> {
        let file = Mutex::new(OpenOptions::new().create(true).append(true).open(self.results)?);
        let noticed: Mutex<HashMap<&str, HashMap<&str, usize>>> = Mutex::default();
        let start = Instant::now();
        let counts = Mutex::new((0_usize, 0_usize));
        each(wanted.len(), |n| {
            let index = wanted[n];
            let path = self.mutants[index].file.as_str();
            let likely = noticed.lock().expect("nobody panics with it").get(path).cloned();
            let verdict = self.test(index, &likely.unwrap_or_default())?;
            if let Verdict::Caught(by) = &verdict
                && let Some(test) = self.tests.iter().find(|test| test.name == *by)
            {
                let mut noticed = noticed.lock().expect("nobody panics with it");
                *noticed.entry(path).or_default().entry(&test.name).or_default() += 1;
            }
            let mut counts = counts.lock().expect("nobody panics with it");
            counts.0 += 1;
            if matches!(verdict, Verdict::Survived(_)) {
                counts.1 += 1;
                eprintln!("survived: {}", self.mutants[index].key());
            }
            if counts.0.is_multiple_of(50) || counts.0 == wanted.len() {
                let (done, survived) = *counts;
                let seconds = start.elapsed().as_secs();
                eprintln!(
                    "mutants: {done} of {} in {seconds} s, {survived} survived",
                    wanted.len()
                );
            }
            let line = serde_json::to_string(&Line { mutant: index, verdict })?;
            writeln!(file.lock().expect("nobody panics with it"), "{line}")?;
            Ok(())
        })
    }

    /// In groups that grow, so that what is noticed soon costs little and the rest few processes.
    fn test(&self, index: usize, likely: &HashMap<&str, usize>) -> Result<Verdict> {
        let tests: Vec<&Test> =
            self.tests.iter().filter(|test| test.reached.contains(&index)).collect();
        let passed = tests.len();
        let mut by_use: Vec<(&str, usize)> = likely.iter().map(|(name, n)| (*name, *n)).collect();
        by_use.sort_by_key(|&(name, times)| (usize::MAX - times, name));
        by_use.truncate(LIKELY);
        let (first, rest): (Vec<&Test>, Vec<&Test>) =
            tests.into_iter().partition(|test| by_use.iter().any(|(name, _)| test.name == *name));
        let mut groups = vec![first];
        groups.extend(growing(rest));
        for group in groups {
            let mut by_program: BTreeMap<(usize, Kind), Vec<&Test>> = BTreeMap::new();
            for test in group {
                by_program.entry((test.program, test.kind)).or_default().push(test);
            }
            for ((program, kind), tests) in by_program {
                let took: Duration = tests.iter().map(|test| test.took).sum();
                let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
                let number = number(index).to_string();
                let run = Run {
                    program: &self.programs[program],
                    tests: &names,
                    kind,
                    variable: ("PVIOMMU_MUTANT", &number),
                    limit: took * 10 + Duration::from_secs(2),
                };
                match run.run()? {
                    End::Passed => {}
                    // Twice, for some tests depend on how threads happen to run.
                    End::Failed(test)
                        if !matches!(Run { tests: &[&test], ..run }.run()?, End::Passed) =>
                    {
                        return Ok(Verdict::Caught(test));
                    }
                    End::Failed(test) => eprintln!("mutants: {test} failed once only"),
                    End::Cut => return Ok(Verdict::Time(self.programs[program].name.clone())),
                }
            }
        }
        Ok(Verdict::Survived(passed))
    }
}

fn growing(tests: Vec<&Test>) -> Vec<Vec<&Test>> {
    let (mut groups, mut group, mut took, mut most) =
        (Vec::new(), Vec::new(), Duration::ZERO, FIRST);
    for test in tests {
        took += test.took;
        group.push(test);
        if took >= most {
            groups.push(std::mem::take(&mut group));
            took = Duration::ZERO;
            most *= GROWTH;
        }
    }
    groups.push(group);
    groups
}
