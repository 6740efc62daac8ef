//! Runs tests in a process of their own, with limits.

use std::{
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::compile::Program;

/// How a process ended.
#[derive(Debug)]
pub(crate) enum End {
    Passed,
    /// With the first test that failed.
    Failed(String),
    /// By a limit, or by an abort.
    Cut,
}

/// Which machine a test runs on, if it runs on every kind of machine that there is (`tests/tests/kinds`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    First,
    /// The one that has nothing in common with it.
    Other,
}

impl Kind {
    fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::First => &[],
            Self::Other => &[("PVIOMMU_TEST_UNIT", "amdvi"), ("PVIOMMU_TEST_BACKGROUND", "fault")],
        }
    }
}

/// What a process of tests is run with.
#[derive(Clone, Copy)]
pub(crate) struct Run<'r> {
    pub(crate) program: &'r Program,
    pub(crate) tests: &'r [&'r str],
    pub(crate) kind: Kind,
    pub(crate) variable: (&'r str, &'r str),
    pub(crate) limit: Duration,
}

/// Bytes of address space: a mutant may ask for more and more.
const MEMORY: &str = "--as=8589934592";

pub(crate) fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.path);
    command.current_dir(&program.directory).env("CARGO_MANIFEST_DIR", &program.directory);
    command
}

impl Run<'_> {
    pub(crate) fn run(&self) -> Result<End> {
        let cpu = format!("--cpu={}", self.limit.as_secs().max(1));
        let mut child = Command::new("prlimit")
            .args([&cpu, MEMORY, "--core=0", "--"])
            .arg(&self.program.path)
            .args(["--exact", "--test-threads=1"])
            .args(self.tests)
            .current_dir(&self.program.directory)
            .env("CARGO_MANIFEST_DIR", &self.program.directory)
            .env(self.variable.0, self.variable.1)
            .envs(self.kind.variables().iter().copied())
            // The same each time, and nothing that only helps who reads it.
            .env("PROPTEST_CASES", "16")
            .env("PROPTEST_RNG_SEED", "1")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("prlimit does not run")?;
        let mut stdout = child.stdout.take().context("it is a pipe")?;
        let reader = thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stdout.read_to_end(&mut said);
            said
        });
        // It may sleep for ever, or what it started may.
        let end = Instant::now() + self.limit * 3;
        let mut pause = Duration::from_micros(500);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                let group = format!("-{}", child.id());
                Command::new("kill").args(["-KILL", "--", &group]).status()?;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        let said = reader.join().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        if status.success() {
            let (count, name) = (self.tests.len(), &self.program.name);
            ensure!(
                said.contains(&format!("test result: ok. {count} passed; 0 failed; 0 ignored")),
                "{name} ran:\n{said}"
            );
            return Ok(End::Passed);
        }
        let failed =
            said.lines().find_map(|it| it.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        Ok(match failed {
            Some(test) if status.signal().is_none() => End::Failed(test.into()),
            _ => End::Cut,
        })
    }
}
