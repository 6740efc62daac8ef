//! DMA: what devices do, by bus address.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::addr::Mfn;

use super::{
    board::Board,
    frames::{PAGE_SIZE, Reach},
};
use crate::iommu::{Direction, FaultReason, Landing, UnitModel};

/// A transfer was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaFault {
    /// Bus address of the part that was refused, in bytes.
    pub address: u64,
    /// What was wanted there.
    pub direction: Direction,
    /// Why it was refused.
    pub reason: FaultReason,
    /// Bytes transferred before.
    pub done: usize,
}

/// Where an access would have landed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The machine frame.
    pub frame: Mfn,
    /// What that frame is.
    pub reach: Reach,
}

impl Board {
    /// Lets `function` read `to.len()` bytes at bus address `address`, page by page.
    ///
    /// # Errors
    /// [`DmaFault`] at the first page that is refused; the bytes before it are in `to`.
    pub fn dma_read(
        &self,
        function: PciDevice,
        address: u64,
        to: &mut [u8],
    ) -> Result<(), DmaFault> {
        let mut rest = to;
        let bytes = rest.len();
        self.transfer(function, address, bytes, Direction::Read, |at, offset, bytes| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(bytes);
            rest = later;
            self.memory.device_reads(at, offset, now).unwrap();
        })
    }

    /// Lets `function` write `from` at bus address `address`, page by page.
    ///
    /// # Errors
    /// [`DmaFault`] at the first page that is refused; the bytes before it are written.
    pub fn dma_write(
        &self,
        function: PciDevice,
        address: u64,
        from: &[u8],
    ) -> Result<(), DmaFault> {
        let mut rest = from;
        let bytes = rest.len();
        self.transfer(function, address, bytes, Direction::Write, |at, offset, bytes| {
            let (now, later) = rest.split_at(bytes);
            rest = later;
            self.memory.device_writes(at, offset, now).unwrap();
        })
    }

    /// Lets the unit of `function` load the translation of `address` now; true if there is one.
    pub fn prefetch(&self, function: PciDevice, address: u64) -> bool {
        let device = self.device(function).and_then(|d| self.unit(d.unit));
        device.is_some_and(|unit| unit.prefetch(&self.memory, function, address))
    }

    /// An access that is translated and judged as every DMA is, and moves nothing.
    ///
    /// # Errors
    /// [`DmaFault`] if it is refused.
    pub fn dma_probe(
        &self,
        function: PciDevice,
        address: u64,
        direction: Direction,
    ) -> Result<Hit, DmaFault> {
        let fault = |reason| DmaFault { address, direction, reason, done: 0 };
        let unit = self.way_of(function).map_err(fault)?;
        let hit = |at: &Landing| Hit { frame: at.frame, reach: at.reach };
        unit.access_at(&self.memory, function, address, direction, hit).map_err(fault)
    }

    /// The unit that the requests of `function` go through, if it sends any.
    fn way_of(&self, function: PciDevice) -> Result<&UnitModel, FaultReason> {
        if self.is_stopped(function) {
            return Err(FaultReason::Off);
        }
        self.device(function).and_then(|device| self.unit(device.unit)).ok_or(FaultReason::NoDevice)
    }

    fn transfer(
        &self,
        function: PciDevice,
        address: u64,
        bytes: usize,
        direction: Direction,
        mut act: impl FnMut(&Landing, usize, usize),
    ) -> Result<(), DmaFault> {
        let mut done = 0;
        while done < bytes {
            let at = address.wrapping_add(done as u64);
            let fault = |reason| DmaFault { address: at, direction, reason, done };
            let unit = self.way_of(function).map_err(fault)?;
            let offset = (at & 0xfff) as usize;
            let now = (PAGE_SIZE - offset).min(bytes - done);
            unit.access_at(&self.memory, function, at, direction, |landing| {
                act(landing, offset, now)
            })
            .map_err(fault)?;
            done += now;
        }
        Ok(())
    }
}
