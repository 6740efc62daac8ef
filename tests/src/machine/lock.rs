//! The one lock of the platform, which does not nest.

use std::{
    cell::Cell,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::frames::lock;

static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THREAD: Cell<u64> = Cell::new(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
}

/// A lock that says so when the thread that holds it asks for it again, rather than to hang.
#[derive(Debug, Default)]
pub(crate) struct PlatformLock {
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

impl PlatformLock {
    pub(crate) fn enter(&self, method: &str) -> Held<'_> {
        let me = THREAD.with(Cell::get);
        // Only this thread ever stores its own number, so the answer can't change under it.
        assert!(
            self.holder.load(Ordering::Relaxed) != me,
            "{method} was called with the platform's lock held"
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
