//! The command line: what is asked for, and the exit status that answers.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done, and everything was as it must be |
//! | 1 | done, and something was not |
//! | 2 | not done: wrong usage, an unreadable or malformed file, a trace that the units cannot hold, a machine that cannot be |
//! | 3 | not done: something is not installed, and the message says how to get it |

mod boot;
mod groups;
mod replay;
mod show;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pviommu_testbed::boot::Missing;

/// Tries the paravirtual IOMMU service on a simulated machine.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What `replay` takes: it is what runs when no command is given.
    #[command(flatten)]
    replay: replay::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Replay the IOMMU trace of a real kernel and check every mapping by DMA (the default)
    Replay(replay::Args),
    /// Draw the address spaces of a trace at one moment, as hardware finds them in the tables
    Show(show::Args),
    /// Group the PCI functions of a machine by what the IOMMU can keep apart
    Groups(groups::Args),
    /// Boot a hypervisor with the service in QEMU, and have real drivers and devices use it
    Boot(boot::Args),
}

/// What a command that was done found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Good,
    Bad,
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    // Wrong usage ends here, with status 2.
    let cli = Cli::parse();
    let result: Result<Verdict, Box<dyn Error>> = match cli.command {
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Show(args)) => show::run(&args),
        Some(Command::Groups(args)) => groups::run(&args),
        Some(Command::Boot(args)) => boot::run(&args),
        None => replay::run(&cli.replay),
    };
    match result {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is::<Missing>() { 3 } else { 2 })
        }
    }
}
