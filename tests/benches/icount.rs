//! Instructions that hot operations take: the same in each run, so that a gate can stand on them.
//!
//! `./ci.sh icount` has valgrind's callgrind count each operation and compares with `icount/figures.txt`; it fails if one
//! takes over 5 % more. With `--write` this renews that file, and with `--run NAME` it does one operation, for callgrind to
//! look into. Figures are instructions for each page, in hundredths, and belong to the build that `ci.sh` makes.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "an operation that fails has no figure"
)]

#[path = "hypercall/batches.rs"]
mod batches;
#[path = "hypercall/calls.rs"]
mod calls;
#[path = "side_by_side/candidate.rs"]
mod candidate;
#[path = "icount/count.rs"]
mod count;
#[path = "icount/operations.rs"]
mod operations;
#[path = "side_by_side/ours.rs"]
mod ours;
#[path = "side_by_side/work.rs"]
#[expect(dead_code, reason = "nothing is compared here")]
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => count::compare(),
        ["--write"] => count::write(),
        ["--run", name] => {
            operations::run(name);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("icount: no arguments, --write, or --run and the name of an operation");
            ExitCode::FAILURE
        }
    }
}
