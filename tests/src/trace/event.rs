//! What a trace tells of an IOMMU: one event a line, in checked types.

use pviommu_abi::PciDevice;

use super::record::Told;

bitflags::bitflags! {
    /// The permissions of a mapping, as Linux passes them to its IOMMU driver.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Prot: u8 {
        /// `r`: the device may read.
        const READ = 1 << 0;
        /// `w`: the device may write.
        const WRITE = 1 << 1;
        /// `c`: cache coherent.
        const CACHE = 1 << 2;
        /// `n`: no execution.
        const NOEXEC = 1 << 3;
        /// `m`: device registers.
        const MMIO = 1 << 4;
        /// `p`: privileged.
        const PRIVILEGED = 1 << 5;
    }
}

/// The trace's number of a Linux IOMMU domain: one address space. Never reused.
pub type DomainId = u64;

/// One line of a trace that an interface of maps and unmaps sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Number of its line in the file, from 1 on.
    pub line: u64,
    /// Nanoseconds since the first event; never runs backwards.
    pub ns: u64,
    /// The CPU it happened on.
    pub cpu: u32,
    /// What happened.
    pub op: Op,
}

/// What happened: the operation letters of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// `M`: consecutive pages were mapped.
    Map(Map),
    /// `U`: a range was unmapped.
    Unmap(Unmap),
    /// `P`: the end of a batch of maps in this domain.
    MapBatch(DomainId),
    /// `S`: the end of a batch of unmaps in this domain: the IOTLB was synchronised.
    Sync(DomainId),
    /// `A`: the whole IOTLB of this domain was flushed.
    FlushAll(DomainId),
    /// `D`: a device was attached to a domain.
    Attach(Attach),
    /// `X`: a domain was freed.
    Free(DomainId),
    /// `G`: a device was added to a group.
    Arrive(PciDevice),
    /// `R`: a device was removed from its group, and so from its domain.
    Leave(PciDevice),
}

/// `size` bytes at bus address `iova` stand for those at guest physical address `paddr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Map {
    /// The address space.
    pub domain: DomainId,
    /// First bus address, at a page boundary.
    pub iova: u64,
    /// First guest physical address, at a page boundary.
    pub paddr: u64,
    /// Bytes: whole pages, at least one. Neither range wraps around.
    pub size: u64,
    /// What the device may do.
    pub prot: Prot,
}

/// A range of bus addresses stands for nothing any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unmap {
    /// The address space.
    pub domain: DomainId,
    /// First bus address, at a page boundary.
    pub iova: u64,
    /// Bytes the kernel asked to unmap: whole pages, at least one.
    pub size: u64,
    /// Bytes the kernel's driver says it unmapped: whole pages, perhaps none.
    pub unmapped: u64,
}

/// A device now translates through a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attach {
    /// The address space.
    pub domain: DomainId,
    /// How the domain translates.
    pub kind: DomainType,
    /// The PCI function.
    pub device: PciDevice,
}

/// The types of Linux IOMMU domains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DomainType {
    /// `DMA`: the kernel's DMA API, each unmap invalidated at once.
    Dma,
    /// `DMA-FQ`: the same with a flush queue.
    DmaLazy,
    /// `UNMANAGED`: somebody else's, such as VFIO.
    Unmanaged,
    /// `IDENTITY`: no translation.
    Identity,
    /// `BLOCKED`: no DMA.
    Blocked,
}

impl DomainType {
    /// True if DMA goes through a table that the kernel fills by maps.
    #[must_use]
    pub fn translates(self) -> bool {
        matches!(self, Self::Dma | Self::DmaLazy | Self::Unmanaged)
    }
}

/// How many lines of each kind a trace has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// All lines that are events.
    pub lines: u64,
    /// `M`.
    pub maps: u64,
    /// `U`.
    pub unmaps: u64,
    /// `P`.
    pub map_batches: u64,
    /// `S`.
    pub syncs: u64,
    /// `A`.
    pub flushes: u64,
    /// `D`.
    pub attaches: u64,
    /// `X`.
    pub frees: u64,
    /// `G`.
    pub arrivals: u64,
    /// `R`.
    pub departures: u64,
    /// `#`.
    pub marks: u64,
    /// All lines of the DMA API.
    pub dma_api: u64,
}

impl Counts {
    pub(super) fn add(&mut self, told: &Told) {
        self.lines += 1;
        let op = match told {
            Told::Event(op) => op,
            Told::Dma(_) => {
                self.dma_api += 1;
                return;
            }
            Told::Mark => {
                self.marks += 1;
                return;
            }
        };
        *match op {
            Op::Map(_) => &mut self.maps,
            Op::Unmap(_) => &mut self.unmaps,
            Op::MapBatch(_) => &mut self.map_batches,
            Op::Sync(_) => &mut self.syncs,
            Op::FlushAll(_) => &mut self.flushes,
            Op::Attach(_) => &mut self.attaches,
            Op::Free(_) => &mut self.frees,
            Op::Arrive(_) => &mut self.arrivals,
            Op::Leave(_) => &mut self.departures,
        } += 1;
    }
}
