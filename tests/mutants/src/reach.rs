//! Which mutants each test reaches, and how long it takes.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    compile::Program,
    list::index,
    run::{End, Kind, Run, command},
};

#[derive(Serialize, Deserialize)]
pub(crate) struct Test {
    pub(crate) program: usize,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) took: Duration,
    pub(crate) reached: HashSet<usize>,
}

/// The test that runs all others on every other kind of machine.
const EVERY_KIND: &str = "kinds::all_tests_pass_on_every_other_kind_of_machine";

/// How many processes run at a time.
pub(crate) fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` for each of `0..count`, several at a time, until one fails.
pub(crate) fn each(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Ok(()));
    thread::scope(|scope| {
        for _ in 0..workers() {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    if let Err(error) = work(n) {
                        next.store(count, Ordering::Relaxed);
                        *failed.lock().expect("nobody panics with it") = Err(error);
                    }
                }
            });
        }
    });
    failed.into_inner().expect("nobody panics with it")
}

/// The tests of a program, by name.
fn names(program: &Program) -> Result<Vec<String>> {
    let output = command(program).args(["--list", "--format=terse"]).output()?;
    ensure!(output.status.success(), "{} does not list its tests", program.name);
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines.lines().filter_map(|line| line.strip_suffix(": test")).map(String::from).collect())
}

/// Runs each test alone. One that fails with no mutant on, says nothing of any; one that takes longer than `limit` of
/// a CPU's time is not used.
pub(crate) fn reach(programs: &[Program], work: &Path, limit: Duration) -> Result<Vec<Test>> {
    let mut all = Vec::new();
    for (n, program) in programs.iter().enumerate() {
        let mut names = names(program)?;
        // What that one runs, is run by itself.
        let has_kinds = names.iter().any(|name| name == EVERY_KIND);
        names.retain(|name| name != EVERY_KIND);
        for kind in [Kind::First, Kind::Other].into_iter().take(1 + usize::from(has_kinds)) {
            all.extend(names.iter().map(|name| (n, name.clone(), kind)));
        }
    }
    eprintln!("mutants: {} tests of {} programs, each alone", all.len(), programs.len());
    let found = Mutex::new(Vec::new());
    each(all.len(), |n| {
        let (program, name, kind) = &all[n];
        let record = work.join(format!("reached-{n}"));
        let _ = fs::remove_file(&record);
        let start = Instant::now();
        let variable = ("PVIOMMU_MUTANTS_REACHED", &*record.to_string_lossy());
        let kind = *kind;
        let run = Run { program: &programs[*program], tests: &[name], kind, variable, limit };
        let mut end = run.run()?;
        let took = start.elapsed();
        if matches!(end, End::Failed(_)) {
            end = run.run()?;
        }
        let lines = fs::read_to_string(&record).unwrap_or_default();
        let _ = fs::remove_file(&record);
        if !matches!(end, End::Passed) || took > limit {
            eprintln!(
                "mutants: {} {name} ({kind:?}) is left out: {end:?}",
                programs[*program].name
            );
            return Ok(());
        }
        let number = |line: &str| index(line.parse().ok()?);
        let reached = lines.lines().filter_map(number).collect();
        let test = Test { program: *program, name: name.clone(), kind, took, reached };
        found.lock().expect("nobody panics with it").push(test);
        Ok(())
    })?;
    let mut tests = found.into_inner().expect("nobody panics with it");
    tests.sort_by_key(|test| test.took);
    Ok(tests)
}
