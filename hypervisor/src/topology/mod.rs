//! Which PCI functions the IOMMU can keep apart: isolation groups.
//!
//! ```text
//!  configuration space      Function        Topology              groups
//!  firmware tables      ──► facts of   ──►  a tree of      ──►    who is with whom, and why
//!  the operator's word      each one        functions             what would part them
//! ```
//!
//! A group is the smallest set of functions that the IOMMU can tell apart and isolate from the rest:
//! one domain gets all of it or nothing. Whoever gets a function can have it reach everything else in
//! its group, or be taken for it, and no table of the IOMMU has a say in that.
//!
//! Facts of functions come from configuration space ([`Function::from_config`]), from firmware
//! ([`Firmware`], whose tables [`unit::acpi`](crate::unit::acpi) reads) and, at his own risk, from the
//! operator ([`Traits::VOUCHED`]). [`Topology::build`] refuses what cannot be. Everything lives in
//! memory that is lent, a [`Node`] for each function; nothing here touches hardware, takes a lock or
//! knows of domains.
//!
//! # From registers to devices
//!
//! ```
//! use pviommu_hypervisor::{
//!     Device, DeviceFacts,
//!     abi::PciDevice,
//!     platform::SourceId,
//!     topology::{BringUp, Firmware, Function, Mode, Node, Topology, enabling},
//! };
//!
//! # fn config_of(_: PciDevice) -> [u8; 256] {
//! #     let mut bytes = [0; 256];
//! #     bytes[..4].copy_from_slice(&[0x34, 0x12, 0x11, 0x11]);
//! #     bytes
//! # }
//! // Of each function that answers, what its configuration space says.
//! let mut nodes = Vec::new();
//! for address in [PciDevice::new(0, 0, 3, 0), PciDevice::new(0, 0, 3, 1)] {
//!     let function = Function::from_config(address, &config_of(address)).expect("it answered");
//!     for change in enabling(&function, BringUp::default()) {
//!         println!("write {change:?}, and read the facts again");
//!     }
//!     nodes.push(Node::new(function));
//! }
//! let count = nodes.len();
//! let topology = Topology::build(&mut nodes, count, Firmware::default(), Mode::Safe)
//!     .expect("there can be such a machine");
//!
//! // One device for all functions that move together, which gets the number of its group.
//! let first = PciDevice::new(0, 0, 3, 0);
//! let mut room = [SourceId(first); 16];
//! let ids = topology.ids_moving_with(first, &mut room).expect("there is room for all");
//! let group = topology.group_of(first).expect("it is listed");
//! let unit = topology.function(first).and_then(|it| it.unit).expect("it is behind one");
//! let device = Device::new(first, unit, &[])
//!     .with_aliases(ids.get(1..).unwrap_or_default()) // beside its own
//!     .with_group(group.number())
//!     .with_facts(DeviceFacts::INTERRUPTS_ISOLATED);
//! // Of a group with a function that is behind no unit: `beside_untranslated`.
//! assert!(group.is_translated());
//! assert_eq!(group.size(), 2, "two functions of a conventional device reach each other");
//! for tie in group.ties() {
//!     println!("{tie}");
//! }
//! # assert!(device.aliases().is_empty());
//! ```
//!
//! # What is taken for granted
//!
//! Groups are as safe as these are true:
//!
//! * *Between root ports there is no untranslated peer-to-peer*, nor between other devices on a root
//!   bus: the root complex sends what comes from one device to the IOMMU before it goes to another.
//!   Functions of one multifunction device are not *other devices*, root ports or not.
//! * *Devices obey their own access control.* A function whose capability says that it redirects, does.
//! * *There is no multicast*: no port has the multicast capability switched on.
//! * *Access control was switched on* ([`enabling`]) before the facts were read.
//! * *Vendors say the truth* about functions that do no peer-to-peer without a capability that says so, virtual
//!   functions of these among them.
//! * *Host bridge functions send nothing* to others of their slot: they are registers of the root complex.
//!
//! And these are assumed although they may not be so, because nobody can know:
//!
//! * A function of a multifunction device, a root port or a switch port *without the capability* lets
//!   requests through. So does one of which it is not known.
//! * A port that lacks *one* of the four controls lets through all that the others would stop. *Egress
//!   control*, where it is on, overrides redirection: its vector is not looked at.
//! * *Bridges have registers* that can be reached from the open bus below them, and so belong to its
//!   group. Nobody loses by that: they are not given to guests.
//! * An *endpoint inside a switch* reaches, and is reached by, all that is in it and below it.
//! * A port inside a switch that may use *ids of its neighbours* opens the switch.
//! * A root port of an Intel chipset without the capability isolates only where the *chipset's registers* are
//!   seen to be reachable.
//! * A *phantom function* may use the number of a real one.
//! * What is tied to a bridge reaches all that is *below* it.

mod acs;
mod build;
mod change;
mod config;
mod enable;
mod function;
mod groups;
mod ids;
mod interrupt_reason;
mod isolation;
mod linux;
mod merge;
mod msi;
mod node;
mod quirks;
mod reason;
mod regions;
mod remedy;
mod report;
mod safe;
mod sets;
#[cfg(test)]
mod tests;

pub use acs::{Acs, AcsBits};
pub use build::Contradiction;
pub use change::{Change, Plan};
pub use config::{ConfigError, VirtualFunctions, virtual_functions};
pub use enable::{BringUp, RegisterChange, RegisterSpace, enabling};
pub use function::{BusNumbers, Function, Identity, Kind, REGIONS, Traits, Window};
pub use groups::{Group, Tied};
pub use interrupt_reason::InterruptReason;
pub use merge::{MAX_RANGES, RangeList, TooManyRanges, frames_of, merge};
pub use msi::{HostBuses, Interrupts, MsiController, MsiKind, MsiPlatform, Place};
pub use node::Node;
pub use reason::Reason;
pub use regions::{DirectRange, HostWindow, PeerToPeer, RegionError, Regions};
pub use remedy::Remedy;

use pviommu_abi::PciDevice;

use crate::platform::SourceId;
use node::Nodes;

/// How groups are formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// So that nothing reaches anything of another group.
    #[default]
    Safe,
    /// As Linux forms them at boot: to compare with, not to rely on.
    AsLinux,
}

/// Requests of a function carry another id, firmware says (AMD 48882, IVHD entries with a source id).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdAlias {
    /// The function.
    pub function: PciDevice,
    /// The id.
    pub id: SourceId,
}

/// What firmware tables say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Firmware<'a> {
    /// Ids, in ascending order.
    pub aliases: &'a [IdAlias],
    /// Memory, in ascending order of where it begins; an entry for each function that uses it.
    pub direct: &'a [DirectRange],
    /// The machine has AMD's table of units, IVRS.
    pub amd_ivrs: bool,
}

/// The functions of a machine, and their groups.
#[derive(Debug)]
pub struct Topology<'a> {
    /// The first `count` are in use, in order.
    nodes: &'a mut [Node],
    count: usize,
    firmware: Firmware<'a>,
    mode: Mode,
}

impl<'a> Topology<'a> {
    /// The machine with the functions in the first `count` of `nodes`, in any order.
    ///
    /// # Errors
    /// [`Contradiction`] says what cannot be.
    pub fn build(
        nodes: &'a mut [Node],
        count: usize,
        firmware: Firmware<'a>,
        mode: Mode,
    ) -> Result<Self, Contradiction> {
        let room = nodes.len();
        if count > room {
            return Err(Contradiction::TooMany(room));
        }
        check(&firmware)?;
        let mut topology = Self { nodes, count, firmware, mode };
        topology.used().sort();
        topology.form()?;
        topology.functions().for_each(tell_override);
        Ok(topology)
    }

    /// Connects the functions, and forms their groups.
    fn form(&mut self) -> Result<(), Contradiction> {
        let (firmware, mode) = (self.firmware, self.mode);
        let mut nodes = self.used();
        nodes.connect()?;
        nodes.part();
        match mode {
            Mode::Safe => nodes.form_safe(&firmware),
            Mode::AsLinux => nodes.form_as_linux(&firmware),
        }
        nodes.list();
        Ok(())
    }

    /// What firmware says.
    #[must_use]
    pub fn firmware(&self) -> &Firmware<'a> {
        &self.firmware
    }

    fn used(&mut self) -> Nodes<'_> {
        Nodes(self.nodes.get_mut(..self.count).unwrap_or_default())
    }
}

/// An override of access control is never silent.
fn tell_override(function: &Function) {
    if function.is_vouched_for() {
        crate::report::warn!(
            "pviommu: {} counts as isolating by the operator's word alone",
            function.address
        );
    }
}

/// Lists of firmware are searched, and so have to be in order.
fn check(firmware: &Firmware<'_>) -> Result<(), Contradiction> {
    let aliases = firmware.aliases.windows(2).find_map(|pair| match pair {
        [one, two] if one.id.0.sbdf() > two.id.0.sbdf() => Some(two.function),
        _ => None,
    });
    let first = |range: &DirectRange| range.bytes.first;
    let direct = firmware.direct.windows(2).find_map(|pair| match pair {
        [one, two] if first(one) > first(two) => Some(two.function),
        _ => None,
    });
    aliases.or(direct).map_or(Ok(()), |function| Err(Contradiction::NotSorted(function)))
}
