//! Faults that units report: to whom they are told, and when a device is stopped for them.
//!
//! ```text
//!  unit ─► your handler ─► report_fault ─► the device's records ─► read_faults (its owner)
//!                               │
//!                               └ too many in a window: only counted; far too many: the device is stopped
//! ```
//!
//! Records stand with the device: one that faults without end crowds out its own only, and who reports
//! needs neither its owner nor a lock that a call may hold (INV-48, INV-59).

use pviommu_abi::{Errno, FaultReason, PciDevice};

use super::{Iommu, fault_log::Rate};
use crate::platform::{Access, Platform, SourceId, UnitId};

/// A request that a unit refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The id that the request carried.
    pub source: SourceId,
    /// The byte address that it asked for.
    pub address: u64,
    /// What it wanted to do there.
    pub access: Access,
    /// Why it was refused.
    pub reason: FaultReason,
}

/// What has become of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reported {
    /// The device's owner can read of it.
    Recorded,
    /// It was counted: there are too many, or nobody is to be told.
    Counted,
    /// There is no end of them: the device has been stopped, by this call.
    Stopped,
    /// No device behind this unit sends requests with this id.
    Unknown,
}

impl<P: Platform> Iommu<'_, P> {
    /// Takes in a fault that `unit` recorded, at `now_ms` milliseconds of any clock that does not go back.
    ///
    /// For the handler of the unit's fault interrupt: it takes no lock, waits for nobody and calls
    /// [`IommuHw::stop`](crate::platform::IommuHw::stop) at most. Report what a unit has recorded of a
    /// device before that is given to somebody else, who is told of it otherwise.
    pub fn report_fault(&self, unit: UnitId, fault: &Fault, now_ms: u64) -> Reported {
        let Some(behind) = self.unit(unit) else { return Reported::Unknown };
        behind.note_fault();
        let device = self.device_of(fault.source).filter(|device| device.unit() == unit);
        let Some(device) = device else { return Reported::Unknown };
        let log = &device.faults;
        match log.count(self.fault_rule(), now_ms) {
            Rate::Usual if log.record(fault.address, fault.access, fault.reason) => {
                Reported::Recorded
            }
            Rate::Usual | Rate::TooMany => {
                log.lose();
                Reported::Counted
            }
            Rate::Storm => {
                log.lose();
                for source in device.sources() {
                    self.platform().stop(unit, source);
                }
                if let Some(number) = log.tell_storm(now_ms) {
                    crate::report::warn!(
                        "pviommu: {} faults without end, and was stopped; that is storm {number}",
                        device.function()
                    );
                }
                Reported::Stopped
            }
        }
    }

    /// Starts a device again that was stopped, after whoever drives it has reset it.
    ///
    /// # Errors
    /// `-ENODEV`: it is not behind an IOMMU. `-EBADF`: it is broken, or its group changed and is not
    /// [approved](Self::approve).
    pub fn restart(&self, function: PciDevice) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let state = device.state.lock();
        if state.broken || state.tainted {
            return Err(Errno::EBADF);
        }
        if device.faults.is_stopped() {
            for source in device.sources() {
                self.platform().restart(device.unit(), source);
            }
            device.faults.restart();
        }
        Ok(())
    }
}
