//! Where the specification leaves room, or cannot be relied on: what is assumed then.

use bitflags::bitflags;

bitflags! {
    /// Readings that make groups wider than the strict letter of the specification does. The
    /// default is all of them, as a cautious operator assumes; without one the fabric is milder,
    /// and never the other way round.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Assumptions: u16 {
        /// A PCI Express function without an ACS capability may do peer-to-peer with other
        /// functions of its device, and a root port without one may send requests back down.
        ///
        /// PCIe 6.12.1.2 has each function that can do it implement the capability. Devices older
        /// than that, or made without care, have none and are not to be told from those that need
        /// none. Off: such functions do none. A downstream port of a switch without the capability
        /// routes directly either way (6.12.1.1).
        const NO_CAPABILITY_MEANS_OPEN = 1 << 0;
        /// A function that lacks any of source validation, request redirect, completion redirect
        /// and upstream forwarding is open in all ways.
        ///
        /// The four protect each other: with a forged requester id, completions go astray, and a
        /// completion that is not redirected carries data past the IOMMU. Off: request redirect
        /// alone decides on other functions and ports, upstream forwarding alone on what is sent
        /// back down, a port without source validation lets pass the ids of what is below its
        /// siblings (a root port: of what is below itself), and completion redirect is for nothing.
        const ALL_OR_NOTHING = 1 << 1;
        /// Bridges and ports are targets: whoever is on or below a bus that is not isolated reaches
        /// the registers of the bridge above it.
        ///
        /// A bridge may have memory of its own (7.5.1.2.1), and no source says what it is for; what
        /// writes there may undo the isolation of others. Off: nothing is sent to bridges.
        const PORT_REGISTERS = 1 << 2;
        /// A function on the internal bus of a switch that is not a downstream port reaches all
        /// that is on and behind that bus.
        ///
        /// Access control is the ports' (6.12.1.1); on the bus between them there is none, and such
        /// functions, as the DMA engines and bridges inside of switches, are not said to have any.
        /// Off: their requests go up, as through a port that redirects.
        const INTERNAL_ENDPOINTS = 1 << 3;
        /// A downstream port that uses other requester ids than its own counts as one that does not
        /// isolate.
        ///
        /// Source validation (6.12.1.1) and the routing of completions go by the ids that a port
        /// has; one that speaks for others bypasses both. Off: only who has one of those ids is
        /// concerned.
        const ALIAS_ON_INTERNAL_BUS = 1 << 4;
        /// A phantom function whose number a real function has is used by both.
        ///
        /// The id is all that the IOMMU sees, and a device that announces the one may as well do so
        /// wrongly. Off: as PCIe 2.2.6.2 has it, only numbers that no function claims are used.
        const PHANTOM_COLLISION = 1 << 5;
        /// Bridges and ports send requests of their own, so that an open one reaches the other
        /// functions of its device even if nothing is below it.
        ///
        /// A port sends messages and interrupts at least, and nothing says that it has no engine
        /// that sends more. Off: they only pass on what others send.
        const BRIDGES_SEND = 1 << 6;
        /// What is tied to a bridge is tied to everything behind it: another function of its device
        /// reaches through it, what comes up through it reaches that function, and who shares its
        /// requester id has what is behind it.
        ///
        /// Functions of one device pass requests to each other inside of it, where nothing says
        /// that they end at the bridge's registers; and who speaks with the bridge's id is taken
        /// for what manages everything below. Off: the tie ends at the bridge itself.
        const INHERITED = 1 << 7;
        /// A port with egress control on routes directly whatever its vector does not name, even
        /// with request redirect on; a vector that is not known names nothing.
        ///
        /// PCIe 6.12.3: of the two, a bit of the vector that is clear wins. Off: egress control is
        /// not looked at.
        const EGRESS_CONTROL = 1 << 8;
        /// A function that its vendor's statement on isolation excludes (Zhaoxin's other ports,
        /// Wangxun's other devices) is open, whatever its capability says.
        ///
        /// The vendors list the parts of which they vouch. Off: the capability is believed.
        const VENDORS_DENIAL = 1 << 9;
        /// A bridge at which translation takes place (Cavium ThunderX2) is also a bridge of its
        /// kind: a conventional one lets everything behind it talk to each other.
        ///
        /// What passes between the ports below it is not told. Off: what is below it is on a root
        /// bus like any other.
        const TRANSLATION_ROOT_IS_A_BRIDGE = 1 << 10;
    }
}

impl Default for Assumptions {
    fn default() -> Self {
        Self::all()
    }
}
