//! What a driver asked the DMA API of its kernel for: lists, buffers of any size, coherent memory.

use pviommu_abi::PciDevice;

/// One call of the DMA API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DmaEvent {
    /// Number of its line in the file, from 1 on.
    pub line: u64,
    /// Nanoseconds since the first event.
    pub ns: u64,
    /// The CPU it was made on.
    pub cpu: u32,
    /// For whom, and what.
    pub call: DmaCall,
}

/// A call: the PCI function whose driver made it, the direction it named, and the rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DmaCall {
    /// The PCI function.
    pub device: PciDevice,
    /// Which way data goes.
    pub direction: DmaDirection,
    /// What was asked for.
    pub what: DmaOp,
}

/// Which way data goes between memory and a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DmaDirection {
    /// `T`: the device reads memory.
    ToDevice,
    /// `F`: the device writes memory.
    FromDevice,
    /// `B`: both.
    Both,
}

/// What was asked for: the operation letters of the format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DmaOp {
    /// `m`, `mr`: one buffer was mapped.
    Map(DmaBuffer),
    /// `u`, `ur`: one buffer was unmapped, some time after its `U`.
    Unmap(DmaRange),
    /// `g`: a scatter list was mapped.
    MapList(DmaList),
    /// `h`: a scatter list is going to be unmapped.
    UnmapList(DmaListEnd),
    /// `a`, `ap`, `as`: coherent memory was allocated and mapped; the line does not tell where it lies.
    Allocate(DmaRange),
    /// `f`, `fp`, `fs`: coherent memory is going to be unmapped and freed; perhaps none.
    Free(DmaRange),
}

/// Bytes as the device addresses them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaRange {
    /// First bus address, anywhere in a page.
    pub bus: u64,
    /// Bytes. The range does not wrap around.
    pub size: u64,
}

/// Bytes as the device and as the CPU address them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaBuffer {
    /// As the device does.
    pub bus: DmaRange,
    /// First guest physical address; the range ends below 2^52.
    pub memory: u64,
}

/// A scatter list as it was mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DmaList {
    /// Pieces of memory.
    pub pieces: u64,
    /// Ranges that they became.
    pub entries: u64,
    /// The ranges, as many as the line holds.
    pub bus: Box<[DmaRange]>,
    /// Where the pieces begin, guest physical, as many as the line holds, but at least one.
    pub memory: Box<[u64]>,
}

/// A scatter list as it is named when it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaListEnd {
    /// Pieces of memory.
    pub pieces: u64,
    /// Where the first begins, guest physical.
    pub memory: u64,
}
