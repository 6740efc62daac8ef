//! The platform of the service: a table of functions that C provides, and the traits of
//! [`pviommu_hypervisor::platform`] on top of it.
//!
//! A function that is missing, or answers what means nothing, is taken for the answer that permits least.

mod frames;
mod hardware;
mod host;
mod pages;
mod table;

pub(crate) use host::Host;
pub use host::{HostTable, Operation};
pub(crate) use pages::push;
pub use pages::{Acquired, InitialPiece, RunOf, WantedPages};
pub use table::{DomainRef, PlatformTable};

use core::ffi::{c_int, c_void};

use crate::unit::DrivenUnit;

/// What the service runs on: the embedder's functions, and the units that are driven here.
#[derive(Debug)]
pub(crate) struct Embedder {
    pub(crate) calls: PlatformTable,
    pub(crate) context: *mut c_void,
    /// By their number; `None` are driven by callbacks.
    pub(crate) units: &'static [Option<&'static DrivenUnit>],
}

/// True if a callback says that it did what it was asked.
fn done(status: c_int) -> bool {
    status == 0
}
