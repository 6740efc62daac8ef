//! What is known of one PCI function: facts, in one flat record.
//!
//! Everything here can be read from configuration space (`config.rs`), but for what
//! firmware tables and the operator say. What is not known is said to be not known, and counts as
//! the worst there is.

use pviommu_abi::PciDevice;

use super::Acs;
use crate::platform::UnitId;

/// What a function is on PCI Express (PCIe 6.0, section 7.5.3.2, Device/Port Type).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Not known: as bad as [`Conventional`](Self::Conventional).
    Unknown,
    /// Conventional PCI: without a PCI Express capability.
    Conventional,
    /// An endpoint, legacy ones included.
    Endpoint,
    /// A port of the root complex.
    RootPort,
    /// The port of a switch towards the root.
    UpstreamPort,
    /// A port of a switch away from the root.
    DownstreamPort,
    /// A bridge from PCI Express to a conventional bus.
    PcieToPciBridge,
    /// A bridge from a conventional bus to PCI Express.
    PciToPcieBridge,
    /// An endpoint of the root complex.
    RootComplexEndpoint,
    /// An event collector of the root complex.
    EventCollector,
}

impl Kind {
    /// True if it has a PCI Express capability for certain.
    #[must_use]
    pub const fn is_pcie(self) -> bool {
        !matches!(self, Self::Unknown | Self::Conventional)
    }

    /// True for a port whose access control decides about what comes from below it.
    #[must_use]
    pub const fn is_egress_port(self) -> bool {
        matches!(self, Self::RootPort | Self::DownstreamPort)
    }
}

/// The bus numbers of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusNumbers {
    /// The bus right below it; 0 if it was never configured, and so has nothing below.
    pub secondary: u8,
    /// The last bus below it.
    pub subordinate: u8,
}

/// Bytes of the bus that a bridge forwards, or that a host bridge does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The first byte.
    pub first: u64,
    /// The last byte, not below `first`.
    pub last: u64,
}

/// What makers a function has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Vendor of the subsystem; 0 if there is none.
    pub subsystem_vendor: u16,
    /// Device of the subsystem; 0 if there is none.
    pub subsystem_device: u16,
    /// Class in bits 23 to 16, subclass in 15 to 8, programming interface in 7 to 0.
    pub class: u32,
}

bitflags::bitflags! {
    /// Yes-or-no facts of a function.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Traits: u16 {
        /// Bit 7 of the header type. Only `Mode::AsLinux` looks at it.
        const MULTIFUNCTION = 1 << 0;
        /// It has the ARI capability: function numbers have 8 bits, and the bus is one device.
        const ARI = 1 << 1;
        /// A virtual function of SR-IOV.
        const VIRTUAL = 1 << 2;
        /// A port to the outside of the machine (firmware: `ExternalFacingPort`).
        const EXTERNAL_FACING = 1 << 3;
        /// It may send requests that it has translated itself (ATS is switched on).
        const ATS = 1 << 4;
        /// The operator says that it isolates, whatever it says itself. The log is told, never silent.
        const VOUCHED = 1 << 5;
        /// Its registers for memory are known, all of them.
        const REGIONS_KNOWN = 1 << 6;
    }
}

/// Most memory regions (BARs) of a function.
pub const REGIONS: usize = 6;

/// Facts of one function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its number.
    pub address: PciDevice,
    /// What it is.
    pub kind: Kind,
    /// Bits of the function number that its phantom functions use, 0 to 3.
    pub phantom_bits: u8,
    /// Yes-or-no facts.
    pub traits: Traits,
    /// Of a bridge (header type 1).
    pub buses: Option<BusNumbers>,
    /// Access control services.
    pub acs: Acs,
    /// Who made it.
    pub identity: Identity,
    /// Of a virtual function: the physical one it belongs to.
    pub physical: Option<PciDevice>,
    /// The function in whose name all its requests are sent (the children of a VMD).
    pub requests_as: Option<PciDevice>,
    /// The unit that its requests go through; `None`: it is behind none and cannot be assigned.
    pub unit: Option<UnitId>,
    /// First byte of each of its memory regions; 0: there is none.
    pub regions: [u64; REGIONS],
    /// What it forwards downwards, if it is a bridge: memory, and prefetchable memory.
    pub windows: [Option<Window>; 2],
    /// The dword at f0h, of an Intel LPC bridge (device 1f.0) the address of its chipset registers.
    pub rcba: u32,
}

impl Function {
    /// A function of which nothing is known but its number, and that it is behind unit 0.
    #[must_use]
    pub const fn new(address: PciDevice) -> Self {
        Self {
            address,
            kind: Kind::Unknown,
            phantom_bits: 0,
            traits: Traits::empty(),
            buses: None,
            acs: Acs::Unknown,
            identity: Identity {
                vendor: 0,
                device: 0,
                subsystem_vendor: 0,
                subsystem_device: 0,
                class: 0,
            },
            physical: None,
            requests_as: None,
            unit: Some(UnitId(0)),
            regions: [0; REGIONS],
            windows: [None; 2],
            rcba: 0,
        }
    }

    /// The bus right below it, if it is a bridge that leads anywhere.
    #[must_use]
    pub fn secondary(&self) -> Option<u8> {
        self.buses.map(|buses| buses.secondary).filter(|secondary| *secondary != 0)
    }

    /// True for a virtual function.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        self.traits.contains(Traits::VIRTUAL)
    }

    /// True if it counts as isolating by the operator's word alone.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        self.traits.contains(Traits::VOUCHED)
    }

    /// True for a host bridge that is no PCI Express function: registers of the root complex, which
    /// send no requests.
    #[must_use]
    pub fn is_host_bridge(&self) -> bool {
        self.kind == Kind::Conventional
            && self.buses.is_none()
            && self.identity.class >> 8 == HOST_BRIDGE
    }

    /// Segment and bus as one number, the order of buses.
    pub(super) fn bus_key(&self) -> u32 {
        self.address.sbdf() >> 8
    }
}

/// Class and subclass of a host bridge.
const HOST_BRIDGE: u32 = 0x0600;
