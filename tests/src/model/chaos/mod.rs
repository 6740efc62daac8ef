//! The same sequences with failures in them: any call of any method of the platform fails, it is time to
//! give way at any look, guests forget calls they have begun, domains die in the middle. Calls of one CPU
//! stand half done while others go on ([`standing`]).
//!
//! The model knows of no failure. After one that happened it is asked of each page whether it is as it
//! was or as it was to be ([`learn`]); of moves and switches, whether all of it came true or nothing. With
//! that the sequence goes on, and everything else is checked as without failures. A unit that failed is
//! for ever ([`after`]): what is behind it answers `-EIO` and stays as it is, and pages that it may reach
//! still are held and counted.

mod after;
mod asks;
mod event;
mod fault;
mod learn;
mod play;
mod standing;

use pviommu_abi::Background as Wire;
use pviommu_hypervisor::platform::Access;

use super::{
    ops::{By, Op, Place},
    run::{CONTEXTS, Run},
    setup::{IDS, Machine},
    world::World,
};
use crate::machine::{Step, When, run as on_bed};
pub use asks::Ask;
pub use event::Event;
pub(super) use event::Events;
pub use fault::Fault;
use play::Chaos;

/// Runs a sequence, and its end.
pub(super) fn run(machine: &Machine, events: &[Event], shows: &dyn Fn(&Event)) {
    let (config, yields) = (machine.config(), machine.yields());
    on_bed(&config, |bed| {
        let mut run = Run::new(bed, World::new(bed, machine, &config));
        for dom in 0..IDS.len() {
            assert_eq!(run.vm(dom).init(u32::from(CONTEXTS), 12), 0);
        }
        bed.schedule().set(Step::Yield, When::Every(yields));
        for (device, dom) in [(0, 1), (1, 0), (2, 2), (3, 1)] {
            run.step(&Op::Assign { dom, device });
        }
        for dom in 0..IDS.len() {
            run.step(&Op::Alloc { dom, background: Wire::DEFAULT, aperture: (0, 0) });
            let (ctx, access, by) = (1, Access::all(), By::Alone);
            for (bfn, pages, gfn) in [(0, 4, 8), (0x1fe, 4, 0x20), (0x400, 0x200, 0x200)] {
                let at = Place::Number(bfn);
                run.step(&Op::Map { dom, ctx, at, pages, gfn, access, by });
            }
        }
        for (device, dom) in [(0, 1), (1, 0), (2, 2)] {
            run.step(&Op::Attach { dom, device, ctx: 1 });
        }
        let mut chaos = Chaos::new(run, yields);
        for event in events {
            shows(event);
            chaos.step(event);
        }
        chaos.end();
    });
}
