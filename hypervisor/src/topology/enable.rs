//! Switching access control on at bring-up, and the redirection of peer-to-peer off and on again.
//!
//! As Linux and Xen do it for every function, and as Linux does it for the root ports of Intel's chipsets.
//! What is to be done is worked out here from facts; the embedder does it, and reads the facts again.

use core::fmt;

use pviommu_abi::PciDevice;

use super::quirks::{is_pch_root_port, is_spt_root_port};
use super::{Acs, AcsBits, Function, Traits};

/// Registers of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterSpace {
    /// Configuration space of this function.
    Config(PciDevice),
    /// Machine memory from this byte on, not cached.
    Memory(u64),
}

impl fmt::Display for RegisterSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(function) => write!(f, "the configuration space of {function}"),
            Self::Memory(first) => write!(f, "machine memory from {first:#x} on"),
        }
    }
}

/// A register to read, change and write back, if that makes a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterChange {
    /// Where registers are counted from.
    pub space: RegisterSpace,
    /// The first byte of the register.
    pub offset: u64,
    /// Its size in bytes, 2 or 4: it is read and written as a whole.
    pub bytes: u8,
    /// The bits to clear.
    pub clear: u32,
    /// The bits to set.
    pub set: u32,
    /// Nothing is to be done if the register of 4 bytes at this offset has all these bits set.
    pub unless: Option<(u64, u32)>,
}

/// What bring-up depends on besides the function itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BringUp {
    /// [`Function::rcba`] of device 1f.0 on the same bus; 0 if there is none.
    pub rcba: u32,
    /// A function below has ATS on, or is to have it: its translated requests must pass.
    pub ats_below: bool,
}

/// What a control register of ACS has where the specification puts it, and where Intel did.
const CONTROL: u64 = 6;
const SPT_CONTROL: u64 = 8;

/// Chipset registers of Intel, from the address in `rcba` on (Intel 6 Series Chipset and C200 Series Chipset
/// Datasheet, section 10.1; the bits that matter here are those that Linux names).
mod pch {
    /// Of `rcba`: it is decoded.
    pub(super) const ENABLED: u32 = 1;
    /// Of `rcba`: the address.
    pub(super) const ADDRESS: u32 = 0xffff_c000;
    /// Upstream Peer Decode Configuration Register.
    pub(super) const UPDCR: u64 = 0x1014;
    /// Of it: peers of each root port are decoded.
    pub(super) const PEERS: u32 = 0x3f;
    /// Backbone Scratch Pad Register.
    pub(super) const BSPR: u64 = 0x1104;
    /// Of it: posted and non-posted cycles between peers are disabled.
    pub(super) const NO_PEERS: u32 = 1 << 9 | 1 << 8;
    /// Miscellaneous Port Configuration Register, of a root port.
    pub(super) const MPC: u64 = 0xd8;
    /// Of it: requests with bus number 0 that are none of the port's are refused (IRBNCE).
    pub(super) const CHECK_BUS_NUMBERS: u32 = 1 << 26;
}

/// What switches the access control of `function` on: source validation, redirection of requests and
/// completions and upstream forwarding, as far as it has them, and translation blocking where no function below
/// uses ATS or the port leads out of the machine. Bits that firmware set stay.
///
/// They are to be made in this order, before any device may do DMA. A root port of a chipset without ACS has
/// two; if the first cannot be made, its chipset counts as one without registers ([`Function::rcba`] 0).
/// Nothing comes of a function whose capability is not known, or not where.
pub fn enabling(
    function: &Function,
    around: BringUp,
) -> impl Iterator<Item = RegisterChange> + use<> {
    let [decode, check] = chipset(function, around.rcba);
    [decode, check, standard(function, around)].into_iter().flatten()
}

/// PCIe 6.0, section 7.7.11.3.
fn standard(function: &Function, around: BringUp) -> Option<RegisterChange> {
    let Acs::Present { capability, control, .. } = function.acs else { return None };
    let mut wanted = AcsBits::ISOLATION;
    let ats = around.ats_below || function.traits.contains(Traits::ATS);
    if !ats || function.traits.contains(Traits::EXTERNAL_FACING) {
        wanted |= AcsBits::TRANSLATION_BLOCKING;
    }
    let missing = (wanted & capability).difference(control);
    let change = control_register(function, AcsBits::empty(), missing)?;
    (!missing.is_empty()).then_some(change)
}

/// Root ports of Intel without the capability: no peer is decoded, and bus numbers are checked.
fn chipset(port: &Function, rcba: u32) -> [Option<RegisterChange>; 2] {
    // Ones are what is read where nothing answers.
    if !is_pch_root_port(port) || rcba & pch::ENABLED == 0 || rcba == u32::MAX {
        return [None; 2];
    }
    let decode = RegisterChange {
        space: RegisterSpace::Memory(u64::from(rcba & pch::ADDRESS)),
        offset: pch::UPDCR,
        bytes: 4,
        clear: pch::PEERS,
        set: 0,
        unless: Some((pch::BSPR, pch::NO_PEERS)),
    };
    let check = RegisterChange {
        space: RegisterSpace::Config(port.address),
        offset: pch::MPC,
        bytes: 4,
        clear: 0,
        set: pch::CHECK_BUS_NUMBERS,
        unless: None,
    };
    [Some(decode), Some(check)]
}

/// The control of a root port or a downstream port when peer-to-peer between what is below it and its neighbours
/// goes straight, or is redirected: requests and completions, and without control by a vector of ports, which would
/// override that. All else stays.
///
/// `None`: it is no such port, or has nothing that could be switched.
pub(super) fn redirection(port: &Function, on: bool) -> Option<AcsBits> {
    let Acs::Present { capability, control, .. } = port.acs else { return None };
    let has = AcsBits::PEER_TO_PEER & capability;
    let set = if on { has.difference(AcsBits::EGRESS_CONTROL) } else { AcsBits::empty() };
    let switched = port.kind.is_egress_port() && !(if on { set } else { has }).is_empty();
    switched.then_some(control.difference(has) | set)
}

/// A change of the control register, if it is known where that is.
pub(super) fn control_register(
    function: &Function,
    clear: AcsBits,
    set: AcsBits,
) -> Option<RegisterChange> {
    let Acs::Present { at, .. } = function.acs else { return None };
    let (offset, bytes) = if is_spt_root_port(function) { (SPT_CONTROL, 4) } else { (CONTROL, 2) };
    (at != 0).then_some(RegisterChange {
        space: RegisterSpace::Config(function.address),
        offset: u64::from(at).saturating_add(offset),
        bytes,
        clear: clear.bits().into(),
        set: set.bits().into(),
        unless: None,
    })
}

#[cfg(test)]
mod tests;
