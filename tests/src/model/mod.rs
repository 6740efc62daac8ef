//! A reference model of the service: plain maps of what must be where, for three domains and four devices.
//! It keeps for each context what a bus frame leads to, by what right and made by whom; for each frame who
//! keeps it; for each device where it is. It knows of no table, no flush and no tag.
//!
//! ```text
//!  bytes ──► Machine, Op, Op, ...  ──► Run ──► the service on the simulated machine ──► answers, DMA
//!                                       └────► World ───────────────────────────────► the same?
//! ```
//!
//! Random tests (`tests/contract/model`) and the fuzz target `ops` have sequences of everything happen on the
//! machine and in the model. After each step every answer, where DMA of every device lands, every
//! reference and pin, and what guests are told must be what the model says, and the machine must have nothing to
//! complain of.
//!
//! | place | what it is for |
//! |---|---|
//! | `ops`, `choices` | what can happen, and what of it is chosen how often |
//! | `field` | choices from bytes, and back |
//! | `setup` | the machines |
//! | `world`, `p2m`, `edits`, `pages`, `devices` | the model: what is mapped, whose pages, where devices are |
//! | `run`, `batch`, `guests`, `embedder` | has things happen on both sides |
//! | `check`, `told`, `looks`, `splits` | compares them |
//! | `chaos` | the same while things fail, and calls are left standing |

mod batch;
mod chaos;
mod check;
mod choices;
mod devices;
mod edits;
mod embedder;
mod field;
mod guests;
mod looks;
mod ops;
mod p2m;
mod pages;
mod run;
mod sequence;
mod setup;
mod show;
mod splits;
mod told;
mod world;

use pviommu_abi::Background as Wire;

use crate::machine::{Step, When, run as on_bed};
pub use chaos::{Ask, Event, Fault};
pub use ops::{By, Change, Item, Op, Place};
use run::{CONTEXTS, Run};
pub use sequence::Sequence;
use setup::IDS;
pub use setup::{Kind, Machine};
use world::World;

/// Has `ops` happen on a machine, without failures.
///
/// # Panics
/// If the machine does anything that the model does not.
pub fn run(machine: &Machine, ops: &[Op]) {
    let config = machine.config();
    on_bed(&config, |bed| {
        let mut run = Run::new(bed, World::new(bed, machine, &config));
        for dom in 0..IDS.len() {
            assert_eq!(run.vm(dom).init(u32::from(CONTEXTS), 12), 0);
        }
        bed.schedule().set(Step::Yield, When::Every(machine.yields()));
        run.check();
        for (device, dom) in [(0, 1), (1, 0), (2, 2), (3, 1)] {
            run.step(&Op::Assign { dom, device });
            run.check();
        }
        for dom in 0..IDS.len() {
            run.step(&Op::Alloc { dom, background: Wire::DEFAULT, aperture: (0, 0) });
        }
        for op in ops {
            run.step(op);
            run.check();
        }
        for id in IDS {
            assert_eq!(bed.teardown(id, 0), 0);
            assert_eq!(bed.teardown(id, 0), 0, "a second teardown does nothing");
        }
        bed.assert_clean();
    });
}

/// Has `steps` happen on a machine; `shows` is told of each before.
///
/// # Panics
/// If the machine does anything that the model does not.
pub fn run_chaos(machine: &Machine, steps: &[Event], shows: &dyn Fn(&Event)) {
    chaos::run(machine, steps, shows);
}
