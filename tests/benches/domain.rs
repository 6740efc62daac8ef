//! What happens once in the life of a domain, or seldom: its maps are made, change hands, and go.
//!
//! Figures are nanoseconds for the whole of it.
//!
//! | row | what |
//! |---|---|
//! | `create-scratch` | a domain whose device gets a context with scratch behind 48 bits of bus addresses |
//! | `teardown-scratch` | that domain goes |
//! | `host-map-512g` | the hardware domain's map of 512 GiB, of a memory map with 200 holes |
//! | `take-ownership-512g` | that domain clears it and takes it over, with one device |
//! | `teardown-512g` | a domain that has such a map goes |
//! | `p2m-change-2m` | 2 MiB of a maintained map get other frames, in one large leaf |
//! | `p2m-change-2m-small` | the same in 512 small ones |
//!
//! `raw-stores` is what a map of 512 GiB takes if everything is known beforehand: to zero the tables and to store
//! the entries.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a domain that cannot be made has no figure"
)]

#[path = "domain/life.rs"]
mod life;
#[path = "domain/memory_map.rs"]
mod memory_map;
#[path = "domain/raw_stores.rs"]
mod raw_stores;

use clap::Parser;
use pviommu_testbed::{
    machine::UnitKind,
    measure::{self, Case, Effort},
};

use life::Life;
use raw_stores::RawStores;

/// Measures the lives of domains.
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
        true => Effort { rounds: 2, passes: 1 },
        false => Effort { rounds: 21, passes: 3 },
    };
    let map = memory_map::with_holes();
    let (mut vtd, mut amd) = (Life::new(UnitKind::Vtd, &map), Life::new(UnitKind::AmdVi, &map));
    let mut raw = RawStores::new(&map);
    let mut cases: [&mut dyn Case; 3] = [&mut vtd, &mut amd, &mut raw];
    let figures = measure::take_turns(&mut cases, effort);
    if arguments.json {
        println!("{}", measure::json(&figures));
    } else {
        print!("{}", measure::table(&figures));
    }
}
