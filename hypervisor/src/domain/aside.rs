//! Table frames of a domain that are put aside for splitting large leaves, and are not in use.
//!
//! Two CPUs may be about to split one leaf, with one frame put aside for it; one of them will have taken it for
//! nothing, and puts it back. Meanwhile the leaf may go as a whole, and the frame with it. So that the embedder is
//! never asked for a frame that is not there, what is taken is counted before it is asked for, and what is to be
//! given up while somebody has it is owed until it comes back.

use crate::sync::{AtomicU32, Ordering};

/// How many frames are put aside, less those that are owed.
#[derive(Debug)]
pub(crate) struct PutAside(AtomicU32);

impl PutAside {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Takes one; false if others have them all, and will be done with them soon.
    pub(crate) fn take(&self) -> bool {
        let less = |now: u32| (now.cast_signed() > 0).then(|| now.wrapping_sub(1));
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    /// So many more are put aside, with the embedder already; how many of them are owed, and to be given up by the
    /// caller.
    #[must_use]
    pub(crate) fn add(&self, frames: u32) -> u32 {
        let before = self.0.fetch_add(frames, Ordering::AcqRel).cast_signed();
        before.min(0).unsigned_abs().min(frames)
    }

    /// So many less are put aside; how many of them the caller gives up. The others are owed.
    #[must_use]
    pub(crate) fn remove(&self, frames: u32) -> u32 {
        let before = self.0.fetch_sub(frames, Ordering::AcqRel).cast_signed();
        before.max(0).unsigned_abs().min(frames)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_while_somebody_has_it_is_owed_until_it_comes_back() {
        let aside = PutAside::new();
        assert!(!aside.take());
        assert_eq!(aside.add(1), 0);
        assert!(aside.take() && !aside.take());
        // The leaf goes while its frame is taken.
        assert_eq!(aside.remove(1), 0);
        assert!(!aside.take());
        // Another leaf comes: one of its frames is what is owed, until the other is back.
        assert_eq!(aside.add(513), 1);
        assert_eq!(aside.add(1), 0);
        assert_eq!(aside.remove(513), 513);
        assert!(!aside.take());
    }
}
