//! Virtual functions of a function (PCIe 6.0, section 9.3.3).

use pviommu_abi::PciDevice;

use super::capability;
use super::space::{Find, Space};

/// Single Root I/O Virtualization.
const SRIOV: u16 = 0x0010;

/// The virtual functions that a physical function has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtualFunctions {
    /// How far the number of the first one is from that of the physical function.
    pub first: u16,
    /// How far apart they are.
    pub stride: u16,
    /// How many there are (NumVFs), if they are enabled.
    pub count: u16,
    /// They are there (VF Enable).
    pub enabled: bool,
    /// Their device id; their vendor is that of the physical function.
    pub device: u16,
}

/// What `bytes` of the configuration space of a physical function say of its virtual functions; `None` if it
/// has no such capability, or the bytes do not show it.
#[must_use]
pub fn virtual_functions(bytes: &[u8]) -> Option<VirtualFunctions> {
    let space = Space::new(bytes);
    let (Find::At(_), Find::At(at)) =
        (space.capability(capability::PCI_EXPRESS), space.extended(SRIOV))
    else {
        return None;
    };
    let word = |offset| space.word(at.checked_add(offset)?);
    Some(VirtualFunctions {
        first: word(0x14)?,
        stride: word(0x16)?,
        count: word(0x10)?,
        enabled: word(0x08)? & 1 != 0,
        device: word(0x1a)?,
    })
}

impl VirtualFunctions {
    /// The numbers of those that are there, which may be on later buses than `physical`. Sums of bus, device
    /// and function wrap within their 16 bits, as functions reckon.
    pub fn addresses(self, physical: PciDevice) -> impl Iterator<Item = PciDevice> {
        let start =
            (u16::from(physical.bus) << 8 | u16::from(physical.devfn)).wrapping_add(self.first);
        let count = if self.enabled { self.count } else { 0 };
        (0..count).map(move |number| {
            let id = start.wrapping_add(number.wrapping_mul(self.stride));
            let [bus, devfn] = id.to_be_bytes();
            PciDevice { seg: physical.seg, bus, devfn }
        })
    }
}
