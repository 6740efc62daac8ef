//! The ring of commands of a unit: several CPUs submit, each waits for its own.
//!
//! Both VT-d (invalidation queue, section 6.5.2) and AMD-Vi (command buffer, section 2.4) read 128-bit
//! entries in order from a ring with a head, which the unit moves, and a tail, which software moves;
//! and both have a command that writes a value of software's choice to memory once all before it is
//! done. What differs is behind [`Registers`].
//!
//! A call returns success only after the unit has written what that very call asked for. All else is
//! an error that ends the queue for ever: a unit that once was late cannot be told from one that will
//! answer for the wrong call later.

use crate::{
    platform::UnitError,
    sync::{AtomicU64, Mutex, Ordering, full_fence, relax},
    unit::Command,
};

mod registers;

pub use registers::Registers;

/// The ring has fewer entries than every CPU needs to submit at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingTooSmall {
    /// Entries that are needed: [`entries_for`] the CPUs.
    pub needed: usize,
}

/// Entries of a ring in which one command and one wait of each of `cpus` fit at the same time (INV-13),
/// and one that stays empty: a full ring would look like an empty one.
///
/// Units want a power of two, and have a least size of their own (VT-d and AMD: 256).
#[must_use]
pub const fn entries_for(cpus: usize) -> usize {
    cpus.saturating_mul(2).saturating_add(1)
}

/// The queue of one unit: memory lent by the embedder, of which the unit knows the address.
///
/// Its memory may not be lent to another queue after it failed: the unit may write there at any time.
#[derive(Debug)]
pub struct Queue<'m> {
    /// Two words an entry.
    ring: &'m [AtomicU64],
    /// One for each wait at a time: who has one, has it alone until its own cookie is there.
    status: &'m [AtomicU64],
    /// Entries that one call takes at a time, so that as many calls as there are status words fit.
    share: usize,
    /// Not zero once the queue has failed.
    failed: AtomicU64,
    /// Taken for as long as it takes to store a share; nobody waits for the unit with it. An interrupt
    /// handler that submits must not interrupt one that does.
    end: Mutex<End>,
}

/// Where the next command goes.
#[derive(Debug)]
struct End {
    tail: usize,
    /// The head when it was last looked at: entries up to it are free.
    head: usize,
    cookie: u32,
    /// Where to look for a free status word first.
    next_status: usize,
}

/// A status word nobody waits for.
const FREE: u64 = 0;
/// A status word that waits for its cookie.
const AWAITED: u64 = 1;
/// The least value that can be told from these two.
const FIRST_COOKIE: u32 = 2;

/// What one call waits for.
struct Wait<'m> {
    status: &'m AtomicU64,
    cookie: u32,
}

impl<'m> Queue<'m> {
    /// A queue whose unit has its head and tail at entry 0.
    ///
    /// `ring` has two words an entry, `status` one for each CPU that may submit at the same time.
    ///
    /// # Errors
    /// [`RingTooSmall`]: not every CPU could submit a command and its wait (INV-13).
    pub fn new(ring: &'m [AtomicU64], status: &'m [AtomicU64]) -> Result<Self, RingTooSmall> {
        let entries = ring.len() / 2;
        let needed = entries_for(status.len().max(1));
        if entries < needed || status.is_empty() {
            return Err(RingTooSmall { needed });
        }
        for word in status {
            word.store(FREE, Ordering::Relaxed);
        }
        Ok(Self {
            ring,
            status,
            share: entries.saturating_sub(1).checked_div(status.len()).unwrap_or(0),
            failed: AtomicU64::new(0),
            end: Mutex::new(End { tail: 0, head: 0, cookie: FIRST_COOKIE, next_status: 0 }),
        })
    }

    /// True once anything went wrong: from then on every call is an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) != 0
    }

    /// Has the unit do `commands`, and waits until they are done and drained.
    ///
    /// `patience` is asked again and again whether to go on waiting, for the whole call. After it said no,
    /// the unit is looked at once more, so a CPU that was kept from running for long loses nothing.
    ///
    /// # Errors
    /// [`UnitError`]: some of the commands may not be done (INV-11). The unit was not done or had no room
    /// in time, has reported an error, or failed before. Every later call is an error, too, whatever the
    /// unit writes then (INV-12).
    pub fn submit(
        &self,
        registers: &impl Registers,
        commands: &[Command],
        mut patience: impl FnMut() -> bool,
    ) -> Result<(), UnitError> {
        // A share holds a command and its wait, at least.
        let at_once = self.share.saturating_sub(1).max(1);
        for piece in commands.chunks(at_once) {
            while !self.submit_once(registers, piece, &mut patience)? {
                // A unit that drops every wait at once is never waited for above.
                if !patience() {
                    self.failed.store(1, Ordering::Release);
                    return Err(UnitError);
                }
            }
        }
        Ok(())
    }

    /// Submits `piece`, and waits; false if the unit has dropped the wait.
    fn submit_once(
        &self,
        registers: &impl Registers,
        piece: &[Command],
        patience: &mut impl FnMut() -> bool,
    ) -> Result<bool, UnitError> {
        // Before the commands are there: a wait that was dropped is never missed.
        let dropped = registers.dropped_waits();
        let wait = self.until(patience, || self.put(registers, piece))?;
        let done = self.until(patience, || {
            if wait.status.load(Ordering::Acquire) == u64::from(wait.cookie) {
                return Ok(Some(true));
            }
            // So that a unit that has stopped is not waited for.
            self.head(registers)?;
            Ok((registers.dropped_waits() != dropped).then_some(false))
        })?;
        wait.status.store(FREE, Ordering::Release);
        Ok(done)
    }

    /// Has the unit do `commands`, and waits neither for it nor for room nor for another CPU: so it may
    /// be called in an interrupt, whatever that has interrupted. True if they are in the ring; done they
    /// are when a later [`submit`](Self::submit) of anything returns.
    #[must_use]
    pub fn post(&self, registers: &impl Registers, commands: &[Command]) -> bool {
        let Some(mut end) = self.end.try_lock() else { return false };
        if self.has_failed() || !self.has_room(&mut end, registers, commands.len()).unwrap_or(false)
        {
            return false;
        }
        let tail = commands.iter().fold(end.tail, |tail, command| self.store(tail, command));
        self.publish(&mut end, registers, tail);
        true
    }

    /// Begins anew at entry 0, where the unit has its head and its tail after it was switched off and on
    /// again. Nobody may be waiting. A queue that has failed stays so.
    pub fn restart(&self) {
        let mut end = self.end.lock();
        (end.tail, end.head) = (0, 0);
        for word in self.status {
            word.store(FREE, Ordering::Relaxed);
        }
    }

    /// Asks for `it` until it is there, patience ends, or the queue has failed, which it does if patience
    /// ends or the unit reports an error.
    fn until<T>(
        &self,
        patience: &mut impl FnMut() -> bool,
        mut it: impl FnMut() -> Result<Option<T>, UnitError>,
    ) -> Result<T, UnitError> {
        loop {
            let patient = patience();
            let found = if self.has_failed() { Err(UnitError) } else { it() };
            match found {
                Ok(Some(found)) => return Ok(found),
                Ok(None) if patient => relax(),
                Ok(None) | Err(UnitError) => {
                    self.failed.store(1, Ordering::Release);
                    return Err(UnitError);
                }
            }
        }
    }

    /// Stores `commands` and a wait behind them, if there is room now.
    fn put(
        &self,
        registers: &impl Registers,
        commands: &[Command],
    ) -> Result<Option<Wait<'m>>, UnitError> {
        let mut end = self.end.lock();
        if !self.has_room(&mut end, registers, commands.len().saturating_add(1))? {
            return Ok(None);
        }
        let Some((number, status)) = self.free_status(end.next_status) else { return Ok(None) };
        let cookie = end.cookie;
        status.store(AWAITED, Ordering::Relaxed);
        let wait = registers.wait_command(number, cookie);
        let stored = commands.iter().chain([&wait]);
        let tail = stored.fold(end.tail, |tail, command| self.store(tail, command));
        end.cookie = cookie.wrapping_add(1).max(FIRST_COOKIE);
        end.next_status = number.wrapping_add(1);
        self.publish(&mut end, registers, tail);
        Ok(Some(Wait { status, cookie }))
    }

    /// Lets the unit fetch what was stored before `tail`.
    fn publish(&self, end: &mut End, registers: &impl Registers, tail: usize) {
        // The unit may read the ring as soon as it has the tail.
        full_fence();
        registers.set_tail(tail);
        end.tail = tail;
    }

    /// True if so many entries may be stored now.
    fn has_room(
        &self,
        end: &mut End,
        registers: &impl Registers,
        wanted: usize,
    ) -> Result<bool, UnitError> {
        if self.room(end) < wanted {
            end.head = self.head(registers)?;
        }
        Ok(self.room(end) >= wanted)
    }

    /// Entries that may be stored: all but one that are not between head and tail.
    fn room(&self, end: &End) -> usize {
        let entries = self.entries();
        let used = match end.tail.checked_sub(end.head) {
            Some(used) => used,
            None => entries.saturating_sub(end.head).saturating_add(end.tail),
        };
        entries.saturating_sub(1).saturating_sub(used)
    }

    /// The head register. A unit that is gone reads all ones, which is no entry.
    fn head(&self, registers: &impl Registers) -> Result<usize, UnitError> {
        registers
            .head()
            .and_then(|head| if head < self.entries() { Ok(head) } else { Err(UnitError) })
    }

    /// A status word nobody waits for, looked for from `first` on.
    fn free_status(&self, first: usize) -> Option<(usize, &'m AtomicU64)> {
        let words = self.status.len();
        let mut number = first;
        for _ in 0..words {
            // Round the words: `first` is at most one beyond the last.
            let at = number.checked_rem(words)?;
            let status = self.status.get(at)?;
            if status.load(Ordering::Acquire) == FREE {
                return Some((at, status));
            }
            number = at.saturating_add(1);
        }
        None
    }

    /// Stores an entry, and says which is the next.
    fn store(&self, entry: usize, [low, high]: &Command) -> usize {
        let words = self.ring.chunks_exact(2).nth(entry);
        // Never none: a tail is an entry.
        if let Some([first, second]) = words {
            first.store(*low, Ordering::Relaxed);
            second.store(*high, Ordering::Relaxed);
        }
        self.after(entry)
    }

    /// The entry after `entry`.
    fn after(&self, entry: usize) -> usize {
        entry.saturating_add(1).checked_rem(self.entries()).unwrap_or(0)
    }

    fn entries(&self) -> usize {
        self.ring.len() / 2
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
