//! The locks and atomics everything else uses, so that they can be replaced in one place.
//!
//! Under `--cfg loom` they are loom's, which runs a test through every interleaving.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(loom))]
pub(crate) use spin::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use model::{Mutex, MutexGuard};

/// How much room there is where there is `usual` room: threads of a model have little stack, and fill
/// none of it.
pub(crate) const fn room(usual: usize) -> usize {
    if cfg!(loom) { 4 } else { usual }
}

/// Tells the CPU that this is a wait for another one.
pub(crate) fn relax() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Stores `value` and orders the store before every later load, against [`full_fence`] elsewhere.
pub(crate) fn announce(word: &AtomicU64, value: u64) {
    // One exchange is cheaper than a store and a fence.
    #[cfg(not(loom))]
    word.swap(value, Ordering::SeqCst);
    // loom knows sequential consistency for fences only.
    #[cfg(loom)]
    {
        word.store(value, Ordering::Relaxed);
        full_fence();
    }
}

/// Orders all earlier stores before all later loads.
pub(crate) fn full_fence() {
    #[cfg(not(loom))]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

#[cfg(loom)]
mod model {
    pub(crate) use loom::sync::MutexGuard;

    /// loom's mutex behind the interface of spin's.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        #[expect(clippy::unwrap_used, reason = "a model run that panicked has failed already")]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}
