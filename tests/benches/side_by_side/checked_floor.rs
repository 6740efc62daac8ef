//! The checked floor: what several processors may do to one table without any lock, with the checks that no service
//! can leave out: access, aperture, wrap-around, what is there already. Tables are installed by compare-exchange.
//! Nothing is noted: not what must be flushed, nor what must be given back, nor that a table became empty; so no
//! table is ever freed.

use std::sync::atomic::{AtomicU64, Ordering};

use pviommu_hypervisor::{
    abi::DomId,
    addr::Mfn,
    platform::{Pool, TableFrames},
};
use pviommu_testbed::cheap::Arena;

use super::{candidate::Candidate, work::LARGE_PAGES};

const LEAF: u64 = 3;
const SIZE: u64 = 1 << 7;
const APERTURE: u64 = 1 << 36;
const FRAMES: u64 = 1 << 34;

#[derive(Debug)]
pub(crate) struct Refused;

pub(crate) struct CheckedFloor {
    arena: Arena,
    root: Mfn,
}

fn index(bfn: u64, level: u32) -> usize {
    (bfn >> (9 * level)) as usize & 511
}

/// Nothing wraps around, and no end lies outside.
fn check(bfn: u64, mfn: u64, pages: u64) -> Result<(), Refused> {
    let bus_end = bfn.checked_add(pages).ok_or(Refused)?;
    let end = mfn.checked_add(pages).ok_or(Refused)?;
    if pages == 0 || bus_end > APERTURE || end > FRAMES { Err(Refused) } else { Ok(()) }
}

impl CheckedFloor {
    pub(crate) fn new(frames: usize) -> Self {
        let arena = Arena::new(frames);
        let root = arena.alloc(DomId(1), Pool::Open).unwrap();
        Self { arena, root }
    }

    /// The entry of `level` for `bfn`, with tables made on the way.
    #[inline]
    fn place(&self, bfn: u64, to: u32) -> Result<&[AtomicU64], Refused> {
        let mut table = self.root;
        for level in (to + 1..4).rev() {
            let entry = self.arena.table(table).get(index(bfn, level)).ok_or(Refused)?;
            let raw = entry.load(Ordering::Acquire);
            table = match raw {
                0 => self.install(entry)?,
                raw if raw & SIZE != 0 => return Err(Refused),
                raw => Mfn(raw >> 12),
            };
        }
        self.arena.table(table).get(index(bfn, to)..).ok_or(Refused)
    }

    #[cold]
    fn install(&self, entry: &AtomicU64) -> Result<Mfn, Refused> {
        let frame = self.arena.alloc(DomId(1), Pool::Open).ok_or(Refused)?;
        let order = (Ordering::AcqRel, Ordering::Acquire);
        match entry.compare_exchange(0, frame.0 << 12 | LEAF, order.0, order.1) {
            Ok(_) => Ok(frame),
            Err(other) => {
                TableFrames::free(&self.arena, DomId(1), frame, Pool::Open);
                Ok(Mfn(other >> 12))
            }
        }
    }

    #[inline]
    fn map(&self, bfn: u64, mfn: u64, pages: u64) -> Result<(), Refused> {
        check(bfn, mfn, pages)?;
        let entries = self.place(bfn, 0)?.get(..pages as usize).ok_or(Refused)?;
        if entries.iter().fold(0, |all, entry| all | entry.load(Ordering::Relaxed)) != 0 {
            return Err(Refused);
        }
        let mut raw = mfn << 12 | LEAF;
        for entry in entries {
            entry.store(raw, Ordering::Release);
            raw += 1 << 12;
        }
        Ok(())
    }

    #[inline]
    fn unmap(&self, bfn: u64, pages: u64) -> Result<(), Refused> {
        check(bfn, 0, pages)?;
        let entries = self.place(bfn, 0)?.get(..pages as usize).ok_or(Refused)?;
        for entry in entries {
            if entry.load(Ordering::Relaxed) == 0 {
                return Err(Refused);
            }
            entry.store(0, Ordering::Release);
        }
        Ok(())
    }

    #[inline]
    fn change_large(&self, bfn: u64, old: bool, new: u64) -> Result<(), Refused> {
        check(bfn, new >> 12, LARGE_PAGES)?;
        if !(bfn | new >> 12).is_multiple_of(LARGE_PAGES) {
            return Err(Refused);
        }
        let entry = self.place(bfn, 1)?.first().ok_or(Refused)?;
        let raw = entry.load(Ordering::Acquire);
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        if (raw & SIZE != 0) != old || (raw != 0) != old {
            return Err(Refused);
        }
        entry.compare_exchange(raw, new, order.0, order.1).map(|_| ()).map_err(|_| Refused)
    }
}

impl Candidate for CheckedFloor {
    const NAME: &'static str = "checked-floor";

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        self.map(bfn, mfn, 1).unwrap();
    }

    fn unmap_one(&mut self, bfn: u64) {
        self.unmap(bfn, 1).unwrap();
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        self.map(bfn, mfn, pages).unwrap();
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        self.unmap(bfn, pages).unwrap();
    }

    fn map_large(&mut self, bfn: u64, mfn: u64) {
        self.change_large(bfn, false, mfn << 12 | SIZE | LEAF).unwrap();
    }

    fn unmap_large(&mut self, bfn: u64) {
        self.change_large(bfn, true, 0).unwrap();
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        let mut table = self.root;
        for level in (0..4).rev() {
            let raw = self.arena.table(table).get(index(bfn, level))?.load(Ordering::Acquire);
            match raw {
                0 => return None,
                raw if level == 0 => return Some(raw >> 12),
                raw if raw & SIZE != 0 => return Some((raw >> 12) + bfn % LARGE_PAGES),
                raw => table = Mfn(raw >> 12),
            }
        }
        None
    }
}
