//! Frame numbers.
//!
//! A bus frame and a guest frame are both a `u64`, and mixing them up maps the wrong page. They are
//! types of their own with no conversion between them; arithmetic is checked, because both are
//! chosen by a guest.

use core::fmt;

use crate::layout::CType;

constants! {
    "Pages." as "";
    /// log2 of the size of the page that frame numbers count.
    PAGE_SHIFT: u32 = 12;
    /// The size in bytes of the page that frame numbers count.
    PAGE_SIZE: u64 = 4096;
}

/// [`PAGE_SIZE`] in the width of the `pgsize` fields.
pub const PAGE_SIZE_U32: u32 = 1 << PAGE_SHIFT;

macro_rules! frame_number {
    ($( $(#[$attr:meta])* $Name:ident; )+) => { $(
        $(#[$attr])*
        #[repr(transparent)]
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub struct $Name(pub u64);

        impl $Name {
            /// The greatest number the type holds. No page has it: its byte address does not fit 64
            /// bits.
            pub const MAX: Self = Self(u64::MAX);

            /// The frame `pages` further up, or `None` past the end of the type.
            #[must_use]
            pub const fn checked_add(self, pages: u64) -> Option<Self> {
                match self.0.checked_add(pages) {
                    Some(frame) => Some(Self(frame)),
                    None => None,
                }
            }

            /// The frame `pages` further down, or `None` below zero.
            #[must_use]
            pub const fn checked_sub(self, pages: u64) -> Option<Self> {
                match self.0.checked_sub(pages) {
                    Some(frame) => Some(Self(frame)),
                    None => None,
                }
            }

            /// How many pages this lies above `base`, or `None` if it lies below.
            #[must_use]
            pub const fn offset_from(self, base: Self) -> Option<u64> {
                self.0.checked_sub(base.0)
            }

            /// The frame that holds a byte address.
            #[must_use]
            pub const fn containing(address: u64) -> Self {
                Self(address >> PAGE_SHIFT)
            }

            /// The address of the frame's first byte, or `None` if it does not fit 64 bits.
            #[must_use]
            pub const fn address(self) -> Option<u64> {
                self.0.checked_mul(PAGE_SIZE)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($Name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(self, f)
            }
        }

        impl fmt::LowerHex for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl CType for $Name {
            const C_TYPE: &'static str = "uint64_t";
        }
    )+ };
}

frame_number! {
    /// Bus frame number: the number of the 4 KiB page that a device puts on the bus, and the input
    /// of the IOMMU.
    ///
    /// Xen later said DFN for it, and the fields of the v7 structures keep that name.
    Bfn;
    /// Guest frame number: the number of a 4 KiB page as the guest that owns it counts.
    Gfn;
}
