//! The whole hypercall, from its registers to its status, on a platform that costs next to nothing.
//!
//! Copy of the argument, decode, policy, ownership, table, flush, status: everything but the exit and the entry of the
//! guest and what a real unit takes to invalidate. Guest frames follow each other, and the P2M scatters them. Figures
//! are nanoseconds per page, of batches per element; `locked-increment` is what they are to be compared with.
//!
//! | row | what |
//! |---|---|
//! | `map_pages-N`, `unmap_pages-N` | the calls of RFC v7, with N pages each |
//! | `batch-N`, `batch-unmap-N` | batches of N elements of one page each |
//! | `map_list-256` | batches of one element that lists 256 guest frames, in no order |
//! | `-pin-range`, `-pin-locked` | the embedder holds a range by one locked operation, or each page by one |
//! | `threads-1`, `threads-2` | calls that map and unmap, on one CPU or on two at a time |

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a call that fails has no figure"
)]

#[path = "hypercall/batches.rs"]
mod batches;
#[path = "hypercall/calls.rs"]
mod calls;
#[path = "hypercall/threads.rs"]
mod threads;
#[path = "hypercall/yardsticks.rs"]
mod yardsticks;

use clap::Parser;
use pviommu_hypervisor::Background;
use pviommu_testbed::{
    cheap::Pin,
    measure::{self, Case, Effort},
};

use calls::Calls;
use threads::{Contexts, Threads};
use yardsticks::Yardsticks;

/// Measures whole hypercalls.
#[derive(Parser)]
struct Arguments {
    /// Fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// Print the figures as one JSON array.
    #[arg(long)]
    json: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let effort = match arguments.quick {
        true => Effort { rounds: 3, passes: 2 },
        false => Effort { rounds: 41, passes: 6 },
    };
    let mut yardsticks = Yardsticks::new();
    let kinds = [Background::Fault, Background::Scratch];
    let kinds = kinds.iter().flat_map(|kind| [(*kind, Pin::Range), (*kind, Pin::Locked)]);
    let mut calls: Vec<Calls> = kinds.map(|(kind, pin)| Calls::new(kind, pin)).collect();
    let mut cases: Vec<&mut dyn Case> = vec![&mut yardsticks];
    cases.extend(calls.iter_mut().map(|calls| calls as &mut dyn Case));
    let mut figures = measure::take_turns(&mut cases, effort);

    let kinds = [16, 256].map(|pages| [(Contexts::One, pages), (Contexts::Two, pages)]);
    let mut threads: Vec<Threads> = kinds
        .as_flattened()
        .iter()
        .map(|(contexts, pages)| Threads::new(*contexts, *pages))
        .collect();
    let mut cases: Vec<&mut dyn Case> =
        threads.iter_mut().map(|threads| threads as &mut dyn Case).collect();
    figures.extend(measure::take_turns(&mut cases, effort));
    if arguments.json {
        println!("{}", measure::json(&figures));
    } else {
        print!("{}", measure::table(&figures));
    }
}
