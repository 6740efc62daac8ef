//! What a device was refused, as its guest is told.

use pviommu_abi::{DeviceHandle, FaultReason, FaultRecord, PciDevice};
use pviommu_guest::{Error, Hypercall, IommuClient};

/// What was told is not what was expected.
#[derive(Debug)]
pub enum Wrong {
    /// The call failed.
    Call(#[expect(dead_code, reason = "printed")] Error),
    /// There is no such record among so many.
    Missing(#[expect(dead_code, reason = "printed")] usize),
}

/// Throws away what was told so far.
pub fn forget<H: Hypercall>(iommu: &IommuClient<H>) {
    let mut room = [FaultRecord::default(); 16];
    // Each device keeps a few; what comes meanwhile is not worth waiting for.
    for _ in 0..64 {
        if iommu.read_faults(&mut room).is_ok_and(|faults| faults.records.is_empty()) {
            break;
        }
    }
}

/// Whether a record says that the device was refused the page of `address`, because nothing is mapped.
pub fn expect<H: Hypercall>(
    iommu: &IommuClient<H>,
    device: PciDevice,
    address: u64,
) -> Result<(), Wrong> {
    let mut room = [FaultRecord::default(); 16];
    let mut seen = 0;
    for _ in 0..64 {
        let faults = iommu.read_faults(&mut room).map_err(Wrong::Call)?;
        if faults.records.is_empty() {
            break;
        }
        seen += faults.records.len();
        let found = faults.records.iter().any(|record| {
            record.device == DeviceHandle::pci(device)
                && record.address >> 12 == address >> 12
                && record.reason == FaultReason::NOT_MAPPED
        });
        if found {
            return Ok(());
        }
    }
    Err(Wrong::Missing(seen))
}

/// Whether nothing was refused.
pub fn expect_none<H: Hypercall>(iommu: &IommuClient<H>) -> Result<(), FaultRecord> {
    let mut room = [FaultRecord::default(); 1];
    match iommu.read_faults(&mut room).map(|faults| faults.records.first().copied()) {
        Ok(None) => Ok(()),
        Ok(Some(record)) => Err(record),
        Err(_) => Err(FaultRecord::default()),
    }
}
