//! Buffers that are to be unmapped, and may not be used before they are.

use core::{fmt, mem};

use super::error::{DmaError, StillMapped};
use super::kernel::Kernel;
use super::queue::Ticket;
use super::space::DmaSpace;

/// A buffer whose unmap waits. It comes out once that is made: [`try_take`](Self::try_take) after a
/// while, or [`take`](Self::take), which has it made.
///
/// Dropping it has the unmap made, and then drops the buffer.
#[must_use = "dropping it makes the unmap at once"]
pub struct Pending<'d, K: Kernel, B> {
    space: &'d DmaSpace<'d, K>,
    /// `None` if it was unmapped at once.
    ticket: Option<Ticket>,
    /// Gone once it was taken.
    buffer: Option<B>,
}

impl<'d, K: Kernel, B> Pending<'d, K, B> {
    pub(super) const fn new(space: &'d DmaSpace<'d, K>, ticket: Option<Ticket>, buffer: B) -> Self {
        Self { space, ticket, buffer: Some(buffer) }
    }

    /// Whether no device reaches the buffer any longer.
    pub fn is_safe(&self) -> bool {
        self.ticket.is_none_or(|ticket| self.space.waiting.is_done(ticket))
    }

    /// The buffer, if no device reaches it any longer.
    ///
    /// # Errors
    ///
    /// `self`: not yet.
    pub fn try_take(mut self) -> Result<B, Self> {
        if self.is_safe()
            && let Some(buffer) = self.buffer.take()
        {
            return Ok(buffer);
        }
        Err(self)
    }

    /// Unmaps all that waits, and returns the buffer.
    ///
    /// # Errors
    ///
    /// [`StillMapped`]: something that waits could not be unmapped.
    pub fn take(self) -> Result<B, StillMapped<Self>> {
        let flushed = if self.is_safe() { Ok(()) } else { self.space.flush() };
        self.try_take().map_err(|mapping| {
            // It is safe if that succeeded.
            let cause = flushed.err().unwrap_or(DmaError::Buffer);
            StillMapped { cause, mapping }
        })
    }
}

impl<K: Kernel, B> Drop for Pending<'_, K, B> {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        let _ = if self.is_safe() { Ok(()) } else { self.space.flush() };
        if self.is_safe() {
            drop(buffer);
        } else {
            mem::forget(buffer);
        }
    }
}

impl<K: Kernel, B> fmt::Debug for Pending<'_, K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("is_safe", &self.is_safe()).finish_non_exhaustive()
    }
}
