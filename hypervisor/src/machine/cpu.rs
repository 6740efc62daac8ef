//! Who is inside a table: one word per CPU.
//!
//! A CPU that is *inside* may follow pointers in any context's table. A frame that was unlinked
//! is freed, and a context is changed as a whole, only after every CPU that was inside at that
//! moment has left. Nobody waits while inside, so waiting for the others ends.
//!
//! Each CPU writes its own word only: two that map at the same time share nothing here.

use core::fmt;

use pviommu_abi::{BatchElement, Gfn, PciDevice};

use super::fault_log::Record;

use crate::{
    context::Facts,
    domain::Drawer,
    flush::FlushRoom,
    platform::Runs,
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, announce, full_fence, relax, room},
};

/// What the service needs for each CPU that may call it: memory lent by the embedder.
///
/// One per physical or virtual CPU, whichever the embedder can keep apart: two calls with one
/// `Cpu` take turns.
#[repr(align(128))]
pub struct Cpu {
    /// Odd while the CPU is inside.
    inside: AtomicU64,
    room: Mutex<CallRoom>,
}

/// Room for one call.
pub(crate) struct CallRoom {
    pub(crate) edit: EditRoom,
    /// What is known of the context of a batch.
    pub(crate) facts: Facts,
    /// Elements of a batch.
    pub(crate) elements: [BatchElement; BATCH_ROOM],
    /// Guest frames of a list.
    pub(crate) list: [Gfn; LIST_ROOM],
    /// Faults on their way to a guest.
    pub(crate) faults: FaultRoom,
}

/// Fault records that are told at once, with the device that each is of.
pub(crate) type FaultRoom = heapless::Vec<(Option<PciDevice>, Record), FAULT_ROOM>;

/// Most fault records that one call tells.
const FAULT_ROOM: usize = room(32);

/// Elements of a batch that one CPU holds at a time: a page of them.
pub(crate) const BATCH_ROOM: usize = room(128);

/// Frames of a list that one CPU holds at a time.
pub(crate) const LIST_ROOM: usize = room(256);

/// Room for an edit of a table.
pub(crate) struct EditRoom {
    /// Pages acquired and not yet mapped.
    pub(crate) acquired: Runs,
    /// What the edit leaves to flush.
    pub(crate) flush: FlushRoom,
    /// What is flushed apart from it: what a trim leaves, or what waits for a later flush.
    pub(crate) aside: FlushRoom,
}

impl Cpu {
    /// A CPU that is outside.
    #[must_use]
    pub fn new() -> Self {
        let edit =
            EditRoom { acquired: Runs::new(), flush: FlushRoom::new(), aside: FlushRoom::new() };
        let elements = core::array::from_fn(|_| BatchElement::default());
        let (facts, list, faults) = (Facts::none(), [Gfn(0); LIST_ROOM], FaultRoom::new());
        let room = CallRoom { edit, facts, elements, list, faults };
        Self { inside: AtomicU64::new(0), room: Mutex::new(room) }
    }

    /// Takes this CPU's room for a call.
    #[inline]
    pub(crate) fn claim(&self) -> MutexGuard<'_, CallRoom> {
        self.room.lock()
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = self.inside.load(Ordering::Relaxed) & 1 != 0;
        f.debug_struct("Cpu").field("inside", &inside).finish_non_exhaustive()
    }
}

/// The way in for one CPU, whose room is claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'g> {
    pub(crate) cpus: &'g [Cpu],
    pub(crate) own: &'g Cpu,
}

/// The CPU is inside until this is dropped.
#[must_use]
pub(crate) struct Inside<'g> {
    word: &'g AtomicU64,
    outside: u64,
}

impl<'g> Gate<'g> {
    /// Goes inside. What it reads from now on is not freed before it leaves.
    #[inline]
    pub(crate) fn enter(self) -> Inside<'g> {
        let word = &self.own.inside;
        let now = word.load(Ordering::Relaxed);
        announce(word, now.wrapping_add(1));
        Inside { word, outside: now.wrapping_add(2) }
    }

    /// Where this CPU keeps what it has at hand of a quota: CPUs that stand side by side differ.
    pub(crate) fn drawer(self) -> Drawer {
        let address = core::ptr::from_ref(self.own).addr();
        Drawer(address.checked_div(size_of::<Cpu>()).unwrap_or(0))
    }

    /// Waits until every other CPU that is inside now has left once.
    ///
    /// Must not be called from inside.
    pub(crate) fn wait_for_others(self) {
        full_fence();
        for cpu in self.cpus {
            if core::ptr::eq(cpu, self.own) {
                continue;
            }
            let seen = cpu.inside.load(Ordering::Acquire);
            while seen & 1 != 0 && cpu.inside.load(Ordering::Acquire) == seen {
                relax();
            }
        }
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.word.store(self.outside, Ordering::Release);
    }
}
