//! Where registers are, and what their bits say: chapter 11, "Register Descriptions".
//!
//! Offsets are in bytes from the unit's register base. Nothing here reads or writes.

/// VER, the architecture version: 32 bits, section 11.4.1.
pub(super) const VERSION: usize = 0x00;
/// CAP: 64 bits, section 11.4.2.
pub(super) const CAPABILITY: usize = 0x08;
/// ECAP: 64 bits, section 11.4.3.
pub(super) const EXTENDED_CAPABILITY: usize = 0x10;
/// GCMD, of bits [`Global`]: 32 bits, section 11.4.4.1.
pub(super) const GLOBAL_COMMAND: usize = 0x18;
/// GSTS, of bits [`Global`]: 32 bits, section 11.4.4.2.
pub(super) const GLOBAL_STATUS: usize = 0x1c;
/// RTADDR: 64 bits, section 11.4.5.
pub(super) const ROOT_TABLE: usize = 0x20;
/// CCMD: 64 bits, section 11.4.6.
pub(super) const CONTEXT_COMMAND: usize = 0x28;
/// FSTS, of bits [`FaultStatus`]: 32 bits, section 11.4.7.
pub(super) const FAULT_STATUS: usize = 0x34;
/// FECTL: 32 bits, section 11.4.7.
pub(super) const FAULT_CONTROL: usize = 0x38;
/// FEDATA: 32 bits, section 11.4.7.
pub(super) const FAULT_DATA: usize = 0x3c;
/// FEADDR: 32 bits, section 11.4.7.
pub(super) const FAULT_ADDRESS: usize = 0x40;
/// FEUADDR: 32 bits, section 11.4.7.
pub(super) const FAULT_UPPER_ADDRESS: usize = 0x44;
/// PMEN: 32 bits, section 11.4.8.
pub(super) const PROTECTED_MEMORY: usize = 0x64;
/// IQH: 64 bits, section 11.4.9.
pub(super) const QUEUE_HEAD: usize = 0x80;
/// IQT: 64 bits, section 11.4.9.
pub(super) const QUEUE_TAIL: usize = 0x88;
/// IQA: 64 bits, section 11.4.9.
pub(super) const QUEUE_ADDRESS: usize = 0x90;
/// IRTA: 64 bits, section 11.4.10.
pub(super) const INTERRUPT_TABLE: usize = 0xb8;

/// RTADDR.TTM: not zero if the root table is one of another mode than legacy.
pub(super) const TABLE_MODE: u64 = 3 << 10;

/// CCMD.ICC and a global request: section 11.4.6.
pub(super) const FORGET_CONTEXTS: u64 = 1 << 63 | 1 << 61;
/// CCMD.ICC and the IOTLB register's IVT: set until it is done.
pub(super) const FORGETTING: u64 = 1 << 63;
/// IVT, a global request, and both drains: section 11.4.6.
pub(super) const FORGET_TRANSLATIONS: u64 = 1 << 63 | 1 << 60 | 1 << 49 | 1 << 48;
/// The IOTLB register is so far from the one of the address, which is at ECAP.IRO.
pub(super) const IOTLB_AFTER_ADDRESS: usize = 8;

/// FECTL.IM: no interrupt is sent.
pub(super) const FAULT_MASKED: u32 = 1 << 31;

/// PMEN.EPM: memory is protected.
pub(super) const PROTECT: u32 = 1 << 31;
/// PMEN.PRS: it is now.
pub(super) const PROTECTED: u32 = 1 << 0;

/// Head and tail of the queue are in entries of 16 bytes.
pub(super) const QUEUE_ENTRY_SHIFT: u32 = 4;

bitflags::bitflags! {
    /// Bits of GCMD and GSTS. What GCMD asks for, GSTS says when it is so.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Global: u32 {
        /// TE, TES: requests are translated.
        const TRANSLATION = 1 << 31;
        /// SRTP, RTPS: takes the root table over.
        const ROOT_TABLE = 1 << 30;
        /// EAFL, AFLS: faults are logged in memory.
        const FAULT_LOG = 1 << 28;
        /// WBF, WBFS: flushes the write buffer; clear when done.
        const WRITE_BUFFER = 1 << 27;
        /// QIE, QIES: the queue is read, and registers invalidate no more.
        const QUEUE = 1 << 26;
        /// IRE, IRES: interrupts are remapped.
        const INTERRUPTS = 1 << 25;
        /// SIRTP, IRTPS: takes the table of interrupts over.
        const INTERRUPT_TABLE = 1 << 24;
        /// CFI, CFIS: interrupts of the old format pass without.
        const OLD_INTERRUPTS = 1 << 23;
    }
}

impl Global {
    /// What of the status a command has to repeat, or it would be switched off: all but what is done once.
    pub(super) const STAYS: u32 = 0x96ff_ffff;
}

bitflags::bitflags! {
    /// Bits of FSTS. Those of errors are cleared by a one.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct FaultStatus: u32 {
        /// PFO: there was no record left.
        const OVERFLOW = 1 << 0;
        /// PPF: there is a record. Clear when there is none.
        const PENDING = 1 << 1;
        /// IQE: the queue stands at an entry that the unit does not take.
        const QUEUE_ERROR = 1 << 4;
        /// ICE: a device has confirmed an invalidation that nobody asked for.
        const COMPLETION_ERROR = 1 << 5;
        /// ITE: a device did not confirm one, and waits were dropped.
        const TIME_OUT = 1 << 6;
    }
}

impl FaultStatus {
    /// Errors of the queue.
    pub(super) const QUEUE: Self =
        Self::QUEUE_ERROR.union(Self::COMPLETION_ERROR).union(Self::TIME_OUT);
    /// FRI: which record was the first, in these bits.
    pub(super) const FIRST_RECORD_SHIFT: u32 = 8;
    /// Width of FRI.
    pub(super) const FIRST_RECORD: u32 = 0xff;
}
