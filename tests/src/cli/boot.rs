//! `pviommu boot`: its options, its output.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use pviommu_testbed::boot::{self, Boot, Check, End, Found, SUITES, Suite, Unit};
use serde::Serialize;

use super::Verdict;

/// Lines of what a machine said that are shown if something is wrong.
const SHOWN: usize = 60;

/// The options of `boot`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The unit of the machine [default: each of them]
    #[arg(long, value_enum)]
    unit: Option<Unit>,
    /// Only this suite [default: all]
    #[arg(long, value_name = "NAME", value_parser = suite)]
    suite: Option<&'static Suite>,
    /// Show what each machine says, also if all is well
    #[arg(long)]
    log: bool,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
}

/// A suite on a unit.
#[derive(Serialize)]
struct Run {
    suite: &'static str,
    unit: Unit,
    /// Why it was not run, if it was not.
    left_out: Option<&'static str>,
    passed: bool,
    seconds: f64,
    checks: Vec<Check>,
    broken: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    passed: bool,
    seconds: f64,
    runs: Vec<Run>,
}

/// Builds, boots, and says what was found.
pub(super) fn run(args: &Args) -> Result<Verdict, Box<dyn Error>> {
    boot::look()?;
    let begin = Instant::now();
    let images = boot::build()?;
    let mut runs = Vec::new();
    for unit in Unit::ALL.into_iter().filter(|unit| args.unit.is_none_or(|it| it == *unit)) {
        for suite in SUITES.iter().filter(|suite| args.suite.is_none_or(|it| it == *suite)) {
            let run = match suite.left_out(unit) {
                Some(why) => Run::left_out(suite, unit, why),
                None => {
                    let boot = boot::boot(&images, suite, unit)?;
                    let run = Run::new(suite, unit, &boot);
                    if args.log || !run.passed {
                        show(&run, &boot);
                    }
                    run
                }
            };
            if !args.json {
                run.print()?;
            }
            runs.push(run);
        }
    }
    let summary = Summary {
        passed: runs.iter().all(|run| run.passed),
        seconds: seconds(begin.elapsed()),
        runs,
    };
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", summary.line())?;
    }
    Ok(if summary.passed { Verdict::Good } else { Verdict::Bad })
}

/// A suite as `--suite` names it.
fn suite(name: &str) -> Result<&'static Suite, String> {
    boot::suite(name).ok_or_else(|| {
        let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

impl Run {
    fn left_out(suite: &Suite, unit: Unit, why: &'static str) -> Self {
        Self {
            suite: suite.name,
            unit,
            left_out: Some(why),
            passed: true,
            seconds: 0.0,
            checks: Vec::new(),
            broken: None,
        }
    }

    fn new(suite: &Suite, unit: Unit, boot: &Boot) -> Self {
        let verdict = boot::Verdict::of(boot, suite.name);
        Self {
            suite: suite.name,
            unit,
            left_out: None,
            passed: verdict.is_good(),
            seconds: seconds(boot.took),
            checks: verdict.checks,
            broken: verdict.broken,
        }
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if let Some(why) = self.left_out {
            return writeln!(out, "{} {}: left out: {why}", self.unit, self.suite);
        }
        writeln!(out, "{} {} ({:.1} s)", self.unit, self.suite, self.seconds)?;
        for check in &self.checks {
            match check.found {
                Found::Ok => writeln!(out, "  ok        {}", check.name)?,
                Found::Failed => writeln!(out, "  FAILED    {}: {}", check.name, check.why)?,
                Found::LeftOut => writeln!(out, "  left out  {}: {}", check.name, check.why)?,
            }
        }
        match &self.broken {
            Some(why) => writeln!(out, "  FAILED    {why}"),
            None => Ok(()),
        }
    }
}

impl Summary {
    fn line(&self) -> String {
        let booted = self.runs.iter().filter(|run| run.left_out.is_none());
        let checks = booted.clone().flat_map(|run| &run.checks);
        let checks = checks.filter(|check| check.found != Found::LeftOut).count();
        let failed = booted.clone().filter(|run| !run.passed).count();
        let left_out = self.runs.len() - booted.clone().count();
        format!(
            "{} boots, {checks} checks, {failed} boots failed, {left_out} left out, {:.1} s",
            booted.count(),
            self.seconds
        )
    }
}

fn seconds(took: Duration) -> f64 {
    took.as_secs_f64()
}

/// What the machine said, on the standard error.
fn show(run: &Run, boot: &Boot) {
    eprintln!("--- {} {}: the last that the machine said", run.unit, run.suite);
    let lines: Vec<&str> = boot.serial.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
        eprintln!("{line}");
    }
    if boot.end != End::Content {
        eprintln!("--- and QEMU: {}", boot.errors.trim_end());
    }
    eprintln!("---");
}
