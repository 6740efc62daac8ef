//! The safe traits: guest memory, names of devices and domains, preemption, policy.

use pviommu_abi::{DomId, GuestPtr, PciDevice, Subop};

use crate::domain::DomainIommu;

/// A guest address could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyFault;

/// The memory of guests, for the arguments of a hypercall.
///
/// The service reads each byte of an argument once (INV-50) and writes back only what the call
/// produced (INV-52); it never keeps a pointer into guest memory.
pub trait GuestMemory {
    /// Reads `to.len()` bytes at `from` in the memory of `domain`.
    ///
    /// # Errors
    /// [`CopyFault`] if any byte cannot be read. `to` is then not used.
    fn copy_in(&self, domain: DomId, from: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault>;

    /// Writes `from` at `to` in the memory of `domain`.
    ///
    /// # Errors
    /// [`CopyFault`] if any byte cannot be written. Bytes before it may have been.
    fn copy_out(&self, domain: DomId, to: GuestPtr, from: &[u8]) -> Result<(), CopyFault>;
}

/// How a guest names devices.
///
/// A guest does not see the machine's PCI numbers; only the embedder knows what it shows instead.
pub trait Devices {
    /// The machine's function that `domain` means by `name`, or `None` if it has no such device.
    fn resolve(&self, domain: DomId, name: PciDevice) -> Option<PciDevice>;

    /// What `domain` calls the machine's function, or `None` if it does not know it. As it stands here:
    /// its own number, if the domain means itself by that.
    fn name_of(&self, domain: DomId, function: PciDevice) -> Option<PciDevice> {
        self.resolve(domain, function).filter(|meant| *meant == function)
    }
}

/// The domains of the machine, for calls on another one's behalf.
pub trait Domains {
    /// Calls `act` with the IOMMU state of `domain` and keeps it alive meanwhile.
    ///
    /// Returns false, without calling, if there is no such domain or it is dying.
    fn with_domain(&self, domain: DomId, act: &mut dyn FnMut(&DomainIommu<'_>)) -> bool;
}

/// Asks whether a long call should give way.
pub trait Preempt {
    /// True if the CPU has something better to do than to go on with this call.
    ///
    /// Asked at least every 256 pages of work. A call always makes some progress before it
    /// gives way, whatever the answer.
    fn should_yield(&self) -> bool {
        false
    }
}

/// What a caller is about to do: the argument of [`AccessPolicy::allow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Operation {
    /// Who asks.
    pub caller: DomId,
    /// Whose contexts it is about; equal to `caller` unless it acts for another domain.
    pub target: DomId,
    /// Whose pages or grants are to be mapped, if not the target's: for a batch.
    pub owner: Option<DomId>,
    /// What is asked.
    pub subop: Subop,
    /// The device concerned, as the machine names it, for `reattach_device`.
    pub device: Option<PciDevice>,
}

/// The embedder's policy refused an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyDenied;

/// The embedder's mandatory access control (Xen: XSM).
pub trait AccessPolicy {
    /// Called once for every call before it has any effect (INV-58).
    ///
    /// # Errors
    /// [`PolicyDenied`] refuses the operation; the caller gets `-EPERM`.
    fn allow(&self, operation: &Operation) -> Result<(), PolicyDenied> {
        let _ = operation;
        Ok(())
    }
}
