//! The registers of a unit (section 3.4): where they are, and what their bits are called.
//!
//! Nothing here decides anything, and nothing outside names an offset.

use crate::platform::{RegisterBlock, UnitError};

bitflags::bitflags! {
    /// The control register (section 3.4.4). What is not named here stays off: page requests, guest
    /// translation, logs of the guest APIC, segments of the device table, and the like.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Control: u64 {
        /// IommuEn: the unit is on. Without it every request passes untranslated.
        const ENABLED = 1 << 0;
        /// HtTunEn.
        const TUNNEL = 1 << 1;
        /// EventLogEn.
        const EVENT_LOG = 1 << 2;
        /// EventIntEn: an interrupt, if the unit's function may send one, for each event.
        const EVENT_INTERRUPT = 1 << 3;
        /// PassPW.
        const PASS_POSTED = 1 << 8;
        /// ResPassPW.
        const RESPONSE_PASS_POSTED = 1 << 9;
        /// Coherent: what the unit reads is snooped.
        const COHERENT = 1 << 10;
        /// Isoc.
        const ISOCHRONOUS = 1 << 11;
        /// CmdBufEn.
        const COMMANDS = 1 << 12;
        /// PPRLogEn.
        const PAGE_REQUEST_LOG = 1 << 13;
        /// GAEn: interrupt table entries have 128 bits.
        const LONG_INTERRUPTS = 1 << 17;
        /// GALogEn.
        const GUEST_LOG = 1 << 28;
        /// XTEn: their destinations have 32 bits.
        const X2APIC = 1 << 50;
    }
}

bitflags::bitflags! {
    /// The status register (section 3.4.13).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Status: u64 {
        /// EventOverflow: the event log was full, and has stopped. Writing a one clears it.
        const OVERFLOW = 1 << 0;
        /// EventLogInt: an event was logged; none is told again before it is cleared by writing a one.
        const EVENT = 1 << 1;
        /// EventLogRun.
        const EVENT_LOG_RUNS = 1 << 3;
        /// CmdBufRun. Gone if a command could not be carried out.
        const COMMANDS_RUN = 1 << 4;
        /// PprOverflow, PprInt, GALOverflow and GAInt, of logs that are not used, and ComWaitInt.
        const OTHERS = 1 << 2 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10;
        /// PprLogRun.
        const PAGE_REQUEST_LOG_RUNS = 1 << 7;
        /// GALogRun.
        const GUEST_LOG_RUNS = 1 << 8;
    }
}

impl Control {
    /// Everything that reads or writes memory by an address of its own, and so must rest while that is
    /// changed.
    pub(super) const RINGS: Self =
        Self::EVENT_LOG.union(Self::COMMANDS).union(Self::PAGE_REQUEST_LOG).union(Self::GUEST_LOG);
}

impl Status {
    /// What says that [`Control::RINGS`] rest, if it is not there.
    pub(super) const RINGS: Self = Self::EVENT_LOG_RUNS
        .union(Self::COMMANDS_RUN)
        .union(Self::PAGE_REQUEST_LOG_RUNS)
        .union(Self::GUEST_LOG_RUNS);

    /// What is cleared by writing a one.
    pub(super) const CLEARED_BY_ONE: Self = Self::OVERFLOW.union(Self::EVENT).union(Self::OTHERS);
}

const DEVICE_TABLE: usize = 0x00;
const COMMANDS: usize = 0x08;
const EVENT_LOG: usize = 0x10;
const CONTROL: usize = 0x18;
const EXCLUSION_BASE: usize = 0x20;
const EXCLUSION_LIMIT: usize = 0x28;
const EXTENDED_FEATURES: usize = 0x30;
const COMMAND_HEAD: usize = 0x2000;
const COMMAND_TAIL: usize = 0x2008;
const EVENT_HEAD: usize = 0x2010;
const EVENT_TAIL: usize = 0x2018;
const STATUS: usize = 0x2020;

/// The part of a head or tail that is an offset: a multiple of an entry's 16 bytes.
const OFFSET: u64 = 0x7_fff0;
const ENTRY_SHIFT: u32 = 4;
/// Where the length of a ring stands: the logarithm of its entries.
const LENGTH_SHIFT: u32 = 56;

/// A ring that the unit reads or writes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ring {
    /// Where it begins: a multiple of 4 KiB.
    pub(super) address: u64,
    /// Logarithm of its entries: 8 to 15.
    pub(super) entries_log2: u32,
}

impl Ring {
    const fn word(self) -> u64 {
        self.address | (self.entries_log2 as u64 & 0xf) << LENGTH_SHIFT
    }
}

/// The registers of one unit.
#[derive(Clone, Copy)]
pub(super) struct Registers<'r>(pub(super) &'r dyn RegisterBlock);

impl Registers<'_> {
    /// True if nobody answers: some bits of that register are never set.
    pub(super) fn are_absent(self) -> bool {
        self.0.read64(CONTROL) == u64::MAX
    }

    pub(super) fn extended_features(self) -> u64 {
        self.0.read64(EXTENDED_FEATURES)
    }

    /// The control register, with bits that are not named, too.
    pub(super) fn control(self) -> Control {
        Control::from_bits_retain(self.0.read64(CONTROL))
    }

    pub(super) fn set_control(self, control: Control) {
        self.0.write64(CONTROL, control.bits());
    }

    pub(super) fn status(self) -> Status {
        Status::from_bits_retain(self.0.read64(STATUS))
    }

    /// Clears those bits of the status register.
    pub(super) fn clear_status(self, bits: Status) {
        self.0.write64(STATUS, bits.bits());
    }

    /// Where the device table is, and how many pages it has: 1 to 512. One store.
    pub(super) fn set_device_table(self, address: u64, pages: usize) {
        self.0.write64(DEVICE_TABLE, Self::device_table_word(address, pages));
    }

    /// What the register has after that.
    pub(super) fn device_table_word(address: u64, pages: usize) -> u64 {
        address | (pages as u64).saturating_sub(1) & 0x1ff
    }

    /// Where the device table is, as it is set.
    pub(super) fn device_table(self) -> u64 {
        self.0.read64(DEVICE_TABLE)
    }

    /// Excludes no memory from translation.
    pub(super) fn clear_exclusion(self) {
        self.0.write64(EXCLUSION_BASE, 0);
        self.0.write64(EXCLUSION_LIMIT, 0);
    }

    /// Where the command buffer is; the unit begins at its first entry.
    pub(super) fn set_commands(self, ring: Ring) {
        self.0.write64(COMMANDS, ring.word());
        self.0.write64(COMMAND_HEAD, 0);
        self.0.write64(COMMAND_TAIL, 0);
    }

    /// The entry that the unit fetches next, if it fetches at all.
    pub(super) fn command_head(self) -> Result<usize, UnitError> {
        let (status, head) = (self.status(), self.0.read64(COMMAND_HEAD));
        if head == u64::MAX || !status.contains(Status::COMMANDS_RUN) {
            return Err(UnitError);
        }
        Ok(entry(head))
    }

    pub(super) fn set_command_tail(self, entry: usize) {
        self.0.write64(COMMAND_TAIL, offset(entry));
    }

    /// Where the event log is.
    pub(super) fn set_event_log(self, ring: Ring) {
        self.0.write64(EVENT_LOG, ring.word());
        self.empty_event_log();
    }

    /// The log is empty, and its next entry the first. While it rests only.
    pub(super) fn empty_event_log(self) {
        self.0.write64(EVENT_HEAD, 0);
        self.0.write64(EVENT_TAIL, 0);
    }

    /// The entry of the log that the unit writes next; `None` if nobody answers.
    pub(super) fn event_tail(self) -> Option<usize> {
        let tail = self.0.read64(EVENT_TAIL);
        (tail != u64::MAX).then_some(entry(tail))
    }

    pub(super) fn set_event_head(self, entry: usize) {
        self.0.write64(EVENT_HEAD, offset(entry));
    }
}

/// The number of an entry by its offset. At most 32767.
const fn entry(offset: u64) -> usize {
    ((offset & OFFSET) >> ENTRY_SHIFT) as usize
}

const fn offset(entry: usize) -> u64 {
    (entry as u64) << ENTRY_SHIFT & OFFSET
}
