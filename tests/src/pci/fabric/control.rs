//! Which of a function's own peer-to-peer controls are missing.

use bitflags::bitflags;

use super::assumptions::Assumptions;
use super::config;
use super::vendors::{self, Statement};
use crate::pci::{Capture, Captured, Kind};

bitflags! {
    /// Controls that a function could need and does not have on, at their places in the ACS
    /// capability and control registers (PCIe 6.12, ACS Extended Capability).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Missing: u16 {
        /// Requests that come in bear any requester id.
        const SOURCE_VALIDATION = 1 << 0;
        /// Requests go to peers without passing the root.
        const REQUEST_REDIRECT = 1 << 2;
        /// So do completions.
        const COMPLETION_REDIRECT = 1 << 3;
        /// What comes in for where it came from is sent back down.
        const UPSTREAM_FORWARDING = 1 << 4;
    }
}

/// Egress control, in both registers.
const EGRESS_CONTROL: u16 = 1 << 5;

impl Missing {
    /// Of `function`, as one of several in a device or as a port; one that is alone in its device
    /// needs no control of its own.
    pub(super) fn of(function: &Captured, capture: &Capture, assumptions: Assumptions) -> Self {
        match vendors::statement(function, capture) {
            Some(Statement::Isolated) => return Self::empty(),
            Some(Statement::Denied) if assumptions.contains(Assumptions::VENDORS_DENIAL) => {
                return Self::all();
            }
            Some(Statement::Denied) | None => {}
        }
        if function.virtual_function && vouched_by_physical(function, capture) {
            return Self::empty();
        }
        let absent = || match function.kind {
            // A switch is made to route between its ports.
            Some(Kind::Downstream) => Self::all(),
            _ if assumptions.contains(Assumptions::NO_CAPABILITY_MEANS_OPEN) => Self::all(),
            _ => Self::empty(),
        };
        match function.kind {
            // The capability is one of PCI Express.
            None | Some(Kind::Conventional) => Self::all(),
            _ if !function.acs_is_known => Self::all(),
            // None of these has one by which it could be told.
            Some(Kind::PcieToPci | Kind::PciToPcie | Kind::EventCollector) => absent(),
            Some(_) => match registers(function) {
                None => absent(),
                Some((capability, control)) => {
                    Self::by_registers(function, capability, control, assumptions)
                }
            },
        }
    }

    /// A bit that the capability does not have is for something the function cannot do.
    fn by_registers(
        function: &Captured,
        capability: u16,
        control: u16,
        assumptions: Assumptions,
    ) -> Self {
        let mut missing = Self::from_bits_truncate(capability & !control);
        let egress = capability & control & EGRESS_CONTROL != 0;
        if egress
            && assumptions.contains(Assumptions::EGRESS_CONTROL)
            && !names_all_ports(function, capability)
        {
            missing |= Self::REQUEST_REDIRECT;
        }
        missing
    }

    /// Requests go to other functions of the device, or to other ports of the switch.
    pub(super) fn lets_to_peers(self, assumptions: Assumptions) -> bool {
        self.any_of(Self::REQUEST_REDIRECT, assumptions)
    }

    /// Requests are sent back to where they came from.
    pub(super) fn reflects(self, assumptions: Assumptions) -> bool {
        self.any_of(Self::UPSTREAM_FORWARDING, assumptions)
    }

    /// Forged requester ids pass, and that is not counted as open in all ways anyhow.
    pub(super) fn lets_forge(self, assumptions: Assumptions) -> bool {
        !assumptions.contains(Assumptions::ALL_OR_NOTHING) && self.contains(Self::SOURCE_VALIDATION)
    }

    fn any_of(self, needed: Self, assumptions: Assumptions) -> bool {
        if assumptions.contains(Assumptions::ALL_OR_NOTHING) {
            !self.is_empty()
        } else {
            self.intersects(needed)
        }
    }
}

/// The vendor vouches for a device: its virtual functions are part of it.
fn vouched_by_physical(function: &Captured, capture: &Capture) -> bool {
    let physical = capture.functions.iter().find(|other| Some(other.name) == function.physical);
    let statement = physical.and_then(|physical| vendors::statement(physical, capture));
    matches!(statement, Some(Statement::Isolated))
}

/// Capability and control, from where the function really has them.
fn registers(function: &Captured) -> Option<(u16, u16)> {
    if vendors::has_acs_in_dwords(function) {
        return config::acs_in_dwords(function).or(function.acs);
    }
    function.acs
}

/// The egress control vector is known to have the bit of every port set.
fn names_all_ports(function: &Captured, capability: u16) -> bool {
    let size = u32::from(capability >> 8);
    let Some(vector) = config::egress_vector(function) else { return false };
    (1..=32).contains(&size) && vector.trailing_ones() >= size
}
