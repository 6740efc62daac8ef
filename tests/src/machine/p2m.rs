//! The P2M of a domain: guest frame to machine frame.
//!
//! Nothing is stored per page. A guest frame's place among the domain's scattered pages is put
//! through a keyed permutation of the machine's scattered frames, so that neighbours in the
//! guest are strangers in the machine, the same way in every run with one seed. Blocks that the
//! configuration calls contiguous, and MMIO, keep their order.

use std::sync::{
    RwLock,
    atomic::{AtomicBool, Ordering},
};

use pviommu_abi::Gfn;
use pviommu_hypervisor::addr::{GfnRange, Mfn};
use rustc_hash::FxHashMap;

/// Distance between two scattered frames: no two of them are neighbours, so a run of machine
/// frames never forms by chance.
pub(crate) const SCATTER_STRIDE: u64 = 2;

/// A permutation of the numbers below `size`, chosen by a seed: a Feistel network over the next
/// even number of bits, walked until it lands below `size`.
#[derive(Clone, Copy, Debug)]
pub struct Scramble {
    size: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Scramble {
    /// The permutation of `0..size` that belongs to `seed`.
    #[must_use]
    pub fn new(size: u64, seed: u64) -> Self {
        let bits = 64 - size.max(2).saturating_sub(1).leading_zeros();
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        Self { size, half_bits: bits.div_ceil(2), keys }
    }

    /// What went to `place`, which is below the size.
    #[must_use]
    pub fn invert(&self, place: u64) -> u64 {
        debug_assert!(place < self.size, "permuted number out of range");
        let mask = (1_u64 << self.half_bits) - 1;
        let mut at = place;
        loop {
            let (mut left, mut right) = (at >> self.half_bits, at & mask);
            for key in self.keys.iter().rev() {
                (left, right) = (right ^ (mix(left ^ key) & mask), left);
            }
            at = left << self.half_bits | right;
            if at < self.size {
                return at;
            }
        }
    }

    /// Where `index`, which is below the size, goes.
    #[must_use]
    pub fn apply(&self, index: u64) -> u64 {
        debug_assert!(index < self.size, "permuted number out of range");
        let mask = (1_u64 << self.half_bits) - 1;
        let mut at = index;
        loop {
            let (mut left, mut right) = (at >> self.half_bits, at & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (mix(right ^ key) & mask));
            }
            at = left << self.half_bits | right;
            if at < self.size {
                return at;
            }
        }
    }
}

/// The finaliser of splitmix64.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// What backs a stretch of guest frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backing {
    /// Scattered pages; the number is the place of the first among all scattered pages.
    Scattered(u64),
    /// Machine frames in order, from this one on.
    Contiguous(Mfn),
    /// Registers, in order, from this frame on.
    Mmio(Mfn),
}

/// A stretch of guest frames backed alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) gfns: GfnRange,
    pub(crate) backing: Backing,
}

/// What a guest frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backed {
    /// The machine frame behind it.
    pub frame: Mfn,
    /// True if that is device registers and not RAM.
    pub mmio: bool,
    /// Number of guest frames from this one on whose machine frames follow on.
    pub run: u64,
}

/// What tests changed since the start.
#[derive(Debug, Default)]
struct Changes {
    /// What backs a guest frame; `None` is a hole.
    frames: FxHashMap<u64, Option<Mfn>>,
    /// The guest frame that a frame was put behind.
    gfns: FxHashMap<u64, u64>,
}

/// The P2M of one domain.
#[derive(Debug)]
pub struct P2m {
    /// Sorted, without overlaps.
    segments: Vec<Segment>,
    scramble: Scramble,
    scattered: Mfn,
    /// For the way back: where each segment begins among the machine's frames, or among the
    /// scattered pages, and which it is; sorted.
    in_order: Vec<(u64, usize)>,
    in_scatter: Vec<(u64, usize)>,
    changed: RwLock<Changes>,
    any_changed: AtomicBool,
}

impl P2m {
    pub(crate) fn new(mut segments: Vec<Segment>, scramble: Scramble, scattered: Mfn) -> Self {
        segments.sort_by_key(|s| s.gfns.first());
        for pair in segments.windows(2) {
            assert!(
                pair[0].gfns.last() < pair[1].gfns.first(),
                "guest frames {:?} and {:?} overlap",
                pair[0].gfns,
                pair[1].gfns
            );
        }
        let any_changed = AtomicBool::new(false);
        let (mut in_order, mut in_scatter) = (Vec::new(), Vec::new());
        for (i, segment) in segments.iter().enumerate() {
            match segment.backing {
                Backing::Scattered(first) => in_scatter.push((first, i)),
                Backing::Contiguous(first) | Backing::Mmio(first) => in_order.push((first.0, i)),
            }
        }
        in_order.sort_unstable();
        in_scatter.sort_unstable();
        let changed = RwLock::default();
        Self { segments, scramble, scattered, in_order, in_scatter, changed, any_changed }
    }

    /// The guest frame that `frame` backs, or `None` if it backs none.
    #[must_use]
    pub fn gfn_of(&self, frame: Mfn) -> Option<Gfn> {
        let moved = self.any_changed.load(Ordering::Acquire).then(|| self.changed.read().unwrap());
        if let Some(changes) = &moved
            && let Some(&gfn) = changes.gfns.get(&frame.0)
        {
            return Some(Gfn(gfn));
        }
        let gfn = self.gfn_at_start(frame)?;
        moved.is_none_or(|changes| !changes.frames.contains_key(&gfn.0)).then_some(gfn)
    }

    /// The guest frame that `frame` backed at the start.
    fn gfn_at_start(&self, frame: Mfn) -> Option<Gfn> {
        let slot = frame.0.checked_sub(self.scattered.0).filter(|s| s % SCATTER_STRIDE == 0);
        let slot = slot.map(|s| s / SCATTER_STRIDE).filter(|s| *s < self.scramble.size);
        let (starts, at) = match slot {
            Some(slot) => (&self.in_scatter, self.scramble.invert(slot)),
            None => (&self.in_order, frame.0),
        };
        let before = starts.partition_point(|(first, _)| *first <= at).checked_sub(1)?;
        let (first, segment) = starts[before];
        let gfns = self.segments[segment].gfns;
        (at - first < gfns.pages()).then(|| Gfn(gfns.first().0 + (at - first)))
    }

    /// What backs `gfn`, or `None` if nothing does.
    #[must_use]
    pub fn lookup(&self, gfn: Gfn) -> Option<Backed> {
        let changed = self.any_changed.load(Ordering::Acquire);
        if changed && let Some(&now) = self.changed.read().unwrap().frames.get(&gfn.0) {
            return now.map(|frame| Backed { frame, mmio: false, run: 1 });
        }
        let at = self.segments.partition_point(|s| s.gfns.last() < gfn);
        let segment = self.segments.get(at).filter(|s| s.gfns.contains(gfn))?;
        let offset = gfn.0 - segment.gfns.first().0;
        // Changed pages may lie anywhere, so runs are told only while there are none.
        let run = if changed { 1 } else { segment.gfns.pages() - offset };
        Some(match segment.backing {
            Backing::Scattered(first) => {
                let slot = self.scramble.apply(first + offset);
                let frame = Mfn(self.scattered.0 + slot * SCATTER_STRIDE);
                Backed { frame, mmio: false, run: 1 }
            }
            Backing::Contiguous(first) => Backed { frame: Mfn(first.0 + offset), mmio: false, run },
            Backing::Mmio(first) => Backed { frame: Mfn(first.0 + offset), mmio: true, run },
        })
    }

    /// Puts `frame` behind `gfn` from now on, or nothing.
    pub(crate) fn set(&self, gfn: Gfn, frame: Option<Mfn>) {
        let before = self.lookup(gfn).filter(|backed| !backed.mmio);
        let mut changed = self.changed.write().unwrap();
        if let Some(before) = before {
            changed.gfns.remove(&before.frame.0);
        }
        changed.frames.insert(gfn.0, frame);
        changed.gfns.extend(frame.map(|frame| (frame.0, gfn.0)));
        self.any_changed.store(true, Ordering::Release);
    }
}
