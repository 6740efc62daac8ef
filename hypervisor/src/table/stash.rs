//! Table frames allocated beforehand, because nothing is allocated inside a table.

use crate::{addr::Mfn, flush::PendingFlush, format::MAX_LEVELS, platform::Pool};

/// What an edit of a table uses up, and what it leaves to be done.
#[derive(Debug)]
pub struct Edit<'r> {
    /// Frames for new tables.
    pub stash: &'r mut Stash,
    /// What must be flushed, and what is released after that.
    pub pending: PendingFlush<'r>,
    /// Leaf tables that are emptied stay, however many: to free one takes a flush.
    pub keep_tables: bool,
    /// A large leaf that there is no frame to split with goes as a whole when a part of it is to go.
    pub whole_leaves: bool,
}

impl<'r> Edit<'r> {
    /// An edit with these frames at hand and nothing to flush yet.
    #[must_use]
    pub fn new(stash: &'r mut Stash, pending: PendingFlush<'r>) -> Self {
        Self { stash, pending, keep_tables: false, whole_leaves: false }
    }
}

/// Most tables one page can need, twice as many as there are levels: that of another domain needs a
/// table a level for its handle, too. Both ends of a range that is painted need no more.
pub(crate) const MAX_TABLES: usize = 2 * MAX_LEVELS;

/// Zeroed table frames that an operation may use up.
#[derive(Debug, Default)]
pub struct Stash {
    open: heapless::Vec<Mfn, MAX_TABLES>,
    reserved: heapless::Vec<Mfn, 1>,
}

impl Stash {
    /// An empty stash.
    #[must_use]
    pub const fn new() -> Self {
        Self { open: heapless::Vec::new(), reserved: heapless::Vec::new() }
    }

    /// Number of frames of `pool` it holds.
    #[must_use]
    pub fn len(&self, pool: Pool) -> usize {
        match pool {
            Pool::Open => self.open.len(),
            Pool::Reserved => self.reserved.len(),
        }
    }

    /// True if it holds none of any pool.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.reserved.is_empty()
    }

    /// Adds a frame, or gives it back if there is no room.
    ///
    /// # Errors
    /// The frame, which the caller still has.
    pub fn put(&mut self, frame: Mfn, pool: Pool) -> Result<(), Mfn> {
        match pool {
            Pool::Open => self.open.push(frame),
            Pool::Reserved => self.reserved.push(frame),
        }
    }

    /// Takes a frame out.
    pub fn take(&mut self, pool: Pool) -> Option<Mfn> {
        match pool {
            Pool::Open => self.open.pop(),
            Pool::Reserved => self.reserved.pop(),
        }
    }
}
