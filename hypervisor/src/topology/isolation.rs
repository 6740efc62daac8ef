//! Whether a function keeps requests from going from peer to peer.
//!
//! Both ways to group ask the same of a capability ([`Acs::isolates`](super::Acs::isolates)), and
//! both believe what vendors say. They differ in what no capability means, in whether a vendor can also say
//! that there is nothing where a capability is, and in what egress control does.

use super::{
    Function, Kind, Traits,
    node::Nodes,
    quirks::{self, Claim, Place},
};
use pviommu_abi::PciDevice;

/// The device and function number of an LPC bridge of Intel.
const LPC_BRIDGE: u8 = 0x1f << 3;

/// What is known of the machine besides functions.
#[derive(Clone, Copy)]
pub(super) struct Surroundings {
    /// Firmware describes AMD's units.
    pub(super) ivrs: bool,
}

impl Nodes<'_> {
    /// True if `node` sends all that it should send up, as far as anybody can tell.
    pub(super) fn isolates(&self, node: u32, around: Surroundings) -> bool {
        let Some(found) = self.get(node) else { return false };
        let function = &found.facts;
        let on_root_bus = self.above(node).is_none();
        if function.is_vouched_for() || (on_root_bus && function.is_host_bridge()) {
            return true;
        }
        let place = Place { multifunction: true, on_root_bus, ivrs: around.ivrs };
        match quirks::claim(function, place) {
            Some(Claim::Isolates) => return true,
            // All ones is what is read where nothing answers.
            Some(Claim::ChipsetPort)
                if self.chipset(function).is_some_and(|it| it != u32::MAX && is_enabled(it)) =>
            {
                return true;
            }
            _ if self.physical_is_vouched_for(function, around) => return true,
            _ => {}
        }
        match function.kind {
            Kind::RootPort
            | Kind::DownstreamPort
            | Kind::Endpoint
            | Kind::UpstreamPort
            | Kind::RootComplexEndpoint => {
                function.acs.isolates() && !function.acs.has_egress_control()
            }
            _ => false,
        }
    }

    /// True for a virtual function of a device of which the vendor says that its functions do not talk to
    /// each other.
    fn physical_is_vouched_for(&self, function: &Function, around: Surroundings) -> bool {
        // It is listed, and not virtual: `connect_virtual`.
        let physical = function.physical.filter(|_| function.is_virtual());
        let Some(node) = physical.and_then(|physical| self.find(physical)) else { return false };
        let Some(physical) = self.facts(node) else { return false };
        let on_root_bus = self.above(node).is_none();
        let place = Place { multifunction: true, on_root_bus, ivrs: around.ivrs };
        quirks::claim(physical, place) == Some(Claim::Isolates)
    }

    /// The same as Linux answers it: `pci_acs_enabled()`.
    pub(super) fn linux_isolates(&self, node: u32, around: Surroundings) -> bool {
        let Some(found) = self.get(node) else { return false };
        let function = &found.facts;
        let multifunction = is_linux_multifunction(function);
        let on_root_bus = self.above(node).is_none();
        let place = Place { multifunction, on_root_bus, ivrs: around.ivrs };
        match quirks::claim(function, place) {
            Some(Claim::Isolates) => return true,
            Some(Claim::Nothing) => return false,
            // A bridge that is not there answers a read with all ones.
            Some(Claim::ChipsetPort) => return self.chipset(function).is_none_or(is_enabled),
            None => {}
        }
        match function.kind {
            Kind::RootPort | Kind::DownstreamPort => function.acs.isolates(),
            Kind::Endpoint | Kind::UpstreamPort | Kind::RootComplexEndpoint => {
                !multifunction || function.acs.isolates()
            }
            _ => false,
        }
    }

    /// What the LPC bridge on the bus of a root port says of the chipset's registers.
    fn chipset(&self, port: &Function) -> Option<u32> {
        let bridge = PciDevice { devfn: LPC_BRIDGE, ..port.address };
        self.facts(self.find(bridge)?).map(|bridge| bridge.rcba)
    }
}

/// True if the chipset's registers could be reached, and so were set.
fn is_enabled(rcba: u32) -> bool {
    rcba & 1 != 0
}

/// Bit 7 of its own header, or a function number above 0.
pub(super) fn is_linux_multifunction(function: &Function) -> bool {
    !function.is_virtual()
        && (function.traits.contains(Traits::MULTIFUNCTION) || function.address.function() > 0)
}
