//! Offsets and bits of registers: chapter 11.

pub(super) const VER: usize = 0x00;
pub(super) const CAP: usize = 0x08;
pub(super) const ECAP: usize = 0x10;
pub(super) const GCMD: usize = 0x18;
pub(super) const GSTS: usize = 0x1c;
pub(super) const RTADDR: usize = 0x20;
pub(super) const CCMD: usize = 0x28;
pub(super) const FSTS: usize = 0x34;
pub(super) const FECTL: usize = 0x38;
pub(super) const FEDATA: usize = 0x3c;
pub(super) const FEADDR: usize = 0x40;
pub(super) const FEUADDR: usize = 0x44;
pub(super) const PMEN: usize = 0x64;
pub(super) const IQH: usize = 0x80;
pub(super) const IQT: usize = 0x88;
pub(super) const IQA: usize = 0x90;
pub(super) const IRTA: usize = 0xb8;

/// Bits of GCMD and GSTS.
pub mod global {
    /// Translation.
    pub const TE: u32 = 1 << 31;
    /// Root table pointer.
    pub const SRTP: u32 = 1 << 30;
    /// Fault log pointer.
    pub const SFL: u32 = 1 << 29;
    /// Fault log.
    pub const EAFL: u32 = 1 << 28;
    /// Write-buffer flush.
    pub const WBF: u32 = 1 << 27;
    /// Queued invalidation.
    pub const QIE: u32 = 1 << 26;
    /// Interrupt remapping.
    pub const IRE: u32 = 1 << 25;
    /// Interrupt table pointer.
    pub const SIRTP: u32 = 1 << 24;
    /// Interrupts of the compatibility format.
    pub const CFI: u32 = 1 << 23;

    /// What stays as it was commanded.
    pub(in super::super) const LASTING: u32 = TE | EAFL | QIE | IRE | CFI;
    /// What is done once.
    pub(in super::super) const ONCE: u32 = SRTP | SFL | WBF | SIRTP;
}

/// Bits of FSTS.
pub(super) mod status {
    pub(in super::super) const PFO: u32 = 1 << 0;
    pub(in super::super) const PPF: u32 = 1 << 1;
    pub(in super::super) const IQE: u32 = 1 << 4;
    pub(in super::super) const ICE: u32 = 1 << 5;
    pub(in super::super) const ITE: u32 = 1 << 6;
    /// What stops the queue.
    pub(in super::super) const STOPS: u32 = IQE | ICE | ITE;
}

/// EPM and PRS of PMEN.
pub(super) const EPM: u32 = 1 << 31;
pub(super) const PRS: u32 = 1;
