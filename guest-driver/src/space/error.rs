//! Why a device was given no room, or a buffer no bus address.

use core::fmt;

use crate::bfn::BfnError;
use crate::error::{Error, MapError};
use crate::extensions::ReservedError;

/// Why a [`DeviceSpace`](super::DeviceSpace) could not be made, or not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceError {
    /// What the context can hold was not told.
    Limits(Error),
    /// Which of its bus frames are reserved was not told.
    Reserved(ReservedError),
    /// No bus frame is within both the context's aperture and the device's reach.
    OutOfReach {
        /// The greatest byte address the device can put on the bus.
        reach: u64,
    },
    /// No range of bus frames could be taken, or given back.
    Bfns(BfnError),
    /// No guest frame holds this page of the buffer.
    NoFrame {
        /// Which page, from 0 on.
        page: u32,
    },
    /// The hypervisor did not map the pages.
    Map(MapError),
    /// The hypervisor did not unmap pages. Devices may go on reaching them, now or later, so nobody
    /// must ever use them for anything else.
    StillMapped(MapError),
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits(cause) => write!(f, "limits of the context: {cause}"),
            Self::Reserved(cause) => write!(f, "reserved ranges of the context: {cause}"),
            Self::OutOfReach { reach } => {
                write!(f, "a device that reaches {reach:#x} has no bus frame in this context")
            }
            Self::Bfns(cause) => cause.fmt(f),
            Self::NoFrame { page } => write!(f, "page {page} of the buffer is in no guest frame"),
            Self::Map(cause) => write!(f, "not mapped: {cause}"),
            Self::StillMapped(cause) => write!(f, "maybe still mapped: {cause}"),
        }
    }
}

impl core::error::Error for SpaceError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Limits(cause) => Some(cause),
            Self::Reserved(cause) => Some(cause),
            Self::Bfns(cause) => Some(cause),
            Self::Map(cause) | Self::StillMapped(cause) => Some(cause),
            Self::OutOfReach { .. } | Self::NoFrame { .. } => None,
        }
    }
}

impl From<BfnError> for SpaceError {
    fn from(cause: BfnError) -> Self {
        Self::Bfns(cause)
    }
}

impl From<MapError> for SpaceError {
    fn from(cause: MapError) -> Self {
        Self::Map(cause)
    }
}
