//! The P2M of a domain: guest frame to machine frame.
//!
//! Nothing is stored per page. A guest frame's place among the domain's scattered pages is put
//! through a keyed permutation of the machine's scattered frames, so that neighbours in the
//! guest are strangers in the machine, the same way in every run with one seed. Blocks that the
//! configuration calls contiguous, and MMIO, keep their order.

use std::{
    collections::BTreeMap,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use pviommu_abi::Gfn;
use pviommu_hypervisor::{
    addr::{GfnRange, Mfn},
    platform::{Access, ForeignHandle},
};
use rustc_hash::FxHashMap;

use super::lock::PlatformLock;

pub use super::scramble::Scramble;
pub(crate) use super::scramble::mix;

/// Distance between two scattered frames: no two of them are neighbours, so a run of machine
/// frames never forms by chance.
pub(crate) const SCATTER_STRIDE: u64 = 2;

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
    /// The greatest access.
    pub(crate) access: Access,
}

/// What a guest frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backed {
    /// The machine frame behind it.
    pub frame: Mfn,
    /// True if that is device registers and not RAM.
    pub mmio: bool,
    /// The greatest access that the domain has; may be none.
    pub access: Access,
    /// The foreign mapping that this is, if it is one.
    pub foreign: Option<ForeignHandle>,
    /// Number of guest frames from this one on whose machine frames follow on, backed alike.
    pub run: u64,
}

/// What is put behind a guest frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) frame: Mfn,
    pub(crate) mmio: bool,
    pub(crate) access: Access,
    pub(crate) foreign: Option<ForeignHandle>,
}

impl Entry {
    /// Ordinary memory.
    pub(crate) const fn ram(frame: Mfn) -> Self {
        Self { frame, mmio: false, access: Access::all(), foreign: None }
    }

    const fn backs(self, run: u64) -> Backed {
        let Self { frame, mmio, access, foreign } = self;
        Backed { frame, mmio, access, foreign, run }
    }
}

impl Backed {
    /// The same as one entry.
    pub(crate) const fn entry(self) -> Entry {
        let Self { frame, mmio, access, foreign, .. } = self;
        Entry { frame, mmio, access, foreign }
    }

    /// True if it is memory of the domain itself.
    #[must_use]
    pub const fn is_own_ram(&self) -> bool {
        !self.mmio && self.foreign.is_none()
    }
}

/// What tests changed since the start.
#[derive(Debug, Default)]
struct Changes {
    /// What backs a guest frame; `None` is a hole.
    frames: BTreeMap<u64, Option<Entry>>,
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
    /// Held by whoever changes it, until the change has been carried over to where it matters, and
    /// while pages are acquired by it.
    pub(crate) lock: PlatformLock,
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
        let lock = PlatformLock::named("P2M lock");
        Self { segments, scramble, scattered, in_order, in_scatter, changed, any_changed, lock }
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
            return now.map(|entry| entry.backs(1));
        }
        let at = self.segments.partition_point(|s| s.gfns.last() < gfn);
        let segment = self.segments.get(at).filter(|s| s.gfns.contains(gfn))?;
        let offset = gfn.0 - segment.gfns.first().0;
        // Changed pages may lie anywhere, so runs are told only while there are none.
        let run = if changed { 1 } else { segment.gfns.pages() - offset };
        let (frame, mmio, run) = match segment.backing {
            Backing::Scattered(first) => {
                let slot = self.scramble.apply(first + offset);
                (Mfn(self.scattered.0 + slot * SCATTER_STRIDE), false, 1)
            }
            Backing::Contiguous(first) => (Mfn(first.0 + offset), false, run),
            Backing::Mmio(first) => (Mfn(first.0 + offset), true, run),
        };
        Some(Backed { frame, mmio, access: segment.access, foreign: None, run })
    }

    /// Puts `entry` behind `gfn` from now on, or nothing.
    pub(crate) fn set(&self, gfn: Gfn, entry: Option<Entry>) {
        let before = self.lookup(gfn);
        let mut changed = self.changed.write().unwrap();
        if let Some(before) = before
            && changed.gfns.get(&before.frame.0) == Some(&gfn.0)
        {
            changed.gfns.remove(&before.frame.0);
        }
        changed.frames.insert(gfn.0, entry);
        changed.gfns.extend(entry.map(|entry| (entry.frame.0, gfn.0)));
        self.any_changed.store(true, Ordering::Release);
    }

    /// The first guest frame at or after `from` that may be backed; those before it are not.
    pub(crate) fn next_mapped(&self, from: Gfn) -> Option<Gfn> {
        let at = self.segments.partition_point(|s| s.gfns.last() < from);
        let in_segment = self.segments.get(at).map(|s| s.gfns.first().max(from));
        let changed = self.changed.read().unwrap();
        let set = changed.frames.range(from.0..).find(|(_, entry)| entry.is_some());
        in_segment.into_iter().chain(set.map(|(gfn, _)| Gfn(*gfn))).min()
    }
}
