//! The suites: each looks at one promise, on units that nobody here wrote.
//!
//! The command line says which one runs: `suite=NAME`. Each check is a line by itself, `check NAME: ok` or
//! `check NAME: FAILED (why)`; the last line is `suite NAME: N checks, M failed`.

mod bench;
mod bridge;
mod bring_up;
mod glue;
mod guest;
mod interrupts;
mod machine;
mod ownership;
mod reattach;
mod report;
mod revocation;
mod sabotage;
mod scratch;
mod translation;
mod walker;

pub use bench::{Bench, firmware_range};
pub use guest::Guest;
pub use report::Report;
pub use sabotage::{Break, SABOTAGE};

use crate::{glue::Setup, machine::start_info::StartInfo};

/// A suite.
struct Suite {
    name: &'static str,
    /// What it wants of the hypervisor.
    setup: fn() -> Setup,
    run: fn(&Bench<'_>, &mut Report),
}

const SUITES: &[Suite] = &[
    Suite { name: "translation", setup: sabotage::setup, run: translation::run },
    Suite { name: "scratch", setup: sabotage::setup, run: scratch::run },
    Suite { name: "revocation", setup: sabotage::setup, run: revocation::run },
    Suite { name: "ownership", setup: ownership::setup, run: ownership::run },
    Suite { name: "reattach", setup: reattach::setup, run: reattach::run },
    Suite { name: "bridge", setup: sabotage::setup, run: bridge::run },
    Suite { name: "bring-up", setup: sabotage::setup, run: bring_up::run },
    Suite { name: "interrupts", setup: sabotage::setup, run: interrupts::run },
    Suite { name: "guest-disk", setup: machine::setup, run: machine::disk },
    Suite { name: "guest-edu", setup: machine::setup, run: machine::edu },
    Suite { name: "guest-escape", setup: machine::setup, run: machine::escape },
    Suite { name: "guest-hostile", setup: machine::setup, run: machine::hostile },
    Suite { name: "guest-smp", setup: machine::setup, run: machine::smp },
    Suite { name: "glue", setup: glue::setup, run: glue::run },
];

/// Runs the suite that the command line asks for; true if all went well.
///
/// # Panics
/// If there is no such suite, or the machine cannot be served.
#[must_use]
pub fn run(info: &StartInfo) -> bool {
    let name = option(info.command_line(), "suite").unwrap_or("translation");
    let suite = SUITES.iter().find(|suite| suite.name == name);
    let suite = suite.unwrap_or_else(|| panic!("there is no suite {name}"));
    let hypervisor = crate::glue::start(info.rsdp(), (suite.setup)());
    let bench = Bench::new(&hypervisor, info);
    let mut report = Report::new(suite.name);
    (suite.run)(&bench, &mut report);
    report.end()
}

/// What the command line says after `name=`.
#[must_use]
pub fn option<'c>(command_line: &'c str, name: &str) -> Option<&'c str> {
    let mut words = command_line.split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}
