//! What a unit is brought up with, and why it is not.

use core::fmt;

use crate::{
    addr::PAGE_SHIFT,
    platform::{UnitFacts, UnitFeatures, UnitMemory},
    unit::{
        queue::entries_for,
        vtd::capabilities::{Capabilities, Quirks},
    },
};

/// What the embedder decides about a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The PCI segment of all devices behind it (DMAR: DRHD, segment number).
    pub segment: u16,
    /// How many CPUs may use it at the same time, one at least.
    pub cpus: usize,
    /// What is held against it.
    pub quirks: Quirks,
    /// The longest that one thing is waited for, in microseconds. A unit that takes longer has failed, for
    /// ever; so it is long: a second, say.
    pub timeout_us: u64,
    /// Width of the machine's addresses, in bits (DMAR: host address width).
    pub host_address_bits: u8,
}

/// The memory that a unit works with: all of it is overwritten, and the unit's for as long as it is on.
#[derive(Clone, Copy, Debug)]
pub struct VtdMemory<'m> {
    /// The root table: one page.
    pub root: UnitMemory<'m>,
    /// Context tables: a page for each bus that has a device behind the unit. Buses that a page was not
    /// left for have no DMA.
    pub contexts: UnitMemory<'m>,
    /// The invalidation queue: a page is 256 entries. What is more than a power of two, or than 128
    /// pages, is not used.
    pub queue: UnitMemory<'m>,
    /// What the unit writes when it is done: a word for each CPU.
    pub status: UnitMemory<'m>,
}

/// Something that a unit was asked for and did not do in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Switching the fault log in memory off, which firmware had on.
    FaultLog,
    /// Switching the queue off that firmware had on.
    FormerQueue,
    /// Switching its queue on.
    Queue,
    /// Flushing its write buffer.
    WriteBuffer,
    /// Taking the root table over.
    RootTable,
    /// Forgetting, by its queue, what it has cached.
    Invalidation,
    /// Switching translation on.
    Translation,
    /// Giving protected memory free. Translation is on.
    ProtectedMemory,
    /// Remapping interrupts by the table it had before the machine slept. Translation is on.
    Interrupts,
}

/// Why a unit is not driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BringUpError {
    /// The registers are all ones, or have no version: there is no unit at this address. Firmware's table or
    /// the mapping of the registers is wrong. Nothing was written.
    Absent,
    /// The unit has no invalidation queue: it is older than this driver. Nothing was written.
    NoQueue,
    /// The unit walks no tables of 3, 4 or 5 levels: CAP.SAGAW, as given. Nothing was written.
    NoCommonWidth(u64),
    /// The host address width that was given is none, 32 to 52 bits are.
    BadHostWidth(u8),
    /// The queue has too few entries, or there are too few status words, for the CPUs: so many of either
    /// are needed. Lend more. Nothing was written.
    TooSmall {
        /// Entries of the queue.
        entries: usize,
        /// Status words, one for each CPU.
        status: usize,
    },
    /// Memory that was lent ends above the host address width. Nothing was written.
    OutOfReach,
    /// Firmware left translation on in another mode than legacy (RTADDR.TTM, as given), and a unit
    /// changes modes only with translation off: so there would be a window. Whoever may decide that no device
    /// is active switches translation off first. Nothing was written.
    OtherMode(u64),
    /// The unit did not do this in time. What came before is done: see [`Step`]. It is to be taken as
    /// failed, and nothing behind it may be given away.
    NoAnswer(Step),
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(f, "no unit answers at this address"),
            Self::NoQueue => write!(f, "the unit has no invalidation queue (ECAP.QI)"),
            Self::NoCommonWidth(cap) => {
                write!(f, "the unit walks no tables of 3 to 5 levels (CAP {cap:#x})")
            }
            Self::BadHostWidth(bits) => {
                write!(f, "a host address width of {bits} bits, expected 32 to 52")
            }
            Self::TooSmall { entries, status } => {
                write!(f, "the CPUs need a queue of {entries} entries and {status} status words")
            }
            Self::OutOfReach => write!(f, "memory of the unit is above the host address width"),
            Self::OtherMode(root) => {
                write!(f, "firmware left translation on in another mode (RTADDR {root:#x})")
            }
            Self::NoAnswer(step) => write!(f, "the unit did not answer in time: {step:?}"),
        }
    }
}

impl core::error::Error for BringUpError {}

/// The largest queue, as a power of two of pages: IQA.QS.
const MAX_QUEUE_ORDER: u32 = 7;

/// The part of the queue's memory that is used, and IQA.QS for it.
pub(super) fn queue_order(memory: &UnitMemory<'_>) -> u32 {
    memory.pages().checked_ilog2().unwrap_or(0).min(MAX_QUEUE_ORDER)
}

/// What is wrong with what was given, before anything is written.
pub(super) fn check(
    capabilities: &Capabilities,
    facts: &UnitFacts,
    memory: &VtdMemory<'_>,
    settings: &Settings,
) -> Result<(), BringUpError> {
    if !capabilities.has_queue() {
        return Err(BringUpError::NoQueue);
    }
    let levels = UnitFeatures::LEVELS_3 | UnitFeatures::LEVELS_4 | UnitFeatures::LEVELS_5;
    if !facts.features.intersects(levels) {
        return Err(BringUpError::NoCommonWidth(capabilities.words().1));
    }
    let bits = settings.host_address_bits;
    let limit = match bits {
        32..=52 => 1u64.wrapping_shl(u32::from(bits).saturating_sub(PAGE_SHIFT)),
        _ => return Err(BringUpError::BadHostWidth(bits)),
    };
    for lent in [&memory.root, &memory.contexts, &memory.queue, &memory.status] {
        let end = u64::try_from(lent.pages()).ok().and_then(|it| it.checked_add(lent.frame().0));
        if end.is_none_or(|end| end > limit) {
            return Err(BringUpError::OutOfReach);
        }
    }
    let (entries, status) = (entries_for(settings.cpus.max(1)), settings.cpus.max(1));
    let has_entries = 256usize.wrapping_shl(queue_order(&memory.queue));
    if has_entries < entries || memory.status.words().len() < status {
        return Err(BringUpError::TooSmall { entries, status });
    }
    Ok(())
}
