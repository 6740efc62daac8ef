//! The words that an operator reads: of access, origin, bus frames.

use core::fmt;

use crate::{addr::BfnRange, format::Origin, platform::Access};

/// What a device may do, as one word of two letters.
pub(super) fn rights(access: Access) -> &'static str {
    match (access.contains(Access::READ), access.contains(Access::WRITE)) {
        (true, true) => "rw",
        (true, false) => "r-",
        (false, true) => "-w",
        (false, false) => "--",
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

/// Bus frames as `00000100-000001ff`.
pub(super) struct Frames(pub(super) BfnRange);

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}", self.0.first().0, self.0.last().0)
    }
}
