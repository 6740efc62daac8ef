//! A driver that maps and unmaps, and what must hold of it.

use pviommu_guest::dma::{
    Deferred, Device, Direction, DmaSpace, Kept, MapFailed, Mapping, Mode, Pending, Reusing, Strict,
};

use super::{
    calls,
    input::Operation,
    liar::Liar,
    memory::{BUFFERS, Memory, frames, range},
};

/// The greatest address that devices reach.
pub(super) const MASK: u64 = 0x0fff_ffff;

/// Buffers from this number on are mapped where mappings are kept.
pub(super) const REUSED: u8 = BUFFERS - 6;

/// Numbers of grants, none of which is a guest frame of a buffer.
const GRANTS: u64 = 1 << 50;

/// A mapping, by its mode.
pub(super) enum Live<'d> {
    Strict(Mapping<'d, Liar, Memory, Strict>),
    Deferred(Mapping<'d, Liar, Memory, Deferred>),
    Reusing(Mapping<'d, Liar, Memory, Reusing>),
}

enum Back<'d> {
    Pending(Pending<'d, Liar, Memory>),
    Kept(Kept<'d, Liar, Memory>),
}

/// Where a mapping leads, and what a device may do there: bit 0: read. Bit 1: write.
pub(super) type Reach = (Vec<u64>, u16);

/// A device in each mode, in one space.
#[derive(Clone, Copy)]
pub(super) struct Devices<'d> {
    pub(super) strict: &'d Device<'d, Liar, Strict>,
    pub(super) deferred: &'d Device<'d, Liar, Deferred>,
    pub(super) reusing: &'d Device<'d, Liar, Reusing>,
}

/// What a driver has mapped for these devices.
pub(super) struct Driver<'d> {
    pub(super) liar: &'d Liar,
    pub(super) space: &'d DmaSpace<'d, Liar>,
    pub(super) devices: Devices<'d>,
    /// Buffers that are with the driver.
    pub(super) free: Vec<u8>,
    /// With the frames that each leads to; none once an unmap has failed.
    pub(super) live: Vec<(Reach, Live<'d>)>,
    back: Vec<(std::ops::Range<u64>, Back<'d>)>,
    pub(super) grants: u64,
    /// Nothing has waited or was kept so far.
    pub(super) plain: bool,
    /// Bus frames that were reserved on the way.
    pub(super) reserved: u64,
}

impl<'d> Driver<'d> {
    pub(super) fn new(liar: &'d Liar, space: &'d DmaSpace<'d, Liar>, devices: Devices<'d>) -> Self {
        let (live, back) = (Vec::new(), Vec::new());
        let free = (0..BUFFERS).collect();
        let (grants, plain, reserved) = (GRANTS, true, 0);
        Self { liar, space, devices, free, live, back, grants, plain, reserved }
    }

    /// Does it; what came of it, in words.
    pub(super) fn apply(&mut self, operation: &Operation) -> String {
        let Operation { which, number, .. } = *operation;
        let told = match operation.what % 16 {
            kind @ 0..=2 => self.map(kind, which, number),
            3 => self.unmap(which),
            4 => self.take(which, number & 1 != 0),
            5 if !self.live.is_empty() => {
                let (_, live) = self.live.swap_remove(usize::from(which) % self.live.len());
                self.forget(live)
            }
            6 if !self.back.is_empty() => {
                drop(self.back.swap_remove(usize::from(which) % self.back.len()));
                "dropped".into()
            }
            5 | 6 => "there is none".into(),
            7 => {
                self.liar.pass(number.into());
                format!("polled: {:?}", self.space.poll())
            }
            8 => self.flush(),
            9 => self.coherent(which, number),
            10 => self.map_grants(number),
            11 => self.map_foreign(which),
            12 => {
                self.liar.run_on(which.into());
                "on another CPU".into()
            }
            13 => calls::call(self.liar, self.space.client(), which, number),
            14 => self.pool(number),
            _ => self.reserve(which, number),
        };
        self.check();
        told
    }

    fn map(&mut self, kind: u8, which: u8, number: u16) -> String {
        let directions = [Direction::ToDevice, Direction::FromDevice, Direction::Both];
        let (direction, access) = (directions[usize::from(number) % 3], number % 3 + 1);
        let (first, count) = if kind == 2 { (REUSED, BUFFERS - REUSED) } else { (0, REUSED) };
        let buffer = first + which % count;
        let Some(place) = self.free.iter().position(|it| *it == buffer) else {
            return "it is mapped".into();
        };
        self.free.swap_remove(place);
        self.plain &= kind == 0;
        let before = self.state();
        let memory = Memory::buffer(self.liar, buffer);
        let mapped = match kind {
            0 => self.devices.strict.map(memory, direction).map(Live::Strict),
            1 => self.devices.deferred.map(memory, direction).map(Live::Deferred),
            _ => self.devices.reusing.map(memory, direction).map(Live::Reusing),
        };
        self.hold(before, (frames(buffer), access), mapped)
    }

    /// Bus frames that are free, and pages that are lost.
    pub(super) fn state(&self) -> (u64, u64) {
        (self.space.free_pages(), self.space.lost_pages())
    }

    /// A buffer was mapped, or not.
    pub(super) fn hold(
        &mut self,
        (free, lost): (u64, u64),
        reach: Reach,
        mapped: Result<Live<'d>, MapFailed<Memory>>,
    ) -> String {
        let failed = match mapped {
            Ok(live) => {
                self.live.push((reach, live));
                return "mapped".into();
            }
            Err(failed) => failed,
        };
        let told = format!("{:?}", failed.cause);
        let (now, then_lost) = self.state();
        match failed.buffer {
            Some(memory) => {
                assert_eq!(then_lost, lost, "pages of a buffer that came back are lost");
                assert!(now == free || !self.plain, "a map that failed took bus frames: {told}");
                self.is_back(&memory.pages);
            }
            None => assert!(then_lost > lost, "a buffer is gone, and not lost: {told}"),
        }
        told
    }

    /// The driver has a buffer again.
    pub(super) fn is_back(&mut self, pages: &std::ops::Range<u64>) {
        self.free.extend((0..BUFFERS).find(|buffer| range(*buffer) == *pages));
    }

    fn unmap(&mut self, which: u8) -> String {
        if self.live.is_empty() {
            return "there is none".into();
        }
        let (_, live) = self.live.swap_remove(usize::from(which) % self.live.len());
        let (still, cause) = match live {
            Live::Strict(mapping) => match mapping.unmap() {
                Ok(memory) => {
                    self.is_back(&memory.pages);
                    return "unmapped".into();
                }
                Err(still) => (Live::Strict(still.mapping), still.cause),
            },
            Live::Deferred(mapping) => {
                let pages = mapping.buffer().pages.clone();
                match mapping.unmap() {
                    Ok(pending) => {
                        self.back.push((pages, Back::Pending(pending)));
                        return "waits".into();
                    }
                    Err(still) => (Live::Deferred(still.mapping), still.cause),
                }
            }
            Live::Reusing(mapping) => {
                let pages = mapping.buffer().pages.clone();
                self.back.push((pages, Back::Kept(mapping.unmap())));
                return "kept".into();
            }
        };
        // Some of it may be unmapped.
        self.live.push((Reach::default(), still));
        format!("{cause:?}")
    }

    fn take(&mut self, which: u8, exposes: bool) -> String {
        if self.back.is_empty() {
            return "there is none".into();
        }
        let (pages, back) = self.back.swap_remove(usize::from(which) % self.back.len());
        let (still, cause) = match back {
            Back::Pending(pending) => match pending.take() {
                Ok(memory) => {
                    self.is_back(&memory.pages);
                    return "taken".into();
                }
                Err(still) => (Back::Pending(still.mapping), still.cause),
            },
            Back::Kept(kept) if exposes => {
                self.liar.with_witness(|witness| witness.expose(&pages));
                drop(kept.accept_exposure());
                self.is_back(&pages);
                return "taken, exposed".into();
            }
            Back::Kept(kept) => match kept.reclaim() {
                Ok(memory) => {
                    self.is_back(&memory.pages);
                    return "reclaimed".into();
                }
                Err(still) => (Back::Kept(still.mapping), still.cause),
            },
        };
        self.back.push((pages, still));
        format!("{cause:?}")
    }

    /// A mapping is dropped: the buffer is safe, or lost.
    fn forget(&mut self, live: Live<'d>) -> String {
        let lost = self.space.lost_pages();
        match live {
            Live::Strict(mapping) => drop(mapping),
            Live::Deferred(mapping) => drop(mapping),
            Live::Reusing(mapping) => drop(mapping),
        }
        format!("dropped, {} pages are lost", self.space.lost_pages() - lost)
    }

    fn flush(&self) -> String {
        let flushed = self.space.flush();
        let safe = |(_, back): &(_, Back<'_>)| match back {
            Back::Pending(pending) => pending.is_safe(),
            Back::Kept(_) => true,
        };
        assert!(flushed.is_err() || self.back.iter().all(safe), "it waits after a flush");
        format!("{flushed:?}")
    }

    /// What is mapped is where it was told to be, and nowhere beyond the devices' reach.
    fn check(&self) {
        for (reach, live) in &self.live {
            match live {
                Live::Strict(mapping) => self.check_mapping(mapping, reach),
                Live::Deferred(mapping) => self.check_mapping(mapping, reach),
                Live::Reusing(mapping) => self.check_mapping(mapping, reach),
            }
        }
    }

    fn check_mapping<M: Mode>(
        &self,
        mapping: &Mapping<'_, Liar, Memory, M>,
        (frames, access): &Reach,
    ) {
        let first = mapping.address() >> 12;
        let Some(beyond) = (frames.len() as u64).checked_sub(1) else { return };
        let last = mapping.address() + beyond * 4096 + 4095;
        assert!(last <= MASK, "{last:#x} is beyond the reach of the device");
        self.liar.with_witness(|witness| {
            for (bfn, frame) in (first..).zip(frames) {
                let leads = witness.leads(bfn);
                let right = leads.is_some_and(|leads| {
                    leads.told && leads.to == *frame && leads.access == *access
                });
                assert!(right, "bus frame {bfn:#x} is to lead to {frame:#x}: {leads:x?}");
            }
        });
    }

    /// Drops all that is mapped, waits or is kept; how many bus frames were reserved.
    pub(super) fn end(self) -> u64 {
        self.reserved
    }
}
