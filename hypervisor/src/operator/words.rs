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

#[cfg(test)]
mod tests {
    use pviommu_abi::Bfn;

    use super::*;

    #[test]
    fn every_access_has_two_letters_and_a_verb() {
        let words = [Access::all(), Access::READ, Access::WRITE, Access::empty()]
            .map(|access| (rights(access), act(access)));
        let expected =
            [("rw", "read and write"), ("r-", "read"), ("-w", "write"), ("--", "access")];
        assert_eq!(words, expected);
    }

    #[test]
    fn who_made_a_mapping_and_why_frames_are_reserved_is_told_apart() {
        let origins = [Origin::Initial, Origin::Maintained, Origin::Guest, Origin::Reserved];
        assert_eq!(origins.map(origin), ["initial", "maintained", "guest", "reserved"]);
        let kinds = [
            (ReservedKind::Direct, "needed by firmware"),
            (ReservedKind::DirectRelaxable, "needed by firmware until a driver is there"),
            (ReservedKind::Reserved, "not memory"),
            (ReservedKind::Msi, "interrupts"),
            (ReservedKind::SoftwareMsi, "a window for interrupts"),
            (ReservedKind::BridgeWindow, "a bridge's window"),
        ];
        for (reserved, said) in kinds {
            assert_eq!(kind(reserved), said);
        }
        let frames = Frames(BfnRange::of_pages(Bfn(0xfee00), 0x100).unwrap());
        assert_eq!(frames.to_string(), "000fee00-000feeff");
    }
}
