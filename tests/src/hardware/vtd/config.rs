//! What a unit can do.

/// The registers that say what a unit can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// VER.
    pub ver: u32,
    /// CAP.
    pub cap: u64,
    /// ECAP.
    pub ecap: u64,
}

impl Config {
    /// As QEMU 7.2 has it, with `aw-bits=48`: one fault record, no interrupt remapping, walks that do not
    /// snoop.
    pub const QEMU: Self = Self { ver: 0x10, cap: 0x00d2_008c_222f_0606, ecap: 0xf42 };

    /// The same with QEMU's default, `aw-bits=39`.
    pub const QEMU_39: Self = Self { cap: 0x00d2_008c_2226_0206, ..Self::QEMU };

    /// As a server has it: four fault records at 0x200, walks that snoop, interrupt remapping to the
    /// x2APIC, snoop control, protected memory, domain ids of 16 bits, masks of up to 9 bits.
    pub const SERVER: Self = Self {
        ver: 0x50,
        cap: 6
            | 3 << 5
            | 6 << 8
            | 47 << 16
            | 0x20 << 24
            | 3 << 34
            | 1 << 39
            | 3 << 40
            | 9 << 48
            | 3 << 54,
        ecap: 0b1_1011 | 1 << 7 | 0x50 << 8 | 15 << 20,
    };

    /// With these bits of CAP besides.
    #[must_use]
    pub const fn with_cap(self, bits: u64) -> Self {
        Self { cap: self.cap | bits, ..self }
    }

    /// Without these bits of CAP.
    #[must_use]
    pub const fn without_cap(self, bits: u64) -> Self {
        Self { cap: self.cap & !bits, ..self }
    }

    /// Without these bits of ECAP.
    #[must_use]
    pub const fn without_ecap(self, bits: u64) -> Self {
        Self { ecap: self.ecap & !bits, ..self }
    }

    pub(super) const fn has_write_buffer(&self) -> bool {
        self.cap & Self::WRITE_BUFFER != 0
    }

    pub(super) const fn caches_absent(&self) -> bool {
        self.cap & Self::CACHING_MODE != 0
    }

    pub(super) const fn snoops(&self) -> bool {
        self.ecap & Self::COHERENT != 0
    }

    pub(super) const fn remaps(&self) -> bool {
        self.ecap & 1 << 3 != 0
    }

    pub(super) const fn pages(&self) -> Option<u64> {
        if self.cap & Self::PAGE_SELECTIVE != 0 { Some(self.cap >> 48 & 0x3f) } else { None }
    }

    pub(super) const fn drains(&self) -> (bool, bool) {
        (self.cap & 1 << 54 != 0, self.cap & 1 << 55 != 0)
    }

    pub(super) const fn domain_mask(&self) -> u64 {
        (1 << (4 + 2 * (self.cap & 7))) - 1
    }

    pub(super) const fn width(&self) -> u32 {
        (self.cap >> 16 & 0x3f) as u32 + 1
    }

    pub(super) const fn walks(&self, aw: u64) -> bool {
        aw < 4 && aw > 0 && self.cap >> (8 + aw) & 1 != 0
    }

    pub(super) const fn records(&self) -> (usize, usize) {
        ((self.cap >> 24 & 0x3ff) as usize * 16, (self.cap >> 40 & 0xff) as usize + 1)
    }

    pub(super) const fn iotlb(&self) -> usize {
        (self.ecap >> 8 & 0x3ff) as usize * 16
    }

    /// CAP.RWBF.
    pub const WRITE_BUFFER: u64 = 1 << 4;
    /// CAP.CM.
    pub const CACHING_MODE: u64 = 1 << 7;
    /// CAP.PSI.
    pub const PAGE_SELECTIVE: u64 = 1 << 39;
    /// CAP.DWD and CAP.DRD.
    pub const DRAINING: u64 = 3 << 54;
    /// ECAP.C.
    pub const COHERENT: u64 = 1;
    /// ECAP.QI.
    pub const QUEUE: u64 = 1 << 1;
    /// ECAP.IR.
    pub const REMAPPING: u64 = 1 << 3;
    /// ECAP.EIM.
    pub const X2APIC: u64 = 1 << 4;
}
