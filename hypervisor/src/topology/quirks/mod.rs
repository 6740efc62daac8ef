//! What devices do that their configuration space does not tell: tables, and who is in them.
//!
//! * `acs.rs`: what a vendor says of the access control of its functions
//! * `alias.rs`: whose name the requests of a function may carry
//! * `intel.rs`: root ports whose access control is not where the specification puts it
//! * `devfn.rs`: a set of numbers of one bus
//! * `ids.rs`: how the tables write device ids
//!
//! The facts are those of Linux (drivers/pci/quirks.c), where vendors declare them.

mod acs;
mod alias;
mod devfn;
mod ids;
mod intel;
#[cfg(test)]
mod tests;

pub(super) use acs::{Claim, Place, claim};
pub(super) use alias::{aliases, hides_pcie, is_translation_root, may_use_any_id, phantoms};
pub(super) use devfn::DevfnSet;
pub(super) use intel::{is_pch_root_port, is_spt_root_port};
