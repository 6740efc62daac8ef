//! What a unit says that it can do, and what is not believed.

use crate::{
    format::FormatKind,
    platform::{RegisterBlock, UnitFacts, UnitFeatures},
    unit::vtd::registers,
};

bitflags::bitflags! {
    /// What is held against a unit although its registers say otherwise.
    ///
    /// For errata: the embedder knows the make of its machine, this crate does not.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub struct Quirks: u16 {
        /// It has no leaves of 2 MiB and 1 GiB: some units misbehave when the length of a walk changes
        /// under DMA.
        const HIDE_SUPERPAGES = 1 << 0;
        /// It cannot force snooping: the bit in leaves is reserved.
        const HIDE_SNOOP_CONTROL = 1 << 1;
        /// Its write buffer must be flushed (RWBF).
        const CLAIM_WRITE_BUFFER = 1 << 2;
        /// It invalidates whole domains only.
        const NO_PAGE_SELECTIVE = 1 << 3;
        /// Its table walks do not snoop.
        const CLAIM_NOT_COHERENT = 1 << 4;
        /// It caches what is not present (CM): what hypervisors that emulate a unit may forget to say.
        const CLAIM_CACHES_NOT_PRESENT = 1 << 5;
    }
}

/// The registers that say what a unit can do: VER, CAP and ECAP (sections 11.4.1 to 11.4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    version: u32,
    cap: u64,
    ecap: u64,
}

/// Where a field of a register is: its lowest bit, and how many it has.
type Field = (u32, u32);

const DOMAINS: Field = (0, 3);
const MAXIMUM_WIDTH: Field = (16, 6);
const FAULT_OFFSET: Field = (24, 10);
const FAULT_RECORDS: Field = (40, 8);
const MAXIMUM_MASK: Field = (48, 6);
const IOTLB_OFFSET: Field = (8, 10);
const MAXIMUM_INTERRUPT_MASK: Field = (20, 4);

const WRITE_BUFFER: u64 = 1 << 4;
const PROTECTS_MEMORY: u64 = 3 << 5;
const CACHING_MODE: u64 = 1 << 7;
const LEVELS_3: u64 = 1 << 9;
const LEVELS_4: u64 = 1 << 10;
const LEVELS_5: u64 = 1 << 11;
const LEAF_2M: u64 = 1 << 34;
const LEAF_1G: u64 = 1 << 35;
const PAGE_SELECTIVE: u64 = 1 << 39;
const WRITE_DRAIN: u64 = 1 << 54;
const READ_DRAIN: u64 = 1 << 55;

const COHERENT: u64 = 1 << 0;
const QUEUE: u64 = 1 << 1;
const INTERRUPTS: u64 = 1 << 3;
const EXTENDED_INTERRUPTS: u64 = 1 << 4;
const SNOOP_CONTROL: u64 = 1 << 7;

impl Capabilities {
    /// Reads them. `None`: nobody answers at this address, the registers are all ones or have no
    /// version.
    #[must_use]
    pub fn read(registers: &impl RegisterBlock) -> Option<Self> {
        let version = registers.read32(registers::VERSION);
        let cap = registers.read64(registers::CAPABILITY);
        let ecap = registers.read64(registers::EXTENDED_CAPABILITY);
        let absent = version == u32::MAX || cap == u64::MAX || ecap == u64::MAX;
        (!absent && version & 0xff != 0).then_some(Self { version, cap, ecap })
    }

    /// The words themselves: VER, CAP, ECAP.
    #[must_use]
    pub const fn words(&self) -> (u32, u64, u64) {
        (self.version, self.cap, self.ecap)
    }

    /// What the service has to know, but for what `quirks` say. Units do not know how wide addresses of
    /// the machine are: `host_address_bits` is what firmware says (DMAR, host address width).
    #[must_use]
    pub fn facts(&self, quirks: Quirks, host_address_bits: u8) -> UnitFacts {
        let said = [
            (self.ecap & COHERENT, UnitFeatures::COHERENT),
            (self.cap & CACHING_MODE, UnitFeatures::CACHES_NOT_PRESENT),
            (self.cap & WRITE_BUFFER, UnitFeatures::WRITE_BUFFER),
            (self.ecap & SNOOP_CONTROL, UnitFeatures::SNOOP_CONTROL),
            (self.cap & LEAF_2M, UnitFeatures::LEAF_2M),
            (self.cap & LEAF_1G, UnitFeatures::LEAF_1G),
            (self.cap & LEVELS_3, UnitFeatures::LEVELS_3),
            (self.cap & LEVELS_4, UnitFeatures::LEVELS_4),
            (self.cap & LEVELS_5, UnitFeatures::LEVELS_5),
        ];
        let mut features = UnitFeatures::empty();
        for (bit, feature) in said {
            features.set(feature, bit != 0);
        }
        for (quirk, hidden, claimed) in quirk_effects() {
            if quirks.contains(quirk) {
                features = features.difference(hidden).union(claimed);
            }
        }
        UnitFacts {
            format: FormatKind::VtdSecondStage,
            features,
            bus_address_bits: self.bus_address_bits(),
            host_address_bits,
            tags: self.tags(),
        }
    }

    /// MGAW: width of the addresses that devices may use, in bits.
    fn bus_address_bits(&self) -> u8 {
        field(self.cap, MAXIMUM_WIDTH).saturating_add(1).try_into().unwrap_or(u8::MAX)
    }

    /// ND: how many domains it tells apart.
    fn tags(&self) -> u32 {
        // 7 is reserved.
        let doubled = (field(self.cap, DOMAINS) as u32).min(6).saturating_mul(2);
        16u32.checked_shl(doubled).unwrap_or(0)
    }

    /// QI: it has a queue, without which this driver does not drive it.
    pub(super) const fn has_queue(&self) -> bool {
        self.ecap & QUEUE != 0
    }

    /// IR: it can remap interrupts.
    #[must_use]
    pub const fn remaps_interrupts(&self) -> bool {
        self.ecap & INTERRUPTS != 0
    }

    /// EIM: it can remap them to the 32-bit ids of the x2APIC.
    #[must_use]
    pub const fn remaps_to_x2apic(&self) -> bool {
        self.ecap & EXTENDED_INTERRUPTS != 0
    }

    /// DWD and DRD: it can drain writes, and reads.
    pub(super) const fn drains(&self) -> (bool, bool) {
        (self.cap & WRITE_DRAIN != 0, self.cap & READ_DRAIN != 0)
    }

    /// PSI and MAMV: the most pages that one invalidation names, as a power of two; `None`: it
    /// invalidates whole domains only.
    pub(super) fn page_selective(&self, quirks: Quirks) -> Option<u32> {
        let can = self.cap & PAGE_SELECTIVE != 0 && !quirks.contains(Quirks::NO_PAGE_SELECTIVE);
        can.then(|| field(self.cap, MAXIMUM_MASK) as u32)
    }

    /// PLMR and PHMR: it can protect memory from all DMA, and firmware may have had it do so.
    pub(super) const fn protects_memory(&self) -> bool {
        self.cap & PROTECTS_MEMORY != 0
    }

    /// FRO and NFR: where its fault records are, in bytes, and how many.
    pub(super) fn fault_records(&self) -> (usize, usize) {
        let offset = (field(self.cap, FAULT_OFFSET) as usize).saturating_mul(16);
        (offset, (field(self.cap, FAULT_RECORDS) as usize).saturating_add(1))
    }

    /// MHMV: the most entries of the table of interrupts that one invalidation names, as a power of two.
    pub(super) fn max_interrupt_mask(&self) -> u32 {
        field(self.ecap, MAXIMUM_INTERRUPT_MASK) as u32
    }

    /// IRO: where the registers are that invalidate the IOTLB, in bytes.
    pub(super) fn iotlb_registers(&self) -> usize {
        (field(self.ecap, IOTLB_OFFSET) as usize).saturating_mul(16)
    }
}

/// Each quirk with what it hides and what it claims.
const fn quirk_effects() -> [(Quirks, UnitFeatures, UnitFeatures); 5] {
    let none = UnitFeatures::empty();
    let superpages = UnitFeatures::LEAF_2M.union(UnitFeatures::LEAF_1G);
    [
        (Quirks::HIDE_SUPERPAGES, superpages, none),
        (Quirks::HIDE_SNOOP_CONTROL, UnitFeatures::SNOOP_CONTROL, none),
        (Quirks::CLAIM_WRITE_BUFFER, none, UnitFeatures::WRITE_BUFFER),
        (Quirks::CLAIM_NOT_COHERENT, UnitFeatures::COHERENT, none),
        (Quirks::CLAIM_CACHES_NOT_PRESENT, none, UnitFeatures::CACHES_NOT_PRESENT),
    ]
}

const fn field(word: u64, (lowest, bits): Field) -> u64 {
    // Fields are constants within 64 bits.
    word.wrapping_shr(lowest) & 1u64.wrapping_shl(bits).wrapping_sub(1)
}
