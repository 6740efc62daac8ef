//! The answer to why a DMA faulted, in words.

use core::fmt;

use pviommu_abi::DomId;

use super::{
    DeviceStats,
    words::{Frames, act, kind, origin, rights},
};
use crate::{
    addr::{BfnRange, Mfn, PAGE_SHIFT},
    format::{MAX_LEVELS, Origin},
    platform::{Access, SourceId},
    reserved::Reserved,
};

/// What becomes of an access, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// No device of the machine has this id.
    UnknownDevice,
    /// The unit has failed: what it lets through is unknown.
    UnitFailed,
    /// The device is broken: its entries could not be switched, and nobody gets it any more.
    Broken,
    /// The device was stopped, for it faulted without end.
    Stopped,
    /// The device was stopped, for its group changed while somebody had of it.
    CutOff,
    /// All DMA of the device is refused: nobody has it, or its owner's default context is blocked.
    Blocked,
    /// The device's domain goes away, or its context is about to be another one.
    Changing,
    /// The address is not one of this aperture.
    OutsideAperture(BfnRange),
    /// The address is reserved, and not mapped.
    Reserved(Reserved),
    /// Nothing is mapped, so that the access faults.
    NotMapped,
    /// Nothing is mapped, and the access goes to this page: no fault, and what it writes is lost.
    Scratch(Mfn),
    /// The address leads to this frame, and not for this access.
    #[non_exhaustive]
    NotAllowed {
        /// The frame.
        frame: Mfn,
        /// What is allowed there.
        allowed: Access,
        /// Who made the mapping.
        origin: Origin,
    },
    /// The access is let through to this frame.
    #[non_exhaustive]
    Allowed {
        /// The frame.
        frame: Mfn,
        /// What is allowed there.
        allowed: Access,
        /// Who made the mapping.
        origin: Origin,
    },
}

/// The entries of a walk from the root on, each with its level.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Trail([Option<(u8, u64)>; MAX_LEVELS]);

impl Trail {
    pub(super) fn push(&mut self, level: u8, raw: u64) {
        if let Some(free) = self.0.iter_mut().find(|entry| entry.is_none()) {
            *free = Some((level, raw));
        }
    }

    /// Level and word of each entry; level 0 is that of the 4 KiB leaves.
    pub fn entries(&self) -> impl Iterator<Item = (u8, u64)> {
        self.0.iter().flatten().copied()
    }
}

/// The answer to [`Iommu::explain`](crate::Iommu::explain); printed, it says it in two or three lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The id that the request carried.
    pub source: SourceId,
    /// The bus address.
    pub address: u64,
    /// What was wanted there.
    pub access: Access,
    /// The device, where it is, and whose.
    pub device: Option<DeviceStats>,
    /// What becomes of the access now.
    pub reason: Reason,
    /// Something that was unmapped in the context waits for its flush: until then a unit may use what
    /// it has cached of that.
    pub removals_wait: bool,
    /// What the unit finds on its way.
    pub trail: Trail,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) if device.function == self.source.0 => write!(f, "{device}")?,
            Some(device) => write!(f, "{} is {device}", self.source.0)?,
            None => write!(f, "{}", self.source.0)?,
        }
        writeln!(f, ": {} at {:#x}", act(self.access), self.address)?;
        self.say_why(f)?;
        if self.removals_wait {
            f.write_str("; what was unmapped here before its flush may still be reached")?;
        }
        if self.trail != Trail::default() {
            f.write_str("\nwalk:")?;
        }
        self.trail.entries().try_for_each(|(level, raw)| write!(f, " {level}:{raw:016x}"))
    }
}

impl Explanation {
    fn say_why(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bfn = self.address >> PAGE_SHIFT;
        match self.reason {
            Reason::UnknownDevice => f.write_str("no device of this machine has this id"),
            Reason::UnitFailed => f.write_str(
                "its unit has failed: nothing behind it is changed any more, and what it lets \
                 through is unknown",
            ),
            Reason::Broken => f.write_str(
                "it is broken, for its entries could not be switched: all its DMA faults, and \
                 nobody gets it any more",
            ),
            Reason::CutOff => f.write_str(
                "its group changed while somebody had of it, and it was stopped: it does no DMA until that is \
                 approved and it is started again",
            ),
            Reason::Stopped => f.write_str(
                "it faulted without end, and was stopped: it does no DMA until it is started again",
            ),
            Reason::Blocked => match self.device.and_then(|device| device.owner) {
                Some(DomId(owner)) => {
                    write!(
                        f,
                        "all its DMA faults: the default context of domain {owner} is blocked"
                    )
                }
                None => f.write_str("all its DMA faults: nobody has it"),
            },
            Reason::Changing => {
                f.write_str("its domain goes away, or its context is about to be another one")
            }
            Reason::OutsideAperture(aperture) => write!(
                f,
                "bus frame {bfn:#x} is not one of the aperture {}: the access faults",
                Frames(aperture)
            ),
            Reason::Reserved(Reserved { range, kind: why, .. }) => write!(
                f,
                "bus frame {bfn:#x} is reserved ({}: {}): the access is not translated, or faults",
                Frames(range),
                kind(why)
            ),
            Reason::NotMapped => {
                write!(f, "nothing is mapped at bus frame {bfn:#x}: the access faults")
            }
            Reason::Scratch(page) => write!(
                f,
                "nothing is mapped at bus frame {bfn:#x}: the access goes to the scratch page \
                 {page}, without a fault, and is lost"
            ),
            Reason::NotAllowed { frame, allowed, origin: by } => write!(
                f,
                "bus frame {bfn:#x} leads to frame {frame}, but {} ({}): the access faults",
                rights(allowed),
                origin(by)
            ),
            Reason::Allowed { frame, allowed, origin: by } => write!(
                f,
                "bus frame {bfn:#x} leads to frame {frame}, {} ({}): the access is let through; \
                 a fault was before that was mapped and flushed",
                rights(allowed),
                origin(by)
            ),
        }
    }
}
