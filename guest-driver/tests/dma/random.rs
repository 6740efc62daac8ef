//! Any order of calls, on one CPU and on several: what is mapped is reached, what came back is not.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::thread;

use proptest::prelude::*;
use pviommu_abi::{Errno, Gfn, MapFlags};
use pviommu_guest::dma::{
    Deferral, Deferred, Device, Direction, DmaSpace, DmaStorage, Kept, Mapping, Mode, Pending,
    Piece, Reusing, Strict,
};

use crate::fake::{Call, Here, Page, machine};
use crate::kit::{DEVICE, LOW, entries, leads_to, mapped, open, page, pages, pass, run_on};

/// Buffers there are, each with frames of its own, the first of which is their number times 16.
const BUFFERS: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Map {
        mode: u8,
        buffer: u64,
        direction: Direction,
    },
    Unmap {
        place: usize,
    },
    Take {
        place: usize,
    },
    Drop {
        place: usize,
    },
    Pass {
        microseconds: u64,
    },
    Flush,
    /// Unmaps fail from now on, or no longer.
    Break {
        broken: bool,
    },
    /// The next map that has this frame is refused, or none.
    Refuse {
        frame: Option<u64>,
    },
    Run {
        cpu: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let direction =
        prop_oneof![Just(Direction::ToDevice), Just(Direction::FromDevice), Just(Direction::Both)];
    prop_oneof![
        8 => (0..3_u8, 0..BUFFERS, direction)
            .prop_map(|(mode, buffer, direction)| Step::Map { mode, buffer, direction }),
        6 => (0..64_usize).prop_map(|place| Step::Unmap { place }),
        4 => (0..64_usize).prop_map(|place| Step::Take { place }),
        1 => (0..64_usize).prop_map(|place| Step::Drop { place }),
        1 => (1..2000_u64).prop_map(|microseconds| Step::Pass { microseconds }),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|broken| Step::Break { broken }),
        1 => prop::option::of(0..BUFFERS * 16).prop_map(|frame| Step::Refuse { frame }),
        1 => (0..4_usize).prop_map(|cpu| Step::Run { cpu }),
    ]
}

/// The frames of a buffer: some follow each other, some do not.
fn frames(buffer: u64) -> Vec<u64> {
    let first = buffer * 16;
    match buffer % 4 {
        0 => vec![first],
        1 => vec![first, first + 1, first + 2],
        2 => vec![first + 4, first + 2, first],
        _ => vec![first, first + 1, first + 5, first + 9, first + 10],
    }
}

fn flags(direction: Direction) -> MapFlags {
    match direction {
        Direction::ToDevice => MapFlags::READABLE,
        Direction::FromDevice => MapFlags::WRITEABLE,
        Direction::Both => MapFlags::READABLE | MapFlags::WRITEABLE,
    }
}

enum Live<'d> {
    Strict(Mapping<'d, Call, Vec<Piece>, Strict>),
    Deferred(Mapping<'d, Call, Vec<Piece>, Deferred>),
    Reusing(Mapping<'d, Call, Vec<Piece>, Reusing>),
}

enum Back<'d> {
    Pending(Pending<'d, Call, Vec<Piece>>),
    Kept(Kept<'d, Call, Vec<Piece>>),
}

/// What the driver knows.
struct Driver<'d> {
    strict: &'d Device<'d, Call, Strict>,
    deferred: &'d Device<'d, Call, Deferred>,
    reusing: &'d Device<'d, Call, Reusing>,
    space: &'d DmaSpace<'d, Call>,
    /// Buffers that nobody has.
    free: BTreeSet<u64>,
    live: Vec<(u64, Direction, Live<'d>)>,
    back: Vec<(u64, Back<'d>)>,
    broken: bool,
}

fn number(buffer: &[Piece]) -> u64 {
    buffer.iter().map(|piece| piece.address >> 16).min().unwrap()
}

impl<'d> Driver<'d> {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Map { mode, buffer, direction } => self.map(mode, buffer, direction),
            Step::Unmap { place } if !self.live.is_empty() => {
                let place = place % self.live.len();
                let (buffer, direction, live) = self.live.swap_remove(place);
                self.unmap(buffer, direction, live);
            }
            Step::Take { place } if !self.back.is_empty() => {
                let place = place % self.back.len();
                let (buffer, back) = self.back.swap_remove(place);
                self.take(buffer, back);
            }
            // What is dropped while unmaps fail is lost for good, and so are its frames.
            Step::Drop { place } if !self.live.is_empty() && !self.broken => {
                let place = place % self.live.len();
                let (buffer, _, live) = self.live.swap_remove(place);
                drop(live);
                self.is_back(buffer);
            }
            Step::Pass { microseconds } => {
                pass(microseconds);
                let polled = self.space.poll();
                assert!(polled.is_ok() || self.broken);
            }
            Step::Flush => {
                let flushed = self.space.flush();
                assert!(flushed.is_ok() || self.broken);
            }
            Step::Break { broken } => {
                self.broken = broken;
                machine(|machine| machine.unmap_fails = broken.then_some(Errno::EIO));
            }
            Step::Refuse { frame } => {
                let bad = frame.map(|frame| (Gfn(frame), Errno::EPERM));
                machine(|machine| machine.bad_frame = bad);
            }
            Step::Run { cpu } => run_on(cpu),
            Step::Unmap { .. } | Step::Take { .. } | Step::Drop { .. } => {}
        }
        self.check();
    }

    fn map(&mut self, mode: u8, buffer: u64, direction: Direction) {
        if !self.free.remove(&buffer) {
            return;
        }
        let pieces = pages(&frames(buffer));
        let mapped = match mode {
            0 => self.strict.map(pieces, direction).map(Live::Strict),
            1 => self.deferred.map(pieces, direction).map(Live::Deferred),
            _ => self.reusing.map(pieces, direction).map(Live::Reusing),
        };
        match mapped {
            Ok(live) => self.live.push((buffer, direction, live)),
            Err(failed) => match failed.buffer {
                Some(pieces) => _ = self.free.insert(number(&pieces)),
                None => assert!(self.broken, "{:?}", failed.cause),
            },
        }
    }

    fn unmap(&mut self, buffer: u64, direction: Direction, live: Live<'d>) {
        let again = match live {
            Live::Strict(mapping) => match mapping.unmap() {
                Ok(_) => return self.is_back(buffer),
                Err(still) => Live::Strict(still.mapping),
            },
            Live::Deferred(mapping) => match mapping.unmap() {
                Ok(pending) => return self.back.push((buffer, Back::Pending(pending))),
                Err(still) => Live::Deferred(still.mapping),
            },
            Live::Reusing(mapping) => {
                return self.back.push((buffer, Back::Kept(mapping.unmap())));
            }
        };
        assert!(self.broken);
        self.live.push((buffer, direction, again));
    }

    fn take(&mut self, buffer: u64, back: Back<'d>) {
        let again = match back {
            Back::Pending(pending) => match pending.take() {
                Ok(_) => return self.is_back(buffer),
                Err(still) => Back::Pending(still.mapping),
            },
            // Half of them are reclaimed; the others are used while the device reaches them.
            Back::Kept(kept) if buffer.is_multiple_of(2) => match kept.reclaim() {
                Ok(_) => return self.is_back(buffer),
                Err(still) => Back::Kept(still.mapping),
            },
            Back::Kept(kept) => {
                kept.accept_exposure();
                self.free.insert(buffer);
                return;
            }
        };
        assert!(self.broken);
        self.back.push((buffer, again));
    }

    /// A buffer came back as safe. Odd ones may be kept by a mapping of before.
    fn is_back(&mut self, buffer: u64) {
        let reached = |frame: u64| {
            machine(|machine| machine.contexts.values().any(|context| context.reaches(Gfn(frame))))
        };
        if buffer.is_multiple_of(2) {
            assert!(!frames(buffer).into_iter().any(reached), "buffer {buffer} is within reach");
        }
        self.free.insert(buffer);
    }

    fn check(&self) {
        for (buffer, direction, live) in &self.live {
            let address = match live {
                Live::Strict(mapping) => mapping.address(),
                Live::Deferred(mapping) => mapping.address(),
                Live::Reusing(mapping) => mapping.address(),
            };
            assert!(address <= LOW);
            for (offset, frame) in (0..).zip(frames(*buffer)) {
                let bfn = pviommu_abi::Bfn::containing(address + offset * 0x1000);
                let found = machine(|machine| machine.context(self.space.context()).reach(bfn));
                let found = found.map(|entry| (entry.page, entry.access));
                assert_eq!(found, Some((Page::Own(Gfn(frame)), flags(*direction))));
            }
        }
        assert!(self.reusing.kept() <= 6);
    }
}

proptest! {
    #[test]
    fn what_is_mapped_is_reached_and_what_came_back_is_not(
        steps in prop::collection::vec(step(), 1..300),
        first in 1..0x10_0000_u64,
    ) {
        machine(|machine| *machine = Default::default());
        machine(|machine| machine.aperture = (pviommu_abi::Bfn(first), pviommu_abi::Bfn((1 << 36) - 1)));
        let storage = DmaStorage::<256, 2>::new();
        let deferral = Deferral { unmaps: 5, microseconds: 1000 };
        let space = open(&storage).with_deferral(deferral);
        let strict = space.attach(DEVICE, LOW).unwrap();
        let deferred = space.attached(DEVICE, LOW).unwrap().deferred();
        let reusing = space.attached(DEVICE, LOW).unwrap().reusing(NonZeroUsize::new(6).unwrap());
        let mut driver = Driver {
            strict: &strict,
            deferred: &deferred,
            reusing: &reusing,
            space: &space,
            free: (0..BUFFERS).collect(),
            live: Vec::new(),
            back: Vec::new(),
            broken: false,
        };
        for step in &steps {
            driver.step(step);
        }
        driver.step(&Step::Break { broken: false });
        driver.step(&Step::Run { cpu: 0 });
        drop(driver);
        drop(reusing);
        space.flush().unwrap();
        let lost = usize::try_from(space.lost_pages()).unwrap();
        prop_assert!(mapped() <= lost, "{} mapped, {lost} lost", mapped());
    }
}

fn drive<M: Mode>(
    device: &Device<'_, Call, M>,
    cpu: u64,
    rounds: u64,
    unmap: impl Fn(Mapping<'_, Call, [Piece; 2], M>),
) {
    for round in 0..rounds {
        // Frames of this CPU's own; some come again.
        let frame = (cpu << 32) + 8 * (round % 97);
        let mapping = device.map([page(frame), page(frame + 3)], Direction::Both).unwrap();
        let address = mapping.address();
        assert!(leads_to(address, frame) && leads_to(address + 0x1000, frame + 3));
        unmap(mapping);
    }
}

#[test]
fn cpus_do_not_get_in_each_others_way() {
    // One CPU more than there is room for.
    let storage = Box::leak(Box::new(DmaStorage::<2048, 3>::new()));
    let space = open(storage);
    let strict = space.attach(DEVICE, LOW).unwrap();
    let deferred = space.attached(DEVICE, LOW).unwrap().deferred();
    let reusing = space.attached(DEVICE, LOW).unwrap().reusing(NonZeroUsize::new(50).unwrap());
    let here = Here::get();
    thread::scope(|scope| {
        for cpu in 0..4_u64 {
            let (strict, deferred, reusing, here) = (&strict, &deferred, &reusing, &here);
            scope.spawn(move || {
                here.enter(cpu as usize);
                drive(strict, cpu, 500, |mapping| _ = mapping.unmap().unwrap());
                let mut waits = VecDeque::new();
                for round in 0..2000 {
                    let frame = (cpu << 32) + 8 * round;
                    let mapping = deferred.map([page(frame)], Direction::Both).unwrap();
                    assert!(leads_to(mapping.address(), frame));
                    waits.push_back(mapping.unmap().unwrap());
                    while waits.len() > 50 || waits.front().is_some_and(Pending::is_safe) {
                        drop(waits.pop_front());
                    }
                }
                drop(waits);
                drive(reusing, cpu, 2000, |mapping| _ = mapping.unmap().accept_exposure());
            });
        }
    });
    drop(reusing);
    space.flush().unwrap();
    assert_eq!(entries(), []);
}
