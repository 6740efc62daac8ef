//! Ranges of all sizes that come and go for a long time.

use crate::kit::{AT_HAND, CPUS, Watched};

/// Numbers that look like chance.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

#[test]
fn what_is_free_does_not_fall_to_pieces_when_sizes_are_mixed() {
    const ROUNDS: usize = 400_000;
    const RANGES: usize = 1000;
    const SIZES: [u64; 12] = [1, 1, 1, 1, 2, 3, 4, 8, 16, 32, 48, 200];
    let mut seed = 1;
    let mut space = Watched::new();
    let mut live = Vec::new();
    let mut half = space.worst;
    for round in 0..ROUNDS {
        let cpu = next(&mut seed) % CPUS;
        // As many as can be, and then few, again and again.
        let wanted = if round / 50_000 % 2 == 0 { RANGES } else { RANGES / 10 };
        if live.len() < wanted && !next(&mut seed).is_multiple_of(4) {
            live.push(space.take(cpu, SIZES[next(&mut seed) % SIZES.len()]));
        } else if !live.is_empty() {
            let range = live.swap_remove(next(&mut seed) % live.len());
            space.give(cpu, range);
        }
        if round % 1000 == 0 {
            space.look();
        }
        if round == ROUNDS / 2 {
            half = space.worst;
        }
    }
    let worst = space.worst;
    println!("{worst:?}");
    assert!(worst.span <= 2 * worst.pages + CPUS as u64 * AT_HAND, "{worst:?}");
    // It does not grow with time.
    assert!(worst.span <= half.span + half.span / 8, "{half:?} and then {worst:?}");
    assert!(worst.gaps <= worst.ranges, "{worst:?}");
    for range in live {
        space.give(0, range);
    }
    assert_eq!(space.largest(), 3 << 18);
}
