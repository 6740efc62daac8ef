//! The locks and atomics everything else uses, so that they can be replaced in one place.
//!
//! Under `--cfg loom` they are loom's, which runs a test through every interleaving. Under `--cfg shuttle` the
//! locks are shuttle's and each access to an atomic is told to it (`stepped`): it runs whole calls of several
//! CPUs through random interleavings.

#[cfg(not(any(loom, shuttle)))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(shuttle)]
mod stepped;
#[cfg(shuttle)]
pub use core::sync::atomic::Ordering;
#[cfg(shuttle)]
pub use stepped::{AtomicU32, AtomicU64};

#[cfg(not(any(loom, shuttle)))]
pub(crate) use spin::{Mutex, MutexGuard};

#[cfg(any(loom, shuttle))]
pub(crate) use model::{Mutex, MutexGuard};

/// How much room there is where there is `usual` room: threads of a model have little stack, and fill
/// none of it.
pub(crate) const fn room(usual: usize) -> usize {
    if cfg!(loom) { 4 } else { usual }
}

/// Tells the CPU that this is a wait for another one.
pub(crate) fn relax() {
    #[cfg(not(any(loom, shuttle)))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::hint::spin_loop();
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

#[cfg(any(loom, shuttle))]
mod model {
    #[cfg(loom)]
    use loom::sync as checked;
    #[cfg(shuttle)]
    use shuttle::sync as checked;

    pub(crate) use checked::MutexGuard;

    /// The checker's mutex behind the interface of spin's.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(checked::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(checked::Mutex::new(value))
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
