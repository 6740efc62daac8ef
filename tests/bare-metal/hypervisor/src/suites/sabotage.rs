//! A driver between the service and the real one that leaves something out when it is told to: so that a
//! suite is seen to be able to fail.
#![expect(unsafe_code, reason = "it breaks what a driver promises, on purpose")]

use core::sync::atomic::{AtomicU32, Ordering};

use pviommu_hypervisor::{
    abi::Bfn,
    addr::BfnRange,
    platform::{AttachError, Invalidation, SourceId, TableRoot, Tag, UnitError, UnitFacts},
    unit::driver::{Driver, Event},
};

use crate::{glue::Setup, machine::frames::FREE};

/// What is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// Nothing.
    Nothing,
    /// No invalidation is made.
    NoInvalidation,
    /// Each invalidation is of another tag.
    OtherTag,
    /// Each invalidation is of as many pages, but further on.
    OtherPages,
}

impl Break {
    const ALL: [Self; 4] = [Self::Nothing, Self::NoInvalidation, Self::OtherTag, Self::OtherPages];
}

/// How far on. Not by a multiple of 256: QEMU 7.2 looks at 8 bits of the page number.
const FURTHER: u64 = 1 << 20 | 1 << 6;

/// What is broken now, in all units.
pub static SABOTAGE: Switch = Switch(AtomicU32::new(0));

/// Says what is broken.
pub struct Switch(AtomicU32);

impl Switch {
    /// From here on this is broken, and no more.
    pub fn set(&self, what: Break) {
        self.0.store(what as u32, Ordering::SeqCst);
    }

    fn get(&self) -> Break {
        let number = self.0.load(Ordering::SeqCst);
        Break::ALL.into_iter().find(|it| *it as u32 == number).unwrap_or(Break::Nothing)
    }
}

struct Saboteur(&'static dyn Driver);

/// The usual setup, with the saboteur in between.
pub(super) fn setup() -> Setup {
    let between = |driver| {
        let placed: &'static dyn Driver = FREE.place_one(Saboteur(driver));
        placed
    };
    Setup { between, ..Setup::default() }
}

fn further(range: BfnRange) -> BfnRange {
    let first = Bfn(range.first().0.wrapping_add(FURTHER));
    BfnRange::of_pages(first, range.pages()).unwrap_or(range)
}

// SAFETY: none, while something is broken: that is what it is for. No memory but that of domains which are
// part of the test is reached by it.
unsafe impl Driver for Saboteur {
    fn facts(&self) -> UnitFacts {
        self.0.facts()
    }

    fn attach(&self, source: SourceId, root: TableRoot, tag: Tag) -> Result<(), AttachError> {
        self.0.attach(source, root, tag)
    }

    fn block(&self, source: SourceId) -> Result<(), UnitError> {
        self.0.block(source)
    }

    fn invalidate(&self, tag: Tag, what: Invalidation) -> Result<(), UnitError> {
        let elsewhere = match what {
            Invalidation::Leaves(range) => Invalidation::Leaves(further(range)),
            Invalidation::Tables(range) => Invalidation::Tables(further(range)),
            other => other,
        };
        match SABOTAGE.get() {
            Break::Nothing => self.0.invalidate(tag, what),
            Break::NoInvalidation => Ok(()),
            Break::OtherTag => self.0.invalidate(Tag(tag.0 ^ 1), what),
            Break::OtherPages => self.0.invalidate(tag, elsewhere),
        }
    }

    fn sync_map(&self, tag: Tag, range: BfnRange) -> Result<(), UnitError> {
        self.0.sync_map(tag, range)
    }

    fn stop(&self, source: SourceId) {
        self.0.stop(source);
    }

    fn restart(&self, source: SourceId) {
        self.0.restart(source);
    }

    fn next_event(&self) -> Option<Event> {
        self.0.next_event()
    }

    fn isolates_interrupts(&self) -> bool {
        self.0.isolates_interrupts()
    }

    fn suspend(&self) -> Result<(), UnitError> {
        self.0.suspend()
    }

    fn resume(&self) -> Result<(), UnitError> {
        self.0.resume()
    }

    fn crash_shutdown(&self) {
        self.0.crash_shutdown();
    }
}
