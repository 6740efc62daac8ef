//! Device scopes: which devices a structure is about (section 8.3.1).

use pviommu_abi::PciDevice;

use super::super::{AcpiError, Facts, Problem, bytes::Bytes};

/// What a device scope names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScopeKind {
    /// A function.
    Endpoint,
    /// A bridge, and all that is below it.
    SubHierarchy,
    /// An I/O APIC; the enumeration id is its APIC id.
    Ioapic,
    /// A timer block that can send MSIs; the enumeration id is its HPET number.
    Hpet,
    /// A device of the ACPI name space; the enumeration id is that of its [`Andd`](super::Andd).
    Namespace,
    /// None of these.
    Other(u8),
}

/// A device scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope<'a> {
    /// What it names.
    pub kind: ScopeKind,
    /// Says which, of what is no PCI function.
    pub enumeration_id: u8,
    /// The bus that the path begins on.
    pub bus: u8,
    /// Device and function of each bridge on the way, and of what is named. Never empty.
    pub path: &'a [[u8; 2]],
    /// Where it is, in bytes from the begin of the table.
    pub offset: usize,
}

const KIND: usize = 0;
const LENGTH: usize = 1;
const ENUMERATION_ID: usize = 4;
const BUS: usize = 5;
const PATH: usize = 6;

impl<'a> Scope<'a> {
    /// The scope at the begin of `bytes`, and its length.
    fn read(bytes: Bytes<'a>) -> Result<(Self, usize), AcpiError> {
        let length = bytes.u8(LENGTH)?;
        let path = usize::from(length).checked_sub(PATH).filter(|path| *path > 0 && path % 2 == 0);
        if path.is_none() {
            return Err(bytes.error(LENGTH, Problem::ScopeLength(length)));
        }
        let length = usize::from(length);
        let scope = bytes.first(length)?;
        let kind = match scope.u8(KIND)? {
            1 => ScopeKind::Endpoint,
            2 => ScopeKind::SubHierarchy,
            3 => ScopeKind::Ioapic,
            4 => ScopeKind::Hpet,
            5 => ScopeKind::Namespace,
            other => ScopeKind::Other(other),
        };
        let steps = scope.after(PATH);
        let (path, _) = steps.as_slice().as_chunks::<2>();
        let beyond = |step: &&[u8; 2]| step[0] > 31 || step[1] > 7;
        // What is not known may have a path of its own kind.
        let known = !matches!(kind, ScopeKind::Other(_));
        if let Some([device, function]) = path.iter().find(beyond).filter(|_| known) {
            return Err(steps.error(0, Problem::Path(*device, *function)));
        }
        let (enumeration_id, bus) = (scope.u8(ENUMERATION_ID)?, scope.u8(BUS)?);
        Ok((Self { kind, enumeration_id, bus, path, offset: bytes.offset }, length))
    }

    /// The function that is named, of this segment; `None` if a bridge on the way is none, or leads
    /// nowhere.
    #[must_use]
    pub fn function(&self, segment: u16, facts: &Facts<'_>) -> Option<PciDevice> {
        let (last, bridges) = self.path.split_last()?;
        let mut bus = self.bus;
        for bridge in bridges {
            bus = facts(at(segment, bus, *bridge))?.secondary()?;
        }
        Some(at(segment, bus, *last))
    }

    /// True if `function` is the function that is named, of this segment, or below it if all that is
    /// below is meant.
    #[must_use]
    pub fn covers(&self, segment: u16, function: PciDevice, facts: &Facts<'_>) -> bool {
        if function.seg != segment || !self.is_of_pci() {
            return false;
        }
        let Some(named) = self.function(segment, facts) else { return false };
        if named == function {
            return true;
        }
        let bridge = facts(named).filter(|it| it.secondary().is_some());
        let below = bridge
            .and_then(|it| it.buses)
            .is_some_and(|buses| (buses.secondary..=buses.subordinate).contains(&function.bus));
        below && self.kind == ScopeKind::SubHierarchy
    }

    /// True if it names PCI functions.
    pub(super) fn is_of_pci(&self) -> bool {
        matches!(self.kind, ScopeKind::Endpoint | ScopeKind::SubHierarchy)
    }

    /// Where the path begins.
    pub(super) fn begin(&self, segment: u16) -> PciDevice {
        at(segment, self.bus, self.path.first().copied().unwrap_or_default())
    }

    /// True if both name the same, of one segment.
    pub(super) fn names_what(&self, other: &Scope<'_>) -> bool {
        let alike = self.kind == other.kind || self.is_of_pci() && other.is_of_pci();
        alike && (self.bus, self.path) == (other.bus, other.path)
    }
}

fn at(seg: u16, bus: u8, [device, function]: [u8; 2]) -> PciDevice {
    PciDevice::new(seg, bus, device, function)
}

/// The scopes of a structure. Ends behind the first error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scopes<'a>(pub(super) Bytes<'a>);

impl<'a> Iterator for Scopes<'a> {
    type Item = Result<Scope<'a>, AcpiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = Scope::read(self.0);
        let length = read.map_or(self.0.len(), |(_, length)| length);
        self.0 = self.0.after(length);
        Some(read.map(|(scope, _)| scope))
    }
}
