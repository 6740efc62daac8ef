//! Why there is no DMA, and what to do about it.

use core::fmt;

use crate::bfn::BfnError;
use crate::error::{Error, MapError};
use crate::extensions::ReservedError;

/// Why a space or a device could not be had, or a buffer not be mapped or unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DmaError {
    /// This hypervisor has no paravirtual IOMMU. Devices use guest addresses, or whatever else
    /// translates them.
    NoService(Error),
    /// No context could be allocated.
    Context(Error),
    /// What the context can hold was not told.
    Limits(Error),
    /// Which bus frames are reserved was not told.
    Reserved(ReservedError),
    /// The device was not attached, or not detached.
    Attach(Error),
    /// No bus frame is within both the context's aperture and the device's mask.
    OutOfReach {
        /// The greatest byte address the device can put on the bus.
        mask: u64,
    },
    /// The buffer has no byte, or a piece of it wraps around, or it has more than 2^32 - 1 pages, or
    /// it was another one when it was looked at again.
    Buffer,
    /// No range of bus frames could be taken, or given back.
    Bfns(BfnError),
    /// The hypervisor did not map the pages.
    Map(MapError),
    /// The hypervisor did not unmap pages. Devices may go on reaching them, now or later, so nobody
    /// must ever use them for anything else.
    StillMapped(MapError),
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same again a little later. Calls were repeated already, up to a bound.
    Repeat,
    /// Unmap something first, or ask for less.
    UnmapFirst,
    /// Nothing: the call is wrong, or not allowed. A change of the driver or of the machine's set-up
    /// helps.
    Correct,
    /// Do without: it is not there.
    DoWithout,
    /// Reset the device: what it can reach is not known any longer.
    ResetDevice,
}

impl DmaError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        let cause = match self {
            Self::NoService(_) => return Remedy::DoWithout,
            Self::StillMapped(_) => return Remedy::ResetDevice,
            Self::OutOfReach { .. } | Self::Buffer => return Remedy::Correct,
            Self::Bfns(BfnError::NoRoom { .. } | BfnError::TooManyRanges { .. }) => {
                return Remedy::UnmapFirst;
            }
            Self::Bfns(_) => return Remedy::Correct,
            Self::Context(cause) | Self::Limits(cause) | Self::Attach(cause) => cause,
            Self::Reserved(error) => &error.cause,
            Self::Map(error) => &error.cause,
        };
        match cause {
            Error::Retry(_) => Remedy::Repeat,
            Error::Exhausted(_) => Remedy::UnmapFirst,
            Error::Refused(_) => Remedy::Correct,
            Error::NotAvailable(_) => Remedy::DoWithout,
            Error::Failed(_) | Error::BadReply(_) => Remedy::ResetDevice,
        }
    }
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService(cause) => write!(f, "this hypervisor has no PV-IOMMU ({cause})"),
            Self::Context(cause) => write!(f, "no context: {cause}"),
            Self::Limits(cause) => write!(f, "limits of the context: {cause}"),
            Self::Reserved(cause) => write!(f, "reserved ranges: {cause}"),
            Self::Attach(cause) => write!(f, "device not moved: {cause}"),
            Self::OutOfReach { mask } => {
                write!(f, "a device that reaches {mask:#x} has no bus frame in this context")
            }
            Self::Buffer => {
                f.write_str("the buffer is empty, wraps around, is too large, or changed")
            }
            Self::Bfns(cause) => cause.fmt(f),
            Self::Map(cause) => write!(f, "not mapped: {cause}"),
            Self::StillMapped(cause) => write!(f, "maybe still mapped: {cause}"),
        }
    }
}

impl core::error::Error for DmaError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NoService(cause)
            | Self::Context(cause)
            | Self::Limits(cause)
            | Self::Attach(cause) => Some(cause),
            Self::Reserved(cause) => Some(cause),
            Self::Bfns(cause) => Some(cause),
            Self::Map(cause) | Self::StillMapped(cause) => Some(cause),
            Self::OutOfReach { .. } | Self::Buffer => None,
        }
    }
}

impl From<BfnError> for DmaError {
    fn from(cause: BfnError) -> Self {
        Self::Bfns(cause)
    }
}

/// A buffer that was not mapped.
#[derive(Debug)]
pub struct MapFailed<B> {
    /// Why.
    pub cause: DmaError,
    /// The buffer; `None` after [`DmaError::StillMapped`]: devices may reach a part of it, so it is
    /// forgotten, not dropped.
    pub buffer: Option<B>,
}

/// What devices may still reach. The buffer stays inside; drop this, and it is forgotten unless
/// another try succeeds.
#[derive(Debug)]
pub struct StillMapped<M> {
    /// Why.
    pub cause: DmaError,
    /// What is still mapped, to try again.
    pub mapping: M,
}

impl<B> fmt::Display for MapFailed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<M> fmt::Display for StillMapped<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<B: fmt::Debug> core::error::Error for MapFailed<B> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl<M: fmt::Debug> core::error::Error for StillMapped<M> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// The buffer is dropped.
impl<B> From<MapFailed<B>> for DmaError {
    fn from(failed: MapFailed<B>) -> Self {
        failed.cause
    }
}

/// What is still mapped is dropped: unmapped after all, or forgotten.
impl<M> From<StillMapped<M>> for DmaError {
    fn from(still: StillMapped<M>) -> Self {
        still.cause
    }
}
