//! Names of things: domains, contexts, devices, places in guest memory.

use core::fmt;

use crate::layout::{CType, Constant, Group};

open_enum! {
    /// A domain. Real domains are below `FIRST_RESERVED`; the values from there on have meanings of
    /// their own (Xen `public/xen.h`).
    struct DomId(u16) as "DOMID_" {
        /// The calling domain.
        SELF = 0x7ff0,
        /// The owner of I/O pages, and of quarantined devices.
        IO = 0x7ff1,
        /// The hypervisor.
        XEN = 0x7ff2,
        /// The owner of pages shared copy-on-write.
        COW = 0x7ff3,
        /// No domain.
        INVALID = 0x7ff4,
        /// Any domain.
        ANY = 0x7ff5,
        /// The idle domain.
        IDLE = 0x7fff,
    }
}

impl DomId {
    /// The first value that is no ordinary domain.
    pub const FIRST_RESERVED: Self = Self::SELF;

    /// Whether the value is not the number of an ordinary domain. Includes everything above the
    /// reserved names, for which there is no meaning at all.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 >= Self::FIRST_RESERVED.0
    }
}

impl Default for DomId {
    /// [`DomId::SELF`], not zero: zero is a real domain, and usually the most privileged one.
    fn default() -> Self {
        Self::SELF
    }
}

/// A context of a domain: one address space for devices.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ContextId(pub u16);

impl ContextId {
    /// The context every device of the domain starts in.
    pub const DEFAULT: Self = Self(0);
}

impl From<ContextId> for u32 {
    fn from(id: ContextId) -> Self {
        Self::from(id.0)
    }
}

impl TryFrom<u32> for ContextId {
    type Error = core::num::TryFromIntError;

    /// The context named by a 32-bit `ctx_id` field; values above 16 bits name none.
    fn try_from(id: u32) -> Result<Self, Self::Error> {
        u16::try_from(id).map(Self)
    }
}

impl fmt::Debug for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextId({})", self.0)
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl CType for ContextId {
    const C_TYPE: &'static str = "uint16_t";
}

/// An address in the caller's memory, in whatever address space its hypercalls use. Only the
/// hypervisor's copy routines may follow it.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct GuestPtr(pub u64);

impl GuestPtr {
    /// No buffer.
    pub const NULL: Self = Self(0);

    /// Whether this is [`GuestPtr::NULL`].
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `bytes` further on, or `None` past the end of the type.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(address) => Some(Self(address)),
            None => None,
        }
    }
}

impl fmt::Debug for GuestPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestPtr({:#x})", self.0)
    }
}

impl fmt::Display for GuestPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl CType for GuestPtr {
    const C_TYPE: &'static str = "uint64_t";
}

wire! {
    /// A PCI function as the guest numbers it (Xen public/physdev.h, physdev_pci_device).
    struct PciDevice as "pci_device", size 4, align 2, Default {
        /// Segment, also called PCI domain.
        0 => seg: u16,
        /// Bus.
        2 => bus: u8,
        /// Device in bits 7 to 3, function in bits 2 to 0.
        3 => devfn: u8,
    }
}

impl PciDevice {
    /// The function with this segment, bus, device (0 to 31) and function (0 to 7); bits above
    /// those ranges are dropped.
    #[must_use]
    pub const fn new(seg: u16, bus: u8, device: u8, function: u8) -> Self {
        Self { seg, bus, devfn: ((device & 0x1f) << 3) | (function & 7) }
    }

    /// The device number, 0 to 31.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.devfn >> 3
    }

    /// The function number, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.devfn & 7
    }

    /// Segment, bus and devfn as one number: segment in bits 31 to 16, bus in 15 to 8, devfn in 7
    /// to 0.
    #[must_use]
    pub fn sbdf(self) -> u32 {
        let [bus, devfn] = [u32::from(self.bus), u32::from(self.devfn)];
        (u32::from(self.seg) << 16) | (bus << 8) | devfn
    }

    /// The reverse of [`PciDevice::sbdf`].
    #[must_use]
    pub const fn from_sbdf(sbdf: u32) -> Self {
        let [devfn, bus, seg_low, seg_high] = sbdf.to_le_bytes();
        Self { seg: u16::from_le_bytes([seg_low, seg_high]), bus, devfn }
    }
}

impl fmt::Display for PciDevice {
    /// `ssss:bb:dd.f`, as `lspci -D` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.seg, self.bus, self.device(), self.function())
    }
}

/// The constants of this file that no macro declares, for the C header.
pub(crate) const CONSTANTS: &[Group] = &[Group {
    name: "",
    c_prefix: "",
    doc: &["Special contexts."],
    constants: &[Constant {
        name: "DEFAULT_CONTEXT",
        value: 0,
        c_value: "0U",
        doc: &["The context every device of the domain starts in."],
    }],
}];

const _: () = assert!(ContextId::DEFAULT.0 == 0);
