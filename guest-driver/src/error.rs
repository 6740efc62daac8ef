//! What can go wrong with a call, by what the caller can do about it.

#![forbid(unsafe_code)]

use core::fmt;

use pviommu_abi::{Errno, Subop};

/// Why a call did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is wrong with the call; issue it again a little later.
    Retry(Errno),
    /// The call is refused as it is, or in the state things are in: issue another one.
    Refused(Errno),
    /// A limit is reached: give something back first, or ask for less.
    Exhausted(Errno),
    /// The service, or this part of it, is not there. It will not come.
    NotAvailable(Errno),
    /// The hypervisor or the hardware failed. What the call was about may be in any state; stop
    /// using it.
    Failed(Errno),
    /// The answer is not one the ABI allows, so nothing in it is believed.
    BadReply(BadReply),
}

/// An answer the ABI does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadReply {
    /// The return value is neither 0 nor a negative error code that a guest may see.
    Status {
        /// The call.
        subop: Subop,
        /// What it returned.
        ret: i64,
    },
    /// The number of pages done is not what the call's status allows.
    Count {
        /// The call.
        subop: Subop,
        /// How many pages were asked for.
        asked: u32,
        /// How many the answer says were done.
        done: u32,
    },
    /// The number of elements of a batch that are finished is not what their statuses and that of
    /// the call allow.
    Finished {
        /// How many elements there are.
        asked: u32,
        /// How many the answer says are finished.
        finished: u32,
    },
    /// A field holds a value that it cannot have.
    Field {
        /// The call.
        subop: Subop,
        /// The name of the field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A new context has the number of the default context.
    DefaultContext,
    /// The set of page sizes, in bytes, lacks 4 KiB.
    PageSizes(u32),
}

impl Error {
    /// Sorts an error code.
    #[must_use]
    pub fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN => Self::Retry(errno),
            Errno::ENOMEM | Errno::ENOSPC | Errno::E2BIG | Errno::ENOBUFS => Self::Exhausted(errno),
            Errno::ENOSYS | Errno::ENODEV | Errno::EOPNOTSUPP => Self::NotAvailable(errno),
            Errno::EIO | Errno::ETIMEDOUT => Self::Failed(errno),
            _ => Self::Refused(errno),
        }
    }

    /// Reads a return value.
    ///
    /// # Errors
    ///
    /// Anything but 0.
    pub(crate) fn check(subop: Subop, ret: i64) -> Result<(), Self> {
        match (ret, Errno::from_ret(ret)) {
            (0, _) => Ok(()),
            (_, Some(errno)) => Err(Self::from_errno(errno)),
            (_, None) => Err(Self::BadReply(BadReply::Status { subop, ret })),
        }
    }

    /// The hypervisor's error code, unless its answer was not one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match *self {
            Self::Retry(errno)
            | Self::Refused(errno)
            | Self::Exhausted(errno)
            | Self::NotAvailable(errno)
            | Self::Failed(errno) => Some(errno),
            Self::BadReply(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, errno) = match self {
            Self::Retry(errno) => ("not now", errno),
            Self::Refused(errno) => ("refused", errno),
            Self::Exhausted(errno) => ("limit reached", errno),
            Self::NotAvailable(errno) => ("not available", errno),
            Self::Failed(errno) => ("failed", errno),
            Self::BadReply(reply) => return write!(f, "bad reply: {reply}"),
        };
        write!(f, "{what}: {errno}: {}", errno.meaning())
    }
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { subop, ret } => write!(f, "{subop} returned {ret}"),
            Self::Count { subop, asked, done } => {
                write!(f, "{subop} says it did {done} of {asked} pages")
            }
            Self::Finished { asked, finished } => {
                write!(f, "batch says it finished {finished} of {asked} elements")
            }
            Self::Field { subop, field, value } => write!(f, "{subop} left {value:#x} in {field}"),
            Self::DefaultContext => f.write_str("the new context is the default context"),
            Self::PageSizes(mask) => write!(f, "page sizes {mask:#x} lack 4 KiB"),
        }
    }
}

impl core::error::Error for Error {}

/// Why a range was mapped or unmapped only in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapError {
    /// How many pages, from the first on, were done. They stay done. 0 after [`Error::BadReply`]:
    /// then nobody knows, and the whole range must be unmapped before it is used again.
    pub done: u32,
    /// What stopped the call at the next page.
    pub cause: Error,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (after {} pages)", self.cause, self.done)
    }
}

impl core::error::Error for MapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}
