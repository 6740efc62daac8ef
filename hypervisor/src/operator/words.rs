//! The words that an operator reads: of access, origin, reserved ranges, bus frames.

use core::fmt;

use crate::{addr::BfnRange, format::Origin, platform::Access, reserved::ReservedKind};

/// What a device may do, as one word of two letters.
pub(super) fn rights(access: Access) -> &'static str {
    match (access.contains(Access::READ), access.contains(Access::WRITE)) {
        (true, true) => "rw",
        (true, false) => "r-",
        (false, true) => "-w",
        (false, false) => "--",
    }
}

/// What a device does.
pub(super) fn act(access: Access) -> &'static str {
    match (access.contains(Access::READ), access.contains(Access::WRITE)) {
        (true, true) => "read and write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "access",
    }
}

/// Who made a mapping.
pub(super) fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Initial => "initial",
        Origin::Maintained => "maintained",
        Origin::Guest => "guest",
        Origin::Reserved => "reserved",
    }
}

/// Why bus frames are reserved.
pub(super) fn kind(kind: ReservedKind) -> &'static str {
    match kind {
        ReservedKind::Direct => "needed by firmware",
        ReservedKind::DirectRelaxable => "needed by firmware until a driver is there",
        ReservedKind::Reserved => "not memory",
        ReservedKind::Msi => "interrupts",
        ReservedKind::SoftwareMsi => "a window for interrupts",
        ReservedKind::BridgeWindow => "a bridge's window",
    }
}

/// Bus frames as `00000100-000001ff`.
pub(super) struct Frames(pub(super) BfnRange);

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}", self.0.first().0, self.0.last().0)
    }
}
