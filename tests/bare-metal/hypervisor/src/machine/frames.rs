//! Which frames of memory are free.
//!
//! A bit for each frame, searched for the first gap that is long enough. What is given out is counted, so
//! that a test sees whether all of it came back.

use pviommu_hypervisor::addr::{Mfn, PAGE_SHIFT};
use spin::Mutex;

use super::{
    memory::{self, MAPPED, PAGE},
    start_info::{StartInfo, Stretch},
};

const FRAMES: usize = MAPPED / PAGE;

/// All memory of the machine that is mapped.
pub static FREE: Frames =
    Frames(Mutex::new(State { unused: [0; FRAMES / 64], free: 0, given: 0, end: 0 }));

/// The frames of a machine.
#[derive(Debug)]
pub struct Frames(Mutex<State>);

#[derive(Debug)]
struct State {
    /// A bit is set for a frame of memory that nobody has.
    unused: [u64; FRAMES / 64],
    free: usize,
    /// How many are given out that are to come back.
    given: usize,
    /// The frame after the last one that is memory.
    end: usize,
}

impl State {
    fn is_used(&self, frame: usize) -> bool {
        self.unused.get(frame / 64).is_none_or(|word| word >> (frame % 64) & 1 == 0)
    }

    fn set(&mut self, frame: usize, used: bool) {
        if self.is_used(frame) == used {
            return;
        }
        if let Some(word) = self.unused.get_mut(frame / 64) {
            *word ^= 1 << (frame % 64);
            self.free = if used { self.free - 1 } else { self.free + 1 };
        }
    }

    /// The first of `pages` free frames, at a multiple of `align`.
    fn find(&self, pages: usize, align: usize) -> Option<usize> {
        let mut first = 0;
        loop {
            // A word without a free frame is passed over as a whole.
            if self.unused.get(first / 64) == Some(&0) {
                first = (first / 64 + 1) * 64;
            }
            first = first.next_multiple_of(align);
            if first + pages > self.end {
                return None;
            }
            match (first..first + pages).rev().find(|frame| self.is_used(*frame)) {
                None => return Some(first),
                Some(used) => first = used + 1,
            }
        }
    }
}

impl Frames {
    /// Takes in what the loader says is free, without what it uses itself.
    pub fn fill(&self, info: &StartInfo) {
        let mut state = self.0.lock();
        let frame =
            |address: u64| usize::try_from(address >> PAGE_SHIFT).unwrap_or(FRAMES).min(FRAMES);
        for Stretch { start, end, .. } in info.memory().filter(|stretch| stretch.free) {
            let whole = frame(start.next_multiple_of(PAGE as u64))..frame(end);
            state.end = state.end.max(whole.end);
            whole.for_each(|frame| state.set(frame, false));
        }
        for Stretch { start, end, .. } in info.used() {
            let touched = frame(start)..frame(end.next_multiple_of(PAGE as u64));
            touched.for_each(|frame| state.set(frame, true));
        }
    }

    /// Gives out `pages` frames of zeros that follow each other, the first at a multiple of `align` frames.
    #[must_use]
    pub fn alloc(&self, pages: usize, align: usize) -> Option<Mfn> {
        let mut state = self.0.lock();
        let first = state.find(pages, align)?;
        (first..first + pages).for_each(|frame| state.set(frame, true));
        state.given += pages;
        drop(state);
        let first = Mfn(first as u64);
        memory::clear(first, pages);
        Some(first)
    }

    /// Takes `pages` frames back.
    pub fn free(&self, first: Mfn, pages: usize) {
        let mut state = self.0.lock();
        let first = first.0 as usize;
        (first..first + pages).for_each(|frame| state.set(frame, false));
        state.given -= pages;
    }

    /// How many frames are given out that are to come back: whoever tests looks for what did not.
    #[must_use]
    pub fn given(&self) -> usize {
        self.0.lock().given
    }

    /// How many frames are free.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().free
    }

    /// The frame after the last one of memory.
    #[must_use]
    pub fn end(&self) -> usize {
        self.0.lock().end
    }

    /// Memory for `count` values that is never given back, each made by `make`.
    ///
    /// # Panics
    /// If there is not as much.
    pub fn place<T>(&self, count: usize, make: impl FnMut(usize) -> T) -> &'static mut [T] {
        let pages = memory::pages_for::<T>(count).max(1);
        let first = self.alloc(pages, 1).expect("the machine has too little memory");
        self.0.lock().given -= pages;
        memory::place(first, count, make)
    }

    /// The same of one value.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn place_one<T>(&self, value: T) -> &'static T {
        let mut value = Some(value);
        let placed: &[T] = self.place(1, |_| value.take().expect("it is taken once"));
        placed.first().expect("it was placed")
    }
}
