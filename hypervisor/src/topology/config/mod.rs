//! Facts of a function from the bytes of its configuration space.
//!
//! The bytes are not trusted, and there may be any number of them: what they do not show is left
//! unknown, and no list is followed longer than one without loops can be.
//!
//! * `space.rs`: registers, and lists of capabilities
//! * `memory.rs`: memory regions, and windows of bridges
//! * `sriov.rs`: virtual functions

mod memory;
mod space;
mod sriov;
#[cfg(test)]
mod tests;

use core::fmt;

use pviommu_abi::PciDevice;
use space::{Find, Space};
pub use sriov::{VirtualFunctions, virtual_functions};

use super::quirks::is_spt_root_port;
use super::{Acs, AcsBits, BusNumbers, Function, Identity, Kind, Traits};

/// Why bytes are not those of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// There are fewer than 64, and so no whole header.
    TooShort,
    /// They are all ones, as what is read where no function is.
    NoFunction,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "configuration space of fewer than 64 bytes",
            Self::NoFunction => "configuration space of ones: there is no function",
        })
    }
}

impl core::error::Error for ConfigError {}

/// Bytes of a header (PCIe 6.0, section 7.5.1).
const HEADER: usize = 0x40;

/// Capabilities (PCI Code and ID Assignment Specification 1.11, section 2).
mod capability {
    pub(super) const SUBSYSTEM: u8 = 0x0d;
    pub(super) const PCI_EXPRESS: u8 = 0x10;
}

/// Extended capabilities (the same, section 3).
mod extended {
    pub(super) const ACS: u16 = 0x000d;
    pub(super) const ARI: u16 = 0x000e;
    pub(super) const ATS: u16 = 0x000f;
}

impl Function {
    /// What the first `bytes` of the configuration space of the function at `address` show: 64, 256, 4096
    /// or any other number from 64 on.
    ///
    /// [`Kind::Unknown`] and [`Acs::Unknown`] are what they do not show, or not in order. A virtual
    /// function is known by ids that read as ones (PCIe 6.0, section 9.3.4.1): it gets
    /// [`Traits::VIRTUAL`], and those who know its physical function fill in that, its identity and its
    /// regions ([`virtual_functions`]). Which unit it is behind, whether it is
    /// [`Traits::EXTERNAL_FACING`] and in whose name it requests is never shown.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], if the bytes are too few or nobody's.
    pub fn from_config(address: PciDevice, bytes: &[u8]) -> Result<Self, ConfigError> {
        let header = bytes.get(..HEADER).ok_or(ConfigError::TooShort)?;
        if header.iter().all(|byte| *byte == u8::MAX) {
            return Err(ConfigError::NoFunction);
        }
        let space = Space::new(bytes);
        let express = space.capability(capability::PCI_EXPRESS);
        let mut function = Self {
            kind: kind(&space, express),
            phantom_bits: phantom_bits(&space, express),
            buses: buses(&space),
            identity: identity(&space),
            regions: memory::regions(&space),
            windows: memory::windows(&space),
            rcba: rcba(&space, address),
            ..Self::new(address)
        };
        function.acs = acs(&space, &function);
        function.traits = traits(&space, &function);
        Ok(function)
    }
}

/// PCI Express Capabilities Register (PCIe 6.0, section 7.5.3.2), Device/Port Type.
fn kind(space: &Space<'_>, express: Find) -> Kind {
    let at = match express {
        Find::At(at) => at,
        Find::Absent => return Kind::Conventional,
        Find::Unknown => return Kind::Unknown,
    };
    match space.word(at.saturating_add(2)).map(|register| register >> 4 & 0xf) {
        Some(0x0 | 0x1) => Kind::Endpoint,
        Some(0x4) => Kind::RootPort,
        Some(0x5) => Kind::UpstreamPort,
        Some(0x6) => Kind::DownstreamPort,
        Some(0x7) => Kind::PcieToPciBridge,
        Some(0x8) => Kind::PciToPcieBridge,
        Some(0x9) => Kind::RootComplexEndpoint,
        Some(0xa) => Kind::EventCollector,
        _ => Kind::Unknown,
    }
}

/// Device Capabilities Register (PCIe 6.0, section 7.5.3.3), Phantom Functions Supported.
fn phantom_bits(space: &Space<'_>, express: Find) -> u8 {
    let Find::At(at) = express else { return 0 };
    space.byte(at.saturating_add(4)).map_or(0, |register| register >> 3 & 3)
}

/// Of bridges to PCI and to CardBus, which have them in the same place (PCIe 6.0, section 7.5.1.3).
fn buses(space: &Space<'_>) -> Option<BusNumbers> {
    if !matches!(space.layout(), 1 | 2) {
        return None;
    }
    Some(BusNumbers { secondary: space.byte(0x19)?, subordinate: space.byte(0x1a)? })
}

fn identity(space: &Space<'_>) -> Identity {
    let word = |at| space.word(at).unwrap_or(0);
    let subsystem = match space.layout() {
        0 => Some(0x2c),
        // PCI-to-PCI Bridge Architecture Specification 1.2, section 3.2.5.13.
        1 => match space.capability(capability::SUBSYSTEM) {
            Find::At(at) => at.checked_add(4),
            Find::Absent | Find::Unknown => None,
        },
        2 => Some(0x40),
        _ => None,
    };
    let half = |at: Option<u16>| at.and_then(|at| space.word(at)).unwrap_or(0);
    Identity {
        vendor: word(0x00),
        device: word(0x02),
        subsystem_vendor: half(subsystem),
        subsystem_device: half(subsystem.and_then(|at| at.checked_add(2))),
        class: space.dword(0x08).unwrap_or(0) >> 8,
    }
}

fn traits(space: &Space<'_>, function: &Function) -> Traits {
    let mut traits = Traits::empty();
    traits.set(Traits::MULTIFUNCTION, space.byte(0x0e).is_some_and(|kind| kind & 0x80 != 0));
    // Only a virtual function has these, and something else that is not ones.
    let Identity { vendor, device, .. } = function.identity;
    traits.set(Traits::VIRTUAL, (vendor, device) == (u16::MAX, u16::MAX));
    traits.set(
        Traits::REGIONS_KNOWN,
        !traits.contains(Traits::VIRTUAL) && memory::shows_all_regions(space),
    );
    if function.kind.is_pcie() {
        let ari = space.extended(extended::ARI);
        traits.set(Traits::ARI, matches!(ari, Find::At(_)));
        traits.set(Traits::ATS, ats_is_on(space));
    }
    traits
}

/// ATS Control Register (PCIe 6.0, section 10.5.1.3), Enable.
fn ats_is_on(space: &Space<'_>) -> bool {
    let Find::At(at) = space.extended(extended::ATS) else { return false };
    space.word(at.saturating_add(6)).is_some_and(|control| control & 0x8000 != 0)
}

/// PCIe 6.0, section 7.7.11; registers of 32 bits where Intel made them so.
fn acs(space: &Space<'_>, function: &Function) -> Acs {
    match function.kind {
        Kind::Conventional => return Acs::Absent,
        Kind::Unknown => return Acs::Unknown,
        _ => {}
    }
    let at = match space.extended(extended::ACS) {
        Find::At(at) => at,
        Find::Absent => return Acs::Absent,
        Find::Unknown => return Acs::Unknown,
    };
    let control = if is_spt_root_port(function) { 8 } else { 6 };
    let bits = |offset| space.word(at.saturating_add(offset)).map(AcsBits::from_bits_truncate);
    match (bits(4), bits(control)) {
        (Some(capability), Some(control)) => Acs::Present { capability, control, at },
        _ => Acs::Unknown,
    }
}

/// Root Complex Base Address of Intel's chipsets up to the 9 series, in their LPC bridge.
fn rcba(space: &Space<'_>, address: PciDevice) -> u32 {
    const LPC: u8 = 0x1f << 3;
    const INTEL: u16 = 0x8086;
    match space.word(0) {
        Some(INTEL) if address.devfn == LPC => space.dword(0xf0).unwrap_or(0),
        _ => 0,
    }
}
