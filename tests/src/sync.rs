//! What can be shuttle's: under `--cfg shuttle` the locks under which the service, or a unit's walk, can be held up.
//!
//! Every other lock of the machine is held between two of its steps only, so it can be an ordinary one.

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard},
    thread_local,
};
use std::sync::PoisonError;
pub(crate) use std::sync::atomic::AtomicU64 as QuietWord;
#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard},
    thread_local,
};

use pviommu_hypervisor::sync::AtomicU64;

/// Locks; a check that failed in another thread must not hide behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Between two entries of a call that is continued: it may be another CPU's turn.
pub(crate) fn again() {
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}

/// The word as the machine itself reads and writes it: no other thread goes on because of that.
pub(crate) const fn quiet(word: &AtomicU64) -> &QuietWord {
    #[cfg(shuttle)]
    let word = word.unstepped();
    word
}
