//! The machine without the service: what the platform, the tests and the devices act on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use pviommu_abi::{DomId, Gfn};
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{CopyFault, Operation, UnitId},
};

use super::{
    config::Config,
    devices::DeviceRecord,
    frames::{FrameKind, PAGE_SIZE, lock},
    harsh::Instants,
    layout::lay_out,
    lent::Lent,
    lock::PlatformLock,
    memory::Memory,
    orders,
    p2m::P2m,
    pause::{Pause, PausePoint},
    pieces::{Piece, Pieces},
    sabotage::Sabotage,
    schedule::Schedule,
    shares::Shares,
    watch::Watch,
};
use crate::iommu::UnitModel;

/// A copy between the service and the memory of a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Whose memory.
    pub domain: DomId,
    /// Guest physical address of the first byte.
    pub address: u64,
    /// Number of bytes.
    pub bytes: usize,
    /// True if the service wrote them.
    pub out: bool,
}

/// Memory, domains' P2Ms, units and devices.
#[derive(Debug)]
pub struct Board {
    pub(crate) memory: Memory,
    pub(crate) domains: Vec<(DomId, Arc<P2m>)>,
    pub(crate) shares: Shares,
    pub(crate) lent: Lent,
    pub(crate) units: Vec<UnitModel>,
    pub(crate) devices: Vec<DeviceRecord>,
    pub(crate) schedule: Schedule,
    pub(crate) sabotage: Sabotage,
    instants: Instants,
    /// Devices are in some table at any time, so their direct ranges are, too.
    pub(crate) quarantine: bool,
    pub(crate) lock: PlatformLock,
    pub(crate) failed: Mutex<Vec<UnitId>>,
    pub(crate) spare: Mutex<Vec<Mfn>>,
    pub(crate) allocation: PausePoint,
    pub(crate) invalidation: PausePoint,
    pub(crate) pieces: Pieces,
    recording: AtomicBool,
    copies: Mutex<Vec<Copied>>,
    asked: Mutex<Option<Operation>>,
    pub(crate) watch: Watch,
}

impl Board {
    /// Counts the work of what `act` has one CPU do: of each kind the most in one piece, from one look at
    /// whether to give way to the next.
    pub fn pieces_of(&self, act: impl FnOnce()) -> Piece {
        self.pieces.begin();
        act();
        self.pieces.stop().0
    }

    /// Counts all the work of what `act` has one CPU do.
    pub fn work_of(&self, act: impl FnOnce()) -> Piece {
        self.pieces.begin();
        act();
        self.pieces.stop().1
    }

    /// The machine that `config` describes, with all devices blocked.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let layout = lay_out(config);
        let unit = |(i, facts)| {
            let unit = UnitModel::new(UnitId(u16::try_from(i).unwrap()), facts);
            orders::bring_up(unit.with_harshness(&config.harshness))
        };
        Self {
            memory: layout.memory,
            domains: config.domains.iter().map(|d| d.id).zip(layout.p2ms).collect(),
            units: config.units.iter().copied().enumerate().map(unit).collect(),
            devices: config.devices.iter().map(DeviceRecord::new).collect(),
            shares: Shares::default(),
            lent: Lent::default(),
            schedule: Schedule::default(),
            sabotage: Sabotage::new(config.sabotage),
            quarantine: config.quarantine.is_some(),
            instants: Instants::new(config.harshness.prefetch, config.seed),
            lock: PlatformLock::default(),
            failed: Mutex::default(),
            spare: Mutex::new(layout.spare),
            allocation: PausePoint::default(),
            invalidation: PausePoint::default(),
            pieces: Pieces::default(),
            recording: AtomicBool::new(false),
            copies: Mutex::default(),
            asked: Mutex::default(),
            watch: Watch::default(),
        }
    }

    /// The machine's memory, tables and violations.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Failures on request.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The unit with this number.
    #[must_use]
    pub fn unit(&self, unit: UnitId) -> Option<&UnitModel> {
        self.units.get(usize::from(unit.0))
    }

    /// Holds up the next call that has a unit invalidate something.
    #[must_use]
    pub fn pause_invalidation(&self) -> Pause {
        self.invalidation.arm()
    }

    /// Holds up the next call that asks for a table frame, before it gets one.
    #[must_use]
    pub fn pause_allocation(&self) -> Pause {
        self.allocation.arm()
    }

    /// The units that the service has given up, in order.
    #[must_use]
    pub fn failed_units(&self) -> Vec<UnitId> {
        lock(&self.failed).clone()
    }

    /// What the hardware does of its own accord, at an instant that the service did not choose:
    /// between any two of its stores, as far as the platform hears of them.
    pub(crate) fn meanwhile(&self) {
        let Some(mut dice) = self.instants.pass() else { return };
        self.check_guarded();
        if dice.once_in(4) {
            self.memory.land_some();
        }
        if !self.units.is_empty() {
            self.units[dice.below(self.units.len())].meanwhile(&self.memory, dice);
        }
    }

    /// What all chance in the machine comes from.
    pub(crate) const fn seed(&self) -> u64 {
        self.instants.seed()
    }

    /// The P2M of `domain`.
    #[must_use]
    pub fn p2m(&self, domain: DomId) -> Option<&P2m> {
        self.domains.iter().find(|(id, _)| *id == domain).map(|(_, p2m)| &**p2m)
    }

    /// Starts or stops the record of what the service copies from and to guests.
    pub fn record_copies(&self, on: bool) {
        self.recording.store(on, Ordering::Relaxed);
    }

    /// Takes the record of copies.
    pub fn take_copies(&self) -> Vec<Copied> {
        std::mem::take(&mut lock(&self.copies))
    }

    pub(crate) fn note_copy(&self, copied: Copied) {
        if self.recording.load(Ordering::Relaxed) {
            lock(&self.copies).push(copied);
        }
    }

    /// What the embedder's policy was asked last.
    #[must_use]
    pub fn asked(&self) -> Option<Operation> {
        *lock(&self.asked)
    }

    pub(crate) fn note_asked(&self, operation: &Operation) {
        *lock(&self.asked) = Some(*operation);
    }

    /// Reads guest memory as a CPU of `domain` does.
    ///
    /// # Errors
    /// [`CopyFault`] if a byte is not in the domain's RAM.
    pub fn guest_read(&self, domain: DomId, address: u64, to: &mut [u8]) -> Result<(), CopyFault> {
        let mut rest = to;
        self.each_page(domain, address, rest.len(), |frame, offset, bytes| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(bytes);
            rest = later;
            self.memory.frames.read(frame, offset, now).map_err(|_| CopyFault)
        })
    }

    /// Writes guest memory as a CPU of `domain` does.
    ///
    /// # Errors
    /// [`CopyFault`] if a byte is not in the domain's RAM; those before it are written.
    pub fn guest_write(&self, domain: DomId, address: u64, from: &[u8]) -> Result<(), CopyFault> {
        let mut rest = from;
        self.each_page(domain, address, from.len(), |frame, offset, bytes| {
            let (now, later) = rest.split_at(bytes);
            rest = later;
            self.memory.frames.write(frame, offset, now).map_err(|_| CopyFault)
        })
    }

    /// Calls `act` with frame, offset and length of each page of a stretch of guest memory.
    fn each_page(
        &self,
        domain: DomId,
        address: u64,
        bytes: usize,
        mut act: impl FnMut(Mfn, usize, usize) -> Result<(), CopyFault>,
    ) -> Result<(), CopyFault> {
        let p2m = self.p2m(domain).ok_or(CopyFault)?;
        let mut done = 0;
        while done < bytes {
            let at = address.checked_add(done as u64).ok_or(CopyFault)?;
            let backed = p2m.lookup(Gfn(at >> 12)).filter(|b| !b.mmio).ok_or(CopyFault)?;
            let info = self.memory.frames.info(backed.frame).ok_or(CopyFault)?;
            if info.kind == FrameKind::Free {
                return Err(CopyFault);
            }
            let offset = (at & 0xfff) as usize;
            let now = (PAGE_SIZE - offset).min(bytes - done);
            act(backed.frame, offset, now)?;
            done += now;
        }
        Ok(())
    }
}
