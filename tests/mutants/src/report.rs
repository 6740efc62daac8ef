//! What is checked in: a file of results a module, and a page made from all of them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    list::{MODULES, Mutant},
    tree::State,
    trial::Verdict,
};

/// Of viable mutants, how many must be caught at least, in per cent.
const LEAST: f64 = 95.0;

/// One module's results, on one commit.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    commit: String,
    /// Tests that take longer were not run, in milliseconds.
    longest: u64,
    not_viable: usize,
    caught: usize,
    by_time: usize,
    /// By place and name.
    not_switched: Vec<(String, String)>,
    survived: Vec<(String, String)>,
}

impl Results {
    /// `None`: some are still to be tested.
    pub(crate) fn of(
        module: &str,
        (commit, longest): (&str, u64),
        mutants: &[Mutant],
        states: &[State],
        verdicts: &HashMap<usize, Verdict>,
    ) -> Option<Self> {
        let mut results = Self {
            commit: commit.into(),
            longest,
            not_viable: 0,
            caught: 0,
            by_time: 0,
            not_switched: Vec::new(),
            survived: Vec::new(),
        };
        for (index, mutant) in mutants.iter().enumerate().filter(|(_, it)| it.module() == module) {
            let named = || (mutant.place(), mutant.name.clone());
            match (states[index], verdicts.get(&index)) {
                (State::NotViable, _) => results.not_viable += 1,
                (State::NotSwitched, _) => results.not_switched.push(named()),
                (State::Switched, Some(Verdict::Caught(_))) => results.caught += 1,
                (State::Switched, Some(Verdict::Time(_))) => results.by_time += 1,
                (State::Switched, Some(Verdict::Survived(_))) => results.survived.push(named()),
                (State::Switched, None) => return None,
            }
        }
        Some(results)
    }

    pub(crate) fn write(&self, directory: &Path, module: &str) -> Result<()> {
        fs::create_dir_all(directory)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(fs::write(directory.join(format!("{module}.json")), text)?)
    }

    fn tested(&self) -> usize {
        self.caught + self.by_time + self.survived.len()
    }

    fn percent(&self) -> f64 {
        100.0 * (self.caught + self.by_time) as f64 / self.tested().max(1) as f64
    }
}

/// Why a mutant survives, by its file and name: lines of `FILE: NAME`, each followed by an indented reason.
pub(crate) fn reasons(root: &Path) -> Result<BTreeMap<String, String>> {
    let path = root.join("tests/mutants/survivors.txt");
    let text =
        fs::read_to_string(&path).with_context(|| format!("there is no {}", path.display()))?;
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    let mut waiting: Vec<String> = Vec::new();
    let mut last: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.strip_prefix("    ") {
            None => waiting.push(line.into()),
            Some(reason) => {
                if !waiting.is_empty() {
                    last = std::mem::take(&mut waiting);
                }
                for name in &last {
                    let so_far = reasons.entry(name.clone()).or_default();
                    let space = if so_far.is_empty() { "" } else { " " };
                    *so_far = format!("{so_far}{space}{}", reason.trim());
                }
            }
        }
    }
    Ok(reasons)
}

/// Writes the page. Fails if too few are caught, or a survivor has no reason.
pub(crate) fn page(root: &Path) -> Result<()> {
    let here = root.join("tests/mutants");
    let reasons = reasons(root)?;
    let mut page = String::from(include_str!("../page.md"));
    let (mut survivors, mut apart, mut wrong) = (String::new(), String::new(), Vec::new());
    for module in MODULES {
        let path = here.join(format!("results/{module}.json"));
        let Ok(text) = fs::read_to_string(&path) else {
            writeln!(page, "| {module} | not run | | | | | | | | |")?;
            continue;
        };
        let it: Results = serde_json::from_str(&text)?;
        let (apart_here, survived) = (it.not_switched.len(), it.survived.len());
        let all = it.tested() + it.not_viable + apart_here;
        let Results { commit, longest, not_viable, caught, by_time, .. } = &it;
        let percent = it.percent();
        writeln!(
            page,
            "| {module} | {commit} | {longest} ms | {all} | {not_viable} | {apart_here} | {caught} | {by_time} | {survived} | {percent:.1} % |"
        )?;
        if percent < LEAST {
            wrong.push(format!("{module}: {percent:.1} %"));
        }
        for (place, name) in &it.not_switched {
            writeln!(apart, "* `{place}`: `{name}`")?;
        }
        for (place, name) in &it.survived {
            let file = place.split(':').next().unwrap_or(place);
            let key = format!("{file}: {name}");
            let reason = reasons.get(&key).map_or("**no reason is given**", String::as_str);
            writeln!(survivors, "* `{place}`: `{name}`. {reason}")?;
            if !reasons.contains_key(&key) {
                wrong.push(format!("no reason for: {key}"));
            }
        }
    }
    write!(page, "\n## Survivors\n\n{survivors}\n## Not switched\n\n{apart}")?;
    fs::write(root.join("docs/mutants.md"), page)?;
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}
