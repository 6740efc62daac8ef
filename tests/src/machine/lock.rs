//! The one lock of the platform, and those of P2Ms: none of them nests in itself.
//!
//! A P2M lock is taken before the platform's: whoever changes a P2M holds it while the service works.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::sync::{Mutex, MutexGuard, lock, thread_local};

static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THREAD: Cell<u64> = Cell::new(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
}

/// A lock that says so when the thread that holds it asks for it again, rather than to hang.
#[derive(Debug)]
pub(crate) struct PlatformLock {
    name: &'static str,
    mutex: Mutex<()>,
    /// Number of the thread that holds it, 0 if none does.
    holder: AtomicU64,
}

/// The lock is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    lock: &'a PlatformLock,
    _guard: MutexGuard<'a, ()>,
}

impl Default for PlatformLock {
    fn default() -> Self {
        Self::named("platform's lock")
    }
}

impl PlatformLock {
    /// A lock that is called this.
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name, mutex: Mutex::new(()), holder: AtomicU64::new(0) }
    }

    pub(crate) fn enter(&self, method: &str) -> Held<'_> {
        let me = THREAD.with(Cell::get);
        // Only this thread ever stores its own number, so the answer can't change under it.
        assert!(
            self.holder.load(Ordering::Relaxed) != me,
            "{method} was called with the {} held",
            self.name
        );
        let guard = lock(&self.mutex);
        self.holder.store(me, Ordering::Relaxed);
        Held { lock: self, _guard: guard }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lock.holder.store(0, Ordering::Relaxed);
    }
}
