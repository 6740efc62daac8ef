//! The kinds of machine that the tests of `service`, `contract`, `operator`, `machine` and `topology` run on: what its
//! units are, and what is behind every bus frame that nobody mapped.
//!
//! They are compiled once and ask at run time; those whose names contain the `ON_EVERY_KIND` of their binary do. Two variables choose the kind, and where neither is set
//! the test below has everything run again on each other kind. One of them, and some of the tests:
//!
//! ```text
//! PVIOMMU_TEST_BACKGROUND=fault cargo test -p pviommu-testbed --test service v7::
//! ```

use std::{
    env,
    process::{Command, Output},
    sync::OnceLock,
};

use pviommu_hypervisor::Background;
use pviommu_testbed::machine::{Config, UnitKind};

const UNIT: &str = "PVIOMMU_TEST_UNIT";
const BACKGROUND: &str = "PVIOMMU_TEST_BACKGROUND";

// The first that is built is what a variable that is not set says.
const UNITS: [(&str, UnitKind); 2] = [("vtd", UnitKind::Vtd), ("amdvi", UnitKind::AmdVi)];
const BACKGROUNDS: [(&str, Background); 2] =
    [("scratch", Background::Scratch), ("fault", Background::Fault)];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind {
    unit: UnitKind,
    background: Background,
}

/// The kind of machine that this process runs its tests on.
fn kind() -> Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    *KIND.get_or_init(|| Kind {
        unit: chosen(UNIT, &built()),
        background: chosen(BACKGROUND, &BACKGROUNDS),
    })
}

/// Those of [`UNITS`] that the service is built for.
fn built() -> Vec<(&'static str, UnitKind)> {
    let built: Vec<_> = UNITS.into_iter().filter(|(_, unit)| unit.is_built()).collect();
    assert!(!built.is_empty(), "the service is built for none of {UNITS:?}");
    built
}

fn chosen<T: Copy>(variable: &str, values: &[(&str, T)]) -> T {
    let Some(asked) = env::var_os(variable) else { return values[0].1 };
    let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
    let found = values.iter().find(|(name, _)| asked == **name);
    assert!(found.is_some(), "{variable} is {asked:?} and not one of {names:?}");
    found.unwrap().1
}

/// What is behind every bus frame that nobody mapped, where nobody chose otherwise.
pub(crate) fn background() -> Background {
    kind().background
}

/// What the units of the machine are.
pub(crate) fn unit() -> UnitKind {
    kind().unit
}

/// True if the machine has holes where HyperTransport has other things than memory.
pub(crate) fn has_hypertransport() -> bool {
    unit() == UnitKind::AmdVi
}

/// The machine of `config`, made one of this process's kind.
pub(crate) fn of_this_kind(config: &Config) -> Config {
    config.clone().with_background(background()).on(unit())
}

/// Nothing to do where a kind was asked for: then this process runs all there is to run.
#[test]
fn all_tests_pass_on_every_other_kind_of_machine() {
    let this = kind();
    if [UNIT, BACKGROUND].iter().any(|variable| env::var_os(variable).is_some()) {
        return;
    }
    let those = crate::ON_EVERY_KIND;
    let list = text(&again(&["--list", "--format=terse", those], &[]).stdout);
    let tests = list.lines().filter(|line| line.ends_with(": test")).count();
    let passed = format!("test result: ok. {tests} passed; 0 failed; 0 ignored; 0 measured; ");
    for (unit_name, unit) in UNITS {
        if !unit.is_built() {
            println!("{UNIT}={unit_name}: skipped, for it is not built in");
            continue;
        }
        for (background_name, background) in BACKGROUNDS {
            if (Kind { unit, background }) == this {
                continue;
            }
            let variables = [(UNIT, unit_name), (BACKGROUND, background_name)];
            let ran = again(&["--quiet", those], &variables);
            let (said, complained) = (text(&ran.stdout), text(&ran.stderr));
            assert!(
                tests > 1 && ran.status.success() && said.contains(&passed),
                "{UNIT}={unit_name} {BACKGROUND}={background_name}: {}, and not '{passed}'\n\
                 {said}{complained}",
                ran.status
            );
        }
    }
}

/// Runs this very binary.
fn again(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
