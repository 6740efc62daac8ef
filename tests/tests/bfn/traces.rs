//! The bundled traces, each again and again.

use pviommu_guest::BfnRange;
use pviommu_testbed::sequence::{Sequence, Step};

use crate::{
    kit::{AT_HAND, Watched, Worst},
    text::{BUNDLED, bundled},
};

fn play(sequence: &Sequence, spaces: &mut [Watched]) {
    let mut slots: Vec<Option<BfnRange>> = Vec::new();
    slots.resize_with(sequence.slots, || None);
    for (number, step) in sequence.steps.iter().enumerate() {
        match *step {
            Step::Take { space, slot, pages, cpu } => {
                slots[slot] = Some(spaces[space].take(cpu, pages));
            }
            Step::Give { space, slot, cpu } => {
                spaces[space].give(cpu, slots[slot].take().unwrap());
            }
        }
        if number % 64 == 0 {
            spaces.iter_mut().for_each(Watched::look);
        }
    }
}

fn check(space: &Watched, name: &str) -> Worst {
    let worst = space.worst;
    println!("{name}: {worst:?}");
    // Below what is in use lies what was not needed yet: of a million frames, all but 4 000.
    assert!(worst.span <= worst.pages + AT_HAND, "{name}: {worst:?}");
    assert!(worst.span < 4_000, "{name}: {worst:?}");
    // What is free in between is in few pieces.
    assert!(worst.gaps <= 256 && worst.gaps <= worst.ranges, "{name}: {worst:?}");
    worst
}

#[test]
fn what_is_free_does_not_fall_to_pieces_in_twenty_times_any_trace() {
    for start in BUNDLED {
        let trace = bundled(start);
        let name = trace.name();
        let sequence = Sequence::of(&trace).and_all_back();
        let mut spaces: Vec<_> = (0..sequence.spaces).map(|_| Watched::new()).collect();
        let mut times = |times| {
            for _ in 0..times {
                play(&sequence, &mut spaces);
            }
            spaces.iter().map(|space| check(space, name)).collect::<Vec<_>>()
        };
        let (ten, twenty) = (times(10), times(10));
        for (ten, twenty) in ten.iter().zip(&twenty) {
            // It does not grow with time.
            assert!(
                twenty.span <= ten.span + ten.span / 16 + 256,
                "{name}: {ten:?}, then {twenty:?}"
            );
        }
        assert!(spaces.iter().all(|space| space.largest() == 3 << 18));
    }
}
