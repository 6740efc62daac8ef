//! What cargo-mutants would change.

use std::{collections::HashMap, env, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// The parts of `hypervisor/src` that are tested so.
pub(crate) const MODULES: [&str; 7] =
    ["flush", "policy", "domain", "hypercall", "context", "table", "topology"];

/// Below it are numbers that mean something else to `switch.rs`.
const FIRST_NUMBER: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
}

/// As cargo-mutants counts: from 1, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Position,
    pub(crate) end: Position,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Function {
    return_type: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mutant {
    pub(crate) file: String,
    pub(crate) genre: Genre,
    pub(crate) replacement: String,
    pub(crate) span: Span,
    function: Option<Function>,
    /// What cargo-mutants calls it, but for the place; with a number, if the file has several such.
    #[serde(default)]
    pub(crate) name: String,
}

impl Mutant {
    /// The part of `hypervisor/src` that it belongs to.
    pub(crate) fn module(&self) -> &str {
        let path = self.file.strip_prefix("hypervisor/src/").unwrap_or(&self.file);
        let first = path.split('/').next().unwrap_or(path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// What does not change when lines move.
    pub(crate) fn key(&self) -> String {
        format!("{}: {}", self.file, self.name)
    }

    pub(crate) fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.span.start.line, self.span.start.column)
    }

    /// True if it replaces a body whose type is known by that body only.
    pub(crate) fn loses_type(&self) -> bool {
        let is_opaque = |function: &Function| function.return_type.contains("impl ");
        self.genre == Genre::FnValue && self.function.as_ref().is_some_and(is_opaque)
    }
}

/// The number by which the mutant at `index` is switched on.
pub(crate) fn number(index: usize) -> usize {
    FIRST_NUMBER + index
}

/// The index of the mutant with this number.
pub(crate) fn index(number: usize) -> Option<usize> {
    number.checked_sub(FIRST_NUMBER)
}

/// All mutants of all modules.
pub(crate) fn list(root: &Path) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = serde_json::from_str(&ask(root, &["--json"])?)?;
    let lines = ask(root, &[])?;
    let lines: Vec<&str> = lines.lines().collect();
    ensure!(lines.len() == mutants.len(), "the two lists of cargo-mutants differ in length");
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (mutant, line) in mutants.iter_mut().zip(lines) {
        let name = line.strip_prefix(&mutant.place()).and_then(|rest| rest.strip_prefix(": "));
        mutant.name = name.with_context(|| format!("'{line}' is not {}", mutant.place()))?.into();
        let times = seen.entry(mutant.key()).or_default();
        *times += 1;
        if *times > 1 {
            mutant.name = format!("{} ({times})", mutant.name);
        }
    }
    Ok(mutants)
}

fn ask(root: &Path, more: &[&str]) -> Result<String> {
    let program = env::var_os("CARGO_MUTANTS").unwrap_or_else(|| "cargo-mutants".into());
    let mut command = Command::new(program);
    command.current_dir(root).args(["mutants", "--list"]).args(more);
    for module in MODULES {
        command.args(["--file", &format!("hypervisor/src/{module}.rs")]);
        command.args(["--file", &format!("hypervisor/src/{module}/**")]);
    }
    let output = command.output().context("cargo-mutants does not run; CARGO_MUTANTS names it")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
