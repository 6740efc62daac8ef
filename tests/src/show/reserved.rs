//! The bus frames of an address space that have a use of their own.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::ReservedKind;
use serde::Serialize;

use crate::machine::{Config, UnitKind};
use crate::trace::{Header, RegionKind};

/// A reserved range of bus frames.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reserved {
    /// First bus frame.
    pub first: u64,
    /// Last bus frame.
    pub last: u64,
    /// The use.
    pub kind: &'static str,
    /// Who asks for it.
    pub by: Vec<String>,
    /// The service refuses to map anything there; if not, it is only told.
    pub enforced: bool,
}

impl Reserved {
    /// Number of bus frames.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Who asks for it, in a few words.
    #[must_use]
    pub fn asked_by(&self) -> String {
        const NAMED: usize = 3;
        let named = self.by.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        match self.by.len().saturating_sub(NAMED) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }
}

/// What the machine of a replay on these units reserves, and what the groups of `devices` do, from
/// low to high.
#[must_use]
pub(super) fn reserved(header: &Header, devices: &[PciDevice], units: UnitKind) -> Vec<Reserved> {
    let mut list: Vec<Reserved> = Vec::new();
    let mut add = |(first, last): (u64, u64), kind: &'static str, by: String| {
        let found = list.iter_mut().find(|r| (r.first, r.last, r.kind) == (first, last, kind));
        match found {
            Some(same) if same.by.contains(&by) => {}
            Some(same) => same.by.push(by),
            None => {
                let enforced = kind != RELAXABLE;
                list.push(Reserved { first, last, kind, by: vec![by], enforced });
            }
        }
    };
    for reserved in Config::default().on(units).reserved_by_machine() {
        let bounds = (reserved.range.first().0, reserved.range.last().0);
        add(bounds, name_of_machine_kind(reserved.kind), "the machine".to_owned());
    }
    for group in &header.groups {
        for device in devices.iter().filter(|device| group.members.contains(device)) {
            for region in &group.reserved {
                let bounds = (region.range.first >> 12, region.range.last >> 12);
                add(bounds, name(region.kind), device.to_string());
            }
        }
    }
    list.sort_by_key(|reserved| (reserved.first, reserved.last));
    list
}

const DIRECT: &str = "direct";
const RELAXABLE: &str = "direct-relaxable";
const RESERVED: &str = "reserved";
const MSI: &str = "msi";

const fn name(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Direct => DIRECT,
        RegionKind::DirectRelaxable => RELAXABLE,
        RegionKind::Reserved => RESERVED,
        RegionKind::Msi => MSI,
    }
}

const fn name_of_machine_kind(kind: ReservedKind) -> &'static str {
    match kind {
        ReservedKind::Direct => DIRECT,
        ReservedKind::DirectRelaxable => RELAXABLE,
        ReservedKind::Msi => MSI,
        _ => RESERVED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{ByteRange, Group, ReservedRegion};

    #[test]
    fn a_range_that_several_ask_for_is_listed_once() {
        let devices = [PciDevice::new(0, 0, 1, 0), PciDevice::new(0, 0, 2, 0)];
        let region = |first, last, kind| ReservedRegion { range: ByteRange { first, last }, kind };
        let msi = region(0xfee0_0000, 0xfeef_ffff, RegionKind::Msi);
        let isa = region(0, 0xff_ffff, RegionKind::DirectRelaxable);
        let group = |number, member, reserved| Group { number, members: vec![member], reserved };
        let header = Header {
            groups: vec![group(1, devices[0], vec![msi]), group(2, devices[1], vec![isa, msi])],
            ..Header::default()
        };
        let both = reserved(&header, &devices, UnitKind::Vtd);
        assert_eq!(both.len(), 2);
        assert_eq!((both[0].frames(), both[0].enforced), (4096, false));
        assert_eq!((both[1].frames(), both[1].enforced), (256, true));
        assert_eq!(both[1].asked_by(), format!("the machine, {}, {}", devices[0], devices[1]));
        let first = reserved(&header, &devices[..1], UnitKind::Vtd);
        assert_eq!(first.len(), 1, "what belongs to devices elsewhere is not reserved here");
        let amd = reserved(&header, &devices[..1], UnitKind::AmdVi);
        assert_eq!(amd.len(), 2, "and what is no memory on a machine with such units");
        assert_eq!((amd[1].first, amd[1].last, amd[1].enforced), (0xfd0_0000, 0xfff_ffff, true));
    }
}
