//! Groups in words: why functions are together.

use core::fmt;

use super::{Acs, AcsBits, Function, Kind, Reason, Tied, quirks};

impl fmt::Display for Tied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, other) = (self.one.address, self.other.address);
        match self.reason {
            Reason::SameDevice if self.one.is_virtual() || self.other.is_virtual() => write!(
                f,
                "{one} and {other} are of one device with virtual functions, and {other} {}",
                Open(self.other)
            ),
            Reason::SameDevice => write!(
                f,
                "{one} and {other} are functions of one device, and {other} {}",
                Open(self.other)
            ),
            Reason::ConventionalBus => write!(
                f,
                "{one} is on the bus below {other}, which {}: all there reach each other and send with one id",
                Open(self.other)
            ),
            Reason::OpenPort => write!(
                f,
                "{one} is below {other}, which {}, and so may send requests back down",
                Open(self.other)
            ),
            Reason::OpenSwitch => {
                let witness = self.witness.unwrap_or(self.other);
                write!(
                    f,
                    "{one} is in the switch below {other}, where {} {}",
                    witness.address,
                    Inside(witness)
                )
            }
            Reason::BelowTied => write!(f, "{one} is below {other}, which is tied to others"),
            Reason::SharedId => {
                write!(f, "requests of {one} and {other} may carry the same id")
            }
            Reason::FirmwareAlias => {
                write!(f, "firmware says that requests of {one} and {other} carry the same id")
            }
            Reason::InTheNameOf => write!(f, "all requests of {one} are sent by {other}"),
            Reason::SharedDirectRange => {
                write!(f, "firmware has {one} and {other} use the same memory")
            }
            Reason::SharedRegisterPage => {
                write!(f, "{one} and {other} have registers in the same page")
            }
            Reason::LinuxAlias => write!(f, "requests of {one} are taken over by {other}"),
            Reason::LinuxPath => {
                write!(
                    f,
                    "{one} is below {other}, which does not isolate, or is below what does not"
                )
            }
            Reason::LinuxSameBus => write!(f, "{one} shares ids with {other}"),
            Reason::LinuxSlot => {
                write!(f, "{one} and {other} are functions of one slot, and neither isolates")
            }
        }
    }
}

/// Why a function does not isolate.
struct Open<'t>(&'t Function);

impl fmt::Display for Open<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.kind, self.0.acs) {
            (Kind::Unknown, _) => f.write_str("is of a kind that is not known"),
            (Kind::Conventional, _) if self.0.buses.is_some() => {
                f.write_str("leads to a conventional bus")
            }
            (Kind::Conventional, _) => f.write_str("is conventional PCI"),
            (Kind::PcieToPciBridge | Kind::PciToPcieBridge, _) => {
                f.write_str("joins PCI Express and a conventional bus")
            }
            (Kind::EventCollector, _) => f.write_str("is an event collector"),
            (_, Acs::Unknown) => f.write_str("is not known to have access control (ACS)"),
            (_, Acs::Absent) => f.write_str("has no access control (ACS)"),
            (_, acs @ Acs::Present { .. }) if !acs.missing().is_empty() => {
                write!(f, "has {} switched off", Bits(acs.missing()))
            }
            (_, acs) if acs.has_egress_control() => {
                f.write_str("has EgressControl switched on, which overrides redirection")
            }
            _ => f.write_str("does not isolate"),
        }
    }
}

/// Why a function inside a switch opens it.
struct Inside<'t>(&'t Function);

impl fmt::Display for Inside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.kind != Kind::DownstreamPort {
            return f.write_str("is no port: it reaches all others, and they reach it");
        }
        if !quirks::aliases(self.0).is_empty() || quirks::may_use_any_id(&self.0.identity) {
            return f.write_str("may use the ids of its neighbours");
        }
        Open(self.0).fmt(f)
    }
}

/// Controls by name.
pub(super) struct Bits(pub(super) AcsBits);

const NAMES: [(AcsBits, &str); 4] = [
    (AcsBits::SOURCE_VALIDATION, "SourceValidation"),
    (AcsBits::REQUEST_REDIRECT, "RequestRedirect"),
    (AcsBits::COMPLETION_REDIRECT, "CompletionRedirect"),
    (AcsBits::UPSTREAM_FORWARDING, "UpstreamForwarding"),
];

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = false;
        for (bit, name) in NAMES {
            if self.0.contains(bit) {
                f.write_str(if before { ", " } else { "" })?;
                f.write_str(name)?;
                before = true;
            }
        }
        Ok(())
    }
}
