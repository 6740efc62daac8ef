//! Which interrupt doorbells the DMA of a function can hit, what of the bus they take, and whether
//! the interrupts it can raise there are its own.
//!
//! A message-signalled interrupt is a DMA write, so a function can raise by DMA whatever the
//! controller takes from it:
//!
//! 1. A controller behind the translation that looks at the function's id is safe, and takes nothing
//!    of the bus; a window is left to map its doorbell in. That of x86 stays a hole.
//! 2. A doorbell at an address that no unit translates is a hole: reserved, and told to the guest.
//! 3. One where interrupts of others can be raised is unsafe, and so is one that nothing is known of.
//! 4. One unsafe doorbell on the machine is enough, whoever reaches it; and one member for its group.
//! 5. What is behind no unit is not to be given away: nothing keeps it out of a hole.

use core::fmt;

use pviommu_abi::PciDevice;

use super::{Function, InterruptReason, Window, frames_of};
use crate::{
    platform::{Access, DeviceFacts, UnitId},
    reserved::{Reserved, ReservedKind},
};

/// What an interrupt controller is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsiKind {
    /// The interrupt address range of x86. No unit translates there (VT-d 4.1, section 3.15); many can
    /// remap the interrupts.
    X86,
    /// The doorbell frame of a `GICv2m`: a write of any number raises that interrupt (Arm Server
    /// Base System Architecture, appendix on `GICv2m`).
    Gicv2m,
    /// An interrupt translation service of `GICv3`, which has a table for each function's id.
    Its {
        /// Writes reach it by a window whose addresses stand for the id, so that a function can choose
        /// any; no unit translates there.
        pre_its: bool,
    },
    /// The host bridge takes the writes itself, before any unit.
    HostBridge,
    /// Anything else.
    Unknown,
}

/// Where a doorbell is, seen from a function behind a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Behind the unit: its address is an output of the translation, and is mapped like memory.
    BehindTranslation,
    /// Before the unit, at a fixed bus address that is not translated.
    BeforeTranslation,
}

/// Buses below one host bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostBuses {
    /// Segment.
    pub segment: u16,
    /// First bus.
    pub first: u8,
    /// Last bus, not below `first`.
    pub last: u8,
}

impl HostBuses {
    /// True if `function` is on one of them.
    #[must_use]
    pub fn lead_to(&self, function: PciDevice) -> bool {
        function.seg == self.segment && (self.first..=self.last).contains(&function.bus)
    }
}

/// An interrupt controller that is written to by DMA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsiController {
    /// What it is.
    pub kind: MsiKind,
    /// What is written to. Of a doorbell before translation these are bus addresses.
    pub doorbell: Window,
    /// Where it is. Not looked at for the kinds that are always before the translation.
    pub place: Place,
    /// It lets each function raise only what was set up for its id: an ITS by its device table,
    /// interrupt remapping by source validation. Not believed of kinds that have no such thing.
    pub checks_device: bool,
    /// The functions that can reach it; `None`: all.
    pub buses: Option<HostBuses>,
}

impl MsiController {
    /// The interrupt range of x86, `0xfee0_0000` to `0xfeef_ffff`. `checks_device`: the remapping
    /// tables say which function an entry is for.
    #[must_use]
    pub const fn x86(checks_device: bool) -> Self {
        let doorbell = Window { first: 0xfee0_0000, last: 0xfeef_ffff };
        let place = Place::BeforeTranslation;
        Self { kind: MsiKind::X86, doorbell, place, checks_device, buses: None }
    }

    /// True if a unit translates what is written to it.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        match self.kind {
            MsiKind::X86 | MsiKind::HostBridge | MsiKind::Its { pre_its: true } => false,
            MsiKind::Gicv2m | MsiKind::Its { pre_its: false } | MsiKind::Unknown => {
                self.place == Place::BehindTranslation
            }
        }
    }

    /// What it lets a function raise that is behind a unit, which remaps interrupts or not.
    fn judge(&self, remaps: bool) -> InterruptReason {
        match self.kind {
            // Where it is cannot be told to anybody.
            _ if frames_of(self.doorbell).is_none() => InterruptReason::UnknownController,
            MsiKind::Unknown => InterruptReason::UnknownController,
            MsiKind::X86 if !remaps => InterruptReason::NotRemapped,
            MsiKind::X86 if !self.checks_device => InterruptReason::SourceNotChecked,
            MsiKind::Its { pre_its: true } => InterruptReason::PreIts,
            MsiKind::Gicv2m => InterruptReason::SharedDoorbell,
            MsiKind::Its { .. } if !self.checks_device => InterruptReason::SharedDoorbell,
            MsiKind::HostBridge if !self.checks_device => InterruptReason::HostBridge,
            MsiKind::X86 | MsiKind::Its { .. } | MsiKind::HostBridge => InterruptReason::Isolated,
        }
    }
}

/// The interrupt controllers of a machine, as the embedder lists them.
#[derive(Clone, Copy, Debug)]
pub struct MsiPlatform<'a> {
    /// All of them: one that is not listed is one that nobody is warned of.
    pub controllers: &'a [MsiController],
    /// Where doorbells behind a translation are to be mapped: bus addresses.
    pub software_window: Window,
    /// The units that remap interrupts.
    pub remapping: &'a [UnitId],
}

impl<'a> MsiPlatform<'a> {
    /// The window that Linux chooses for doorbells, `0x800_0000` to `0x80f_ffff`.
    pub const USUAL_WINDOW: Window = Window { first: 0x800_0000, last: 0x80f_ffff };

    /// Judges the interrupts that `function` can raise.
    #[must_use]
    pub fn judge(&self, function: &Function) -> Interrupts<'a> {
        let remaps = function.unit.is_some_and(|unit| self.remapping.contains(&unit));
        let all = self.controllers.iter().map(|controller| (controller.judge(remaps), controller));
        // Of those that are as bad, the first.
        let worst = all.rev().max_by_key(|(reason, _)| *reason);
        let (reason, worst) = match (function.unit, worst) {
            (None, _) => (InterruptReason::NoUnit, None),
            (Some(_), None) => (InterruptReason::NothingListed, None),
            (Some(_), Some((InterruptReason::Isolated, _))) => (InterruptReason::Isolated, None),
            (Some(_), Some((reason, controller))) => (reason, Some(controller)),
        };
        let (function, behind_unit) = (function.address, function.unit.is_some());
        Interrupts { platform: *self, function, behind_unit, reason, controller: worst }
    }
}

/// What the interrupts of a function are worth.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts<'a> {
    platform: MsiPlatform<'a>,
    function: PciDevice,
    behind_unit: bool,
    reason: InterruptReason,
    controller: Option<&'a MsiController>,
}

impl<'a> Interrupts<'a> {
    /// True if it can raise no interrupts but its own. If not, giving it away needs an opt-in.
    #[must_use]
    pub fn isolated(&self) -> bool {
        self.reason == InterruptReason::Isolated
    }

    /// True if holes can be kept free of its DMA. If not, it is not to be given away.
    #[must_use]
    pub fn enforceable(&self) -> bool {
        self.reason != InterruptReason::NoUnit
    }

    /// Why, of the controller that is worst.
    #[must_use]
    pub fn reason(&self) -> InterruptReason {
        self.reason
    }

    /// The first controller of which that is true; `None` if it is no controller's fault.
    #[must_use]
    pub fn controller(&self) -> Option<&'a MsiController> {
        self.controller
    }

    /// What the embedder can vouch for.
    #[must_use]
    pub fn facts(&self) -> DeviceFacts {
        let (isolated, none) = (DeviceFacts::INTERRUPTS_ISOLATED, DeviceFacts::empty());
        if self.isolated() { isolated } else { none }
    }

    /// The doorbells that it can reach, and the window for those that have to be mapped; not merged.
    pub fn ranges(&self) -> impl Iterator<Item = Reserved> + Clone + use<'a> {
        let Self { platform, function, behind_unit, .. } = *self;
        let reached = move |controller: &&MsiController| {
            controller.buses.is_none_or(|buses| buses.lead_to(function))
        };
        platform.controllers.iter().filter(reached).filter_map(move |controller| {
            let mapped = behind_unit && controller.is_translated();
            let (kind, window) = if mapped {
                (ReservedKind::SoftwareMsi, platform.software_window)
            } else {
                (ReservedKind::Msi, controller.doorbell)
            };
            Some(Reserved { range: frames_of(window)?, kind, access: Access::empty() })
        })
    }
}

impl fmt::Display for Interrupts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(controller) = self.controller {
            let Window { first, last } = controller.doorbell;
            write!(f, "doorbell {first:x}-{last:x}: ")?;
        }
        self.reason.fmt(f)
    }
}
