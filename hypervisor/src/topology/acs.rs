//! Access control services: the capability, what is on, and what isolation asks for.

bitflags::bitflags! {
    /// Bits of the ACS capability and control registers (PCIe 6.0, sections 7.7.11.2 and 7.7.11.3).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AcsBits: u16 {
        /// Source validation: requests with the id of somebody else are refused.
        const SOURCE_VALIDATION = 1 << 0;
        /// Translation blocking: requests that say they are translated are refused.
        const TRANSLATION_BLOCKING = 1 << 1;
        /// Peer-to-peer requests go up.
        const REQUEST_REDIRECT = 1 << 2;
        /// Peer-to-peer completions go up.
        const COMPLETION_REDIRECT = 1 << 3;
        /// What comes back from above for the port's own side goes up again.
        const UPSTREAM_FORWARDING = 1 << 4;
        /// Peer-to-peer by a vector of ports.
        const EGRESS_CONTROL = 1 << 5;
        /// Translated peer-to-peer requests go straight.
        const DIRECT_TRANSLATED = 1 << 6;
        /// ACS Enhanced: there are controls for memory of the ports themselves.
        const ENHANCED = 1 << 7;

        /// What isolation asks for, of what a capability has.
        const ISOLATION = Self::SOURCE_VALIDATION.bits()
            | Self::REQUEST_REDIRECT.bits()
            | Self::COMPLETION_REDIRECT.bits()
            | Self::UPSTREAM_FORWARDING.bits();
        /// What is the control of the capability's bit in the same place. That of `ENHANCED` is another one's.
        const CONTROLS = Self::ISOLATION.bits()
            | Self::TRANSLATION_BLOCKING.bits()
            | Self::EGRESS_CONTROL.bits()
            | Self::DIRECT_TRANSLATED.bits();
        /// What lets requests go from peer to peer, or keeps them from it.
        const PEER_TO_PEER = Self::REQUEST_REDIRECT.bits()
            | Self::COMPLETION_REDIRECT.bits()
            | Self::EGRESS_CONTROL.bits();
    }
}

/// The access control of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acs {
    /// The source of the facts does not show it: counts as none.
    Unknown,
    /// It has no capability.
    Absent,
    /// It has one.
    Present {
        /// What it can do.
        capability: AcsBits,
        /// What is on.
        control: AcsBits,
        /// Where the capability is in configuration space; 0 if that is not known.
        at: u16,
    },
}

impl Acs {
    /// True if it has the capability, and every bit that isolation asks for and that it has is on. A
    /// bit that the capability does not have counts as on: an empty capability is the way to say that a
    /// function does no peer-to-peer (PCIe 6.0, section 6.12.1.2).
    #[must_use]
    pub fn isolates(self) -> bool {
        matches!(self, Self::Present { .. }) && self.missing().is_empty()
    }

    /// The bits that isolation asks for, that the capability has, and that are off.
    #[must_use]
    pub fn missing(self) -> AcsBits {
        match self {
            Self::Unknown | Self::Absent => AcsBits::empty(),
            Self::Present { capability, control, .. } => {
                (AcsBits::ISOLATION & capability).difference(control)
            }
        }
    }

    /// True if egress control is on: what its vector does not name goes straight, redirected or not (PCIe
    /// 6.0, section 6.12.3). Vectors are not looked at.
    #[must_use]
    pub fn has_egress_control(self) -> bool {
        matches!(self, Self::Present { control, .. } if control.contains(AcsBits::EGRESS_CONTROL))
    }

    /// The same with this control, if there is one.
    #[must_use]
    pub fn with_control(self, to: AcsBits) -> Self {
        match self {
            Self::Present { capability, at, .. } => Self::Present { capability, control: to, at },
            none => none,
        }
    }
}
