//! Devices change hands, come and go, fault and are stopped.
#![expect(unsafe_code, reason = "symbols that C links to have names of their own")]

use core::ffi::c_int;

use pviommu_abi::{Errno, FaultReason, PciDevice};
use pviommu_hypervisor::{
    Fault, ReassignError, Reported, Risks, Scope,
    platform::{SourceId, UnitId},
};

use crate::{
    calls::for_domain,
    config::access,
    domain::Domain,
    machine::Machine,
    pointers::{In, Shared},
    status::{Status, ended},
};

/// `struct pviommu_fault`: a request that a unit refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultOf {
    /// The byte address that it asked for.
    pub address: u64,
    /// The id that it carried.
    pub source: PciDevice,
    /// What it wanted to do there.
    pub access: u32,
    /// `PVIOMMU_FAULT_*`.
    pub reason: u32,
    /// 0.
    pub reserved: u32,
}

/// Set in the errno of [`pviommu_reassign`] if nobody has the device: as a bit of its own it would be no errno.
const LOST: c_int = -1000;

fn cpu(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Has the service do something.
fn on_machine<S: Status>(
    machine: Shared<Machine>,
    act: impl FnOnce(&'static Machine) -> Result<S, Errno>,
) -> c_int {
    ended(|| act(machine.open()?))
}

/// Puts a device into quarantine.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_quarantine(
    machine: Shared<Machine>,
    number: u32,
    function: PciDevice,
) -> c_int {
    on_machine(machine, |machine| machine.iommu.quarantine(cpu(number), function))
}

/// Gives a device and its group to a domain.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_assign(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
    function: PciDevice,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        machine.iommu.assign(&domain.iommu, cpu(number), function)
    })
}

/// Takes a device away, with what came with it.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unassign(
    machine: Shared<Machine>,
    domain: Shared<Domain>,
    number: u32,
    function: PciDevice,
) -> c_int {
    for_domain(machine, domain, |machine, domain| {
        machine.iommu.unassign(&domain.iommu, cpu(number), function)
    })
}

/// Takes a device from one domain and gives it to another.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_reassign(
    machine: Shared<Machine>,
    from: Shared<Domain>,
    to: Shared<Domain>,
    number: u32,
    function: PciDevice,
) -> c_int {
    ended(|| {
        let (machine, from, to) = (machine.open()?, from.open()?, to.open()?);
        match machine.iommu.reassign(&from.iommu, &to.iommu, cpu(number), function) {
            Ok(()) => Ok(0),
            Err(ReassignError::Kept(errno)) => Err(errno),
            Err(ReassignError::Lost(errno)) => Ok(LOST.saturating_add(errno.to_status())),
            Err(_) => Err(Errno::EIO),
        }
    })
}

/// Accepts risks with a device.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_accept_risks(
    machine: Shared<Machine>,
    function: PciDevice,
    whole_group: c_int,
    risks: u32,
) -> c_int {
    on_machine(machine, |machine| {
        let scope = if whole_group != 0 { Scope::Group } else { Scope::Device };
        let risks = Risks::from_bits(risks).ok_or(Errno::EINVAL)?;
        machine.iommu.accept_risks(function, scope, risks)
    })
}

/// A listed device has been plugged in.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_plug(machine: Shared<Machine>, function: PciDevice) -> c_int {
    on_machine(machine, |machine| machine.iommu.plug(function))
}

/// A device is about to go.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_unplug(machine: Shared<Machine>, function: PciDevice) -> c_int {
    on_machine(machine, |machine| machine.iommu.unplug(function))
}

/// Takes in a fault that a unit recorded.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_report_fault(
    machine: Shared<Machine>,
    unit: u16,
    fault: In<FaultOf>,
    now_ms: u64,
) -> c_int {
    on_machine(machine, |machine| {
        let FaultOf { address, source, access: bits, reason, .. } = fault.read()?;
        let (source, reason) = (SourceId(source), FaultReason(reason));
        let fault = Fault { source, address, access: access(bits)?, reason };
        match machine.iommu.report_fault(UnitId(unit), &fault, now_ms) {
            Reported::Recorded => Ok(0),
            Reported::Counted => Ok(1),
            Reported::Stopped => Ok(2),
            _ => Err(Errno::ENODEV),
        }
    })
}

/// Starts a device again that was stopped.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_restart(machine: Shared<Machine>, function: PciDevice) -> c_int {
    on_machine(machine, |machine| machine.iommu.restart(function))
}
