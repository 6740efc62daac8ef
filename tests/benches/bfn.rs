//! The guest driver's allocator of bus frames next to others, on what kernels took and gave back.
//!
//! Rows are traces, and the largest set of ranges that one of them had at a time, of which some are given back and
//! taken again, one or 64 at a time. Figures are nanoseconds for each range taken or given back: medians over
//! rounds, and in the table of tails what one such step takes at most, but for one in a thousand.
//!
//! All work on the 32-bit address space, warm. Ours is shared by CPUs and takes a lock for each step, as
//! `first-fit-locked` does; all others are for one owner and take none. `harness` does nothing: it is part of each
//! figure.
//!
//! First fit is as quick as what is free is in few pieces: over one free range it costs less than a lock, with 64
//! given back at a time, as deferred unmaps are, several times as much. Only a whole build tells: optimised less, maps
//! take several times as long.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "an allocator that refuses a range has no figure"
)]

#[path = "bfn/allocator.rs"]
mod allocator;
#[path = "bfn/crates.rs"]
mod crates;
#[path = "bfn/first_fit.rs"]
mod first_fit;
#[path = "bfn/ours.rs"]
mod ours;
#[path = "bfn/player.rs"]
mod player;
#[path = "bfn/tail.rs"]
mod tail;
#[path = "bfn/work.rs"]
mod work;

use std::{error::Error, path::Path};

use clap::Parser;
use pviommu_testbed::measure::{self, Effort, Figure};
use serde::Serialize;

use player::{Player, Plays};
use tail::Tail;
use work::Work;

/// Measures allocators of bus frames side by side.
#[derive(Parser)]
struct Arguments {
    /// Fewer and shorter rounds, on three traces.
    #[arg(long)]
    quick: bool,
    /// Print the figures as one JSON array.
    #[arg(long)]
    json: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    figure: Figure,
    #[serde(flatten)]
    tail: Tail,
}

/// Everybody in turns, and then each step by itself.
fn measure(works: &[Work], effort: Effort) -> Vec<Measured> {
    let mut ours = Player::<ours::Ours>::new(works);
    let mut first_fit = Player::<first_fit::FirstFit>::new(works);
    let mut locked = Player::<first_fit::Locked>::new(works);
    let mut of_taken = Player::<first_fit::OfTaken>::new(works);
    let mut buddy = Player::<crates::Buddy>::new(works);
    let mut offset = Player::<crates::Offset>::new(works);
    let mut nothing = Player::<allocator::Nothing>::new(works);
    let mut cases: [&mut dyn Plays; 7] = [
        &mut ours,
        &mut first_fit,
        &mut locked,
        &mut of_taken,
        &mut buddy,
        &mut offset,
        &mut nothing,
    ];
    let mut turns: Vec<_> = cases.iter_mut().map(|case| case.as_case()).collect();
    let figures = measure::take_turns(&mut turns, effort);
    let mut tails: Vec<_> = cases
        .iter_mut()
        .map(|case| (case.as_case().name(), case.tails(effort.rounds * effort.passes)))
        .collect();
    let mut tail_of = |figure: &Figure| {
        let (_, tails) = tails.iter_mut().find(|(name, _)| *name == figure.candidate).unwrap();
        let row = works.iter().position(|work| work.name == figure.row).unwrap();
        tails[row]
    };
    figures.into_iter().map(|figure| Measured { tail: tail_of(&figure), figure }).collect()
}

fn print(works: &[Work], measured: &[Measured]) {
    for work in works {
        println!(
            "{:<28} {:>6} steps, at most {:>4} ranges at a time",
            work.name,
            work.steps.len(),
            work.slots
        );
    }
    let figures: Vec<_> = measured.iter().map(|one| one.figure.clone()).collect();
    println!("\n{}", measure::table(&figures));
    println!(
        "{:<28} {:<21} {:>12} {:>12}",
        "99.9 % of steps, with timer", "", "each at best", "all"
    );
    for Measured { figure, tail } in measured {
        println!(
            "{:<28} {:<21} {:>12.0} {:>12.0}",
            figure.row, figure.candidate, tail.p999_ns, tail.p999_all_ns
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let works = work::of_traces(&directory, arguments.quick)?;
    let effort = if arguments.quick {
        Effort { rounds: 3, passes: 2 }
    } else {
        Effort { rounds: 15, passes: 5 }
    };
    let measured = measure(&works, effort);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print(&works, &measured);
    }
    Ok(())
}
