//! The same sequences with failures in them: any call of any method of the platform fails, it is time to
//! give way at any look, guests forget calls they have begun, domains die in the middle.
//!
//! The model knows of no failure. After one that happened it is asked of each page whether it is as it
//! was or as it was to be ([`learn`]); of moves and switches, whether all of it came true or nothing. With
//! that the sequence goes on, and everything else is checked as without failures. A unit that failed is
//! for ever ([`after`]): what is behind it answers `-EIO` and stays as it is, and pages that it may reach
//! still are held and counted.

mod after;
mod asks;
mod fault;
mod learn;
mod play;

use proptest::prelude::*;
use pviommu_abi::Background as Wire;
use pviommu_hypervisor::platform::Access;
use pviommu_testbed::machine::{Step, When};

use super::{
    ops::{self, By, Op, Place},
    run::{CONTEXTS, Run},
    setup::{self, IDS},
    world::World,
};
use crate::kit::with;
use asks::{Ask, ask};
use fault::{Fault, fault_in};
use play::Chaos;

/// One step of a sequence. An operation that the service gets goes here, or to [`Op`] if the model has to
/// know what it does.
#[derive(Clone, Debug)]
enum Event {
    Plain(Op),
    /// If it leaves a call unfinished, the domain dies instead of calling again.
    Failing(Op, Fault, bool),
    Ask(usize, Ask, Option<Fault>),
}

/// What takes several entries into the service, and large leaves.
fn large() -> impl Strategy<Value = Op> {
    let dom = 0..3usize;
    let bfn = prop::sample::select(vec![0x400u64, 0x400, 0x600, 0x5f8, 0x8200]);
    let by = prop::sample::select(vec![By::Alone, By::Batch, By::List]);
    prop_oneof![
        (dom.clone(), bfn.clone(), prop_oneof![Just(0x200u32), 0x80..=0x200u32], by).prop_map(
            |(dom, bfn, pages, by)| {
                let (at, access) = (Place::Number(bfn), Access::all());
                Op::Map { dom, ctx: 1, at, pages, gfn: 0x200, access, by }
            }
        ),
        (dom, bfn, 0..0x180u64, 1..=0x200u32, any::<bool>()).prop_map(
            |(dom, bfn, more, pages, alone)| {
                let at = Place::Number(bfn + more);
                Op::Unmap { dom, ctx: 1, at, pages, skip_holes: !alone, alone }
            }
        ),
    ]
}

/// Calls that are refused are rarer here: where nothing is done, nothing fails.
fn sensible(mut op: Op) -> Op {
    match &mut op {
        Op::Map { ctx, .. }
        | Op::Unmap { ctx, .. }
        | Op::Later { ctx, .. }
        | Op::MapGrant { ctx, .. }
        | Op::Attach { ctx, .. }
        | Op::Free { ctx, .. }
            if *ctx > 1 =>
        {
            *ctx = 1;
        }
        _ => {}
    }
    op
}

fn event() -> impl Strategy<Value = Event> {
    // On the heap: all of it is more than a test's stack.
    let any = ops::op().boxed();
    let op = prop_oneof![2 => any.clone(), 5 => any.prop_map(sensible), 3 => large().boxed()];
    let op = op.boxed();
    let failing = op.clone().prop_flat_map(|op| {
        let fault = fault_in(&op);
        (Just(op), fault, prop::bool::weighted(0.2)).boxed()
    });
    let ask = (
        0..3usize,
        ask(),
        prop::option::of(fault_in(&Op::Free { dom: 0, ctx: 0, reattach: true })),
    );
    prop_oneof![
        4 => op.prop_map(Event::Plain),
        8 => failing.prop_map(|(op, fault, dies)| Event::Failing(op, fault, dies)),
        1 => ask.boxed().prop_map(|(dom, ask, fault)| Event::Ask(dom, ask, fault)),
    ]
    .boxed()
}

fn run(seed: u64, yields: u64, events: &[Event]) {
    let config = setup::config(seed);
    with(&config, |vm| {
        let bed = vm.bed;
        let mut run = Run::new(bed, World::new(bed, &config));
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
            chaos.step(event);
        }
        chaos.end();
    });
}

/// Few, but as many as `PROPTEST_CASES` says if it says anything.
fn few() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if asked { usual.cases } else { 48 }, ..usual }
}

proptest! {
    #![proptest_config(few())]

    /// INV-11, INV-15, INV-20, INV-21, INV-25, INV-30, INV-50, INV-53, INV-54, INV-60, INV-61.
    #[test]
    fn whatever_fails_everything_is_as_before_or_as_asked_for(
        seed in any::<u64>(),
        yields in 1u64..5,
        events in prop::collection::vec(event(), 1..16),
    ) {
        run(seed, yields, &events);
    }
}
