//! One function, from the bytes that choose what is known of it.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    platform::UnitId,
    topology::{Acs, AcsBits, BusNumbers, Function, Identity, Kind, REGIONS, Traits},
};

use super::input::{BRIDGE, Facts, NO_UNIT};

/// What a function can be; the number of each is what an input has.
pub(super) const KINDS: [Kind; 10] = [
    Kind::Endpoint,
    Kind::Unknown,
    Kind::Conventional,
    Kind::RootPort,
    Kind::UpstreamPort,
    Kind::DownstreamPort,
    Kind::PcieToPciBridge,
    Kind::PciToPcieBridge,
    Kind::RootComplexEndpoint,
    Kind::EventCollector,
];

/// Vendor, device and class of functions; all but the first few are in a table of the service's.
pub(super) const IDENTITIES: &[(u16, u16, u32)] = &[
    (0x1234, 0x1111, 0x02_0000),
    (0x1234, 0x1112, 0x06_0000), // a host bridge
    (0xffff, 0xffff, 0x02_0000),
    // Vendors that say something of access control.
    (0x8086, 0x1521, 0x02_0000),
    (0x8086, 0x1234, 0x02_0000),
    (0x8086, 0x1e10, 0x06_0400),
    (0x8086, 0x8c94, 0x06_0400),
    (0x8086, 0xa110, 0x06_0400),
    (0x1924, 0x0903, 0x02_0000),
    (0x177d, 0xa100, 0x06_0400),
    (0x177d, 0xa026, 0x02_0000),
    (0x14e4, 0x1760, 0x02_0000),
    (0x10e8, 0xe004, 0x06_0400),
    (0x1d17, 0x0710, 0x06_0400),
    (0x1d17, 0x0800, 0x06_0400),
    (0x8088, 0x1001, 0x02_0000),
    (0x8088, 0x0500, 0x02_0000),
    (0x1002, 0x4383, 0x0c_0500),
    (0x0014, 0x7a09, 0x06_0400),
    // Other ids than their own.
    (0x1180, 0xe832, 0x02_0000),
    (0x1b4b, 0x9230, 0x01_0601),
    (0x9005, 0x0285, 0x01_0400),
    (0x8086, 0x2260, 0x0b_4000),
    (0x8086, 0x2954, 0x12_0000),
    (0x10b5, 0x87b0, 0x06_8000),
    (0x11f8, 0x8531, 0x06_8000),
    // Bridges that are not what they look like, and translation roots.
    (0x1b21, 0x1080, 0x06_0401),
    (0x8086, 0x244e, 0x06_0401),
    (0x14e4, 0x9000, 0x06_0400),
    (0x14e4, 0x9084, 0x06_0400),
];

/// Device and function number of Intel's LPC bridges.
const LPC_BRIDGE: u8 = 0x1f << 3;

impl Facts {
    /// What it is.
    pub(super) fn kind_of(&self) -> Kind {
        KINDS[usize::from(self.kind & 0xf) % KINDS.len()]
    }

    /// True if it has the bits of `kind` that `bit` has.
    pub(super) fn has(&self, bit: u8) -> bool {
        self.kind & bit != 0
    }

    /// The function at `address`; who it is virtual of or sends for is left out.
    pub(super) fn function(&self, address: PciDevice) -> Function {
        let mut function = Function::new(address);
        function.kind = self.kind_of();
        function.phantom_bits = self.traits >> 6;
        function.traits = Traits::from_bits_truncate(u16::from(self.traits & 3));
        let moved = [(2, Traits::EXTERNAL_FACING), (3, Traits::ATS), (4, Traits::VOUCHED)];
        for (bit, it) in moved {
            function.traits.set(it, self.traits >> bit & 1 == 1);
        }
        function.unit = (self.traits & NO_UNIT == 0).then_some(UnitId(0));
        let bits = |byte: u8| AcsBits::from_bits_retain(u16::from(byte));
        function.acs = match self.acs % 3 {
            0 => Acs::Absent,
            1 => Acs::Unknown,
            _ => Acs::Present {
                capability: bits(self.capability),
                control: bits(self.control),
                at: if self.acs & 0x80 == 0 { 0x100 } else { 0 },
            },
        };
        let (vendor, device, class) = IDENTITIES[usize::from(self.identity) % IDENTITIES.len()];
        let (subsystem_vendor, subsystem_device) = (vendor, 0x02bb);
        function.identity = Identity { vendor, device, subsystem_vendor, subsystem_device, class };
        function.buses = self.buses();
        let [first, second] = self.regions;
        let bytes = |halves: u8| u64::from(halves) << 11;
        function.regions = [0; REGIONS];
        function.regions[0] = bytes(first);
        if address.devfn == LPC_BRIDGE {
            // Ones stay ones.
            function.rcba = i32::from(second as i8) as u32;
        } else {
            function.regions[1] = bytes(second);
        }
        function
    }

    /// Its bus numbers as they are written, if it is a bridge.
    pub(super) fn buses(&self) -> Option<BusNumbers> {
        let [secondary, subordinate] = self.buses;
        self.has(BRIDGE).then_some(BusNumbers { secondary, subordinate })
    }
}
