//! How units are told what to do: the words of their commands and entries, and the ring they are read from;
//! and what firmware says of them.

pub mod acpi;
#[cfg(feature = "amdvi")]
pub mod amdvi;
pub mod driver;
#[cfg(all(any(feature = "amdvi", feature = "vtd"), target_arch = "x86_64", not(loom)))]
mod owed;
pub mod queue;
#[cfg(all(feature = "vtd", target_arch = "x86_64", not(loom)))]
pub mod vtd;

pub use driver::{Driver, Drivers, Event};

/// A command as units read it: 128 bits, the low half first.
pub type Command = [u64; 2];
