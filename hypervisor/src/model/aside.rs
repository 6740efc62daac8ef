//! What is put aside for splitting a large leaf, while it is split and while it goes.

use super::*;
use crate::{domain::PutAside, sync::AtomicU32};

/// The service's count, and the embedder's, which must never go below nothing.
struct Both {
    aside: PutAside,
    embedder: AtomicU32,
}

impl Both {
    /// One frame is put aside.
    fn new() -> Arc<Self> {
        let both = Self { aside: PutAside::new(), embedder: AtomicU32::new(1) };
        assert_eq!(both.aside.add(1), 0);
        Arc::new(both)
    }

    fn ask(&self, frames: u32) {
        let before = self.embedder.fetch_sub(frames, Ordering::Relaxed);
        assert!(before >= frames, "the embedder is asked for what is not there");
    }

    /// Takes the frame, and puts it back: the leaf has changed meanwhile. True if it was there.
    fn split_in_vain(&self) -> bool {
        let taken = self.aside.take();
        if taken {
            self.ask(1);
            self.embedder.fetch_add(1, Ordering::Relaxed);
            self.ask(self.aside.add(1));
        }
        taken
    }
}

#[test]
fn loom_a_frame_that_is_put_aside_is_taken_by_one() {
    loom::model(|| {
        let both = Both::new();
        let other = Arc::clone(&both);
        let handle = thread::spawn(move || other.split_in_vain());
        let first = both.split_in_vain();
        let second = handle.join().unwrap();
        assert!(first || second);
        assert!(both.aside.take());
    });
}

#[test]
fn loom_a_frame_goes_with_its_leaf_whoever_has_it() {
    loom::model(|| {
        let both = Both::new();
        let other = Arc::clone(&both);
        let handle = thread::spawn(move || other.split_in_vain());
        both.ask(both.aside.remove(1));
        handle.join().unwrap();
        assert_eq!(both.embedder.load(Ordering::Relaxed), 0);
        assert!(!both.aside.take());
    });
}
