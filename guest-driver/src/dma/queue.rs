//! Bus frames that are to be unmapped, and wait so that one call and one flush do for many.
//!
//! What waits is mapped: nobody is given its bus frames, and nobody its pages, before it is done.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use heapless::{Deque, Vec};
use spin::Mutex;

use crate::bfn::{BfnAllocator, BfnRange};

/// How many ranges can wait.
pub(super) const ROOM: usize = 256;
/// Most of them that one call takes along.
pub(super) const CARRIED: usize = 128;

/// When unmaps that may wait are made. Whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// How many wait until the next call takes them along: 1 to 256. If none comes, they are made
    /// when 256 wait.
    pub unmaps: usize,
    /// How long the first of them waits, in microseconds, if [`DmaSpace::poll`] is called as often
    /// as that.
    ///
    /// [`DmaSpace::poll`]: super::DmaSpace::poll
    pub microseconds: u64,
}

impl Default for Deferral {
    /// 128, about what one call can take along, and 10 milliseconds, which is what Linux has its
    /// flush queues wait.
    fn default() -> Self {
        Self { unmaps: 128, microseconds: 10_000 }
    }
}

/// One range that waits, for whoever has its buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    slot: u16,
    number: u64,
}

/// Slots taken out for one call.
pub(super) type Carried = Vec<u16, CARRIED>;

/// What waits, for all CPUs.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    /// How many wait and are in no call; read before the lock is taken for nothing.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Queue {
    slots: [Slot; ROOM],
    /// Slots from here on were never used.
    fresh: u16,
    vacant: Vec<u16, ROOM>,
    /// The oldest first.
    waiting: Deque<u16, ROOM>,
    /// The number of the next range. Numbers only grow, and 0 is none.
    next: u64,
}

#[derive(Debug)]
struct Slot {
    /// 0 if it is vacant.
    number: u64,
    since_us: u64,
    range: Option<BfnRange>,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        let slots = [const { Slot { number: 0, since_us: 0, range: None } }; ROOM];
        let queue = Queue { slots, fresh: 0, vacant: Vec::new(), waiting: Deque::new(), next: 1 };
        Self { queue: Mutex::new(queue), len: AtomicUsize::new(0) }
    }

    /// Forgets what an owner before has left.
    pub(super) fn reset(&self) {
        let mut queue = self.queue.lock();
        queue.waiting.clear();
        queue.vacant.clear();
        queue.fresh = 0;
        for slot in &mut queue.slots {
            (slot.number, slot.range) = (0, None);
        }
        self.len.store(0, Relaxed);
    }

    /// Puts a range at the end; gives it back if there is no room.
    pub(super) fn push(&self, range: BfnRange, now_us: u64) -> Result<Ticket, BfnRange> {
        let mut queue = self.queue.lock();
        let Some(place) = queue.vacant_slot() else { return Err(range) };
        let number = queue.next;
        let Some(slot) = queue.slots.get_mut(usize::from(place)) else { return Err(range) };
        *slot = Slot { number, since_us: now_us, range: Some(range) };
        queue.next = number.saturating_add(1);
        // As many places as slots.
        let _ = queue.waiting.push_back(place);
        self.len.store(queue.waiting.len(), Relaxed);
        Ok(Ticket { slot: place, number })
    }

    /// Whether the next call should take some along.
    pub(super) fn is_due(&self, bounds: Deferral, now_us: u64) -> bool {
        match self.len.load(Relaxed) {
            0 => false,
            len if len >= bounds.unmaps => true,
            _ => {
                let queue = self.queue.lock();
                let oldest =
                    queue.waiting.front().and_then(|slot| queue.slots.get(usize::from(*slot)));
                oldest.is_some_and(|oldest| {
                    now_us.saturating_sub(oldest.since_us) >= bounds.microseconds
                })
            }
        }
    }

    /// Takes the oldest, `most` of them at most; each is told to `each` as well. They are to be
    /// told to [`finish`](Self::finish).
    pub(super) fn take(&self, most: usize, mut each: impl FnMut(&BfnRange)) -> Carried {
        let mut carried = Carried::new();
        let mut queue = self.queue.lock();
        while carried.len() < most.min(CARRIED) {
            let Some(place) = queue.waiting.pop_front() else { break };
            let _ = carried.push(place);
            if let Some(Slot { range: Some(range), .. }) = queue.slots.get(usize::from(place)) {
                each(range);
            }
        }
        self.len.store(queue.waiting.len(), Relaxed);
        carried
    }

    /// The first `done` of what was taken are unmapped, and their bus frames free; the others wait
    /// again.
    pub(super) fn finish(
        &self,
        carried: &Carried,
        done: usize,
        cpu: usize,
        bfns: &BfnAllocator<'_>,
    ) {
        let (finished, others) = carried.split_at(done.min(carried.len()));
        let mut queue = self.queue.lock();
        for place in others.iter().rev() {
            let _ = queue.waiting.push_front(*place);
        }
        for place in finished {
            let slot = queue.slots.get_mut(usize::from(*place));
            let range = slot.and_then(|slot| {
                slot.number = 0;
                slot.range.take()
            });
            if let Some(range) = range {
                // Only of another allocator, which it cannot be.
                let _ = bfns.free(cpu, range);
            }
            let _ = queue.vacant.push(*place);
        }
        self.len.store(queue.waiting.len(), Relaxed);
    }

    /// Whether this range is unmapped.
    pub(super) fn is_done(&self, ticket: Ticket) -> bool {
        let queue = self.queue.lock();
        let slot = queue.slots.get(usize::from(ticket.slot));
        slot.is_none_or(|slot| slot.number != ticket.number)
    }

    /// The number that the next range will have.
    pub(super) fn next_number(&self) -> u64 {
        self.queue.lock().next
    }

    /// Whether all ranges below this number are unmapped.
    pub(super) fn is_done_below(&self, number: u64) -> bool {
        let queue = self.queue.lock();
        queue.slots.iter().all(|slot| slot.number == 0 || slot.number >= number)
    }
}

impl Queue {
    /// A vacant slot.
    fn vacant_slot(&mut self) -> Option<u16> {
        if let Some(place) = self.vacant.pop() {
            return Some(place);
        }
        let place = self.fresh;
        (usize::from(place) < ROOM).then(|| {
            self.fresh = place.saturating_add(1);
            place
        })
    }
}
