//! Has an allocator do the work of all rows.

use std::{collections::BTreeMap, hint::black_box};

use pviommu_testbed::{
    measure::{Case, timed},
    sequence::Step,
};

use crate::{
    allocator::{Allocator, FIRST, LAST},
    tail::{self, Tail},
    work::Work,
};

/// An allocator of each address space, and what it handed out.
pub(crate) struct Player<'w, A: Allocator> {
    works: &'w [Work],
    spaces: Vec<A>,
    slots: Vec<Option<A::Range>>,
}

/// What is done with all of them, whichever allocator.
pub(crate) trait Plays {
    fn as_case(&mut self) -> &mut dyn Case;

    /// What single steps take, of each row, from so many times each.
    fn tails(&mut self, times: usize) -> Vec<Tail>;
}

impl<'w, A: Allocator> Player<'w, A> {
    /// # Panics
    /// If it hands out a frame twice, or one that it does not have.
    pub(crate) fn new(works: &'w [Work]) -> Self {
        let count = works.iter().map(|work| work.spaces).max().unwrap_or(0);
        let spaces = (0..count).map(|_| A::new()).collect();
        let mut player = Self { works, spaces, slots: Vec::new() };
        for work in works {
            player.check(work);
        }
        player
    }

    fn begin(&mut self, work: &Work) {
        self.slots.clear();
        self.slots.resize_with(work.slots, || None);
        self.spaces.iter_mut().for_each(A::clear);
    }

    #[inline]
    fn step(&mut self, step: Step) {
        match step {
            Step::Take { space, slot, pages, cpu } => {
                self.slots[slot] = Some(self.spaces[space].take(cpu, pages));
            }
            Step::Give { space, slot, cpu } => {
                let range = self.slots[slot].take().expect("it was taken");
                self.spaces[space].give(cpu, range);
            }
        }
    }

    fn check(&mut self, work: &Work) {
        self.begin(work);
        let mut taken: Vec<BTreeMap<u64, u64>> = vec![BTreeMap::new(); work.spaces];
        for step in work.before.iter().chain(&work.steps) {
            if let Step::Give { space, slot, .. } = *step
                && let Some(first) = self.slots[slot].as_ref().and_then(A::first)
            {
                taken[space].remove(&first).expect("it was taken");
            }
            self.step(*step);
            if let Step::Take { space, slot, pages, .. } = *step
                && let Some(first) = self.slots[slot].as_ref().and_then(A::first)
            {
                let before = taken[space].range(..first + pages).next_back();
                assert!(before.is_none_or(|(at, pages)| at + pages <= first), "{}", A::NAME);
                assert!(first >= FIRST && first + pages <= LAST + 1, "{}", A::NAME);
                taken[space].insert(first, pages);
            }
        }
    }
}

impl<A: Allocator> Case for Player<'_, A> {
    fn name(&self) -> String {
        A::NAME.to_owned()
    }

    fn rows(&self) -> Vec<String> {
        self.works.iter().map(|work| work.name.clone()).collect()
    }

    fn pass(&mut self) -> Vec<f64> {
        let works = self.works;
        let row = |work: &Work| {
            self.begin(work);
            work.before.iter().for_each(|step| self.step(*step));
            let time = timed(|| black_box(&work.steps).iter().for_each(|step| self.step(*step)));
            time / work.steps.len() as f64
        };
        works.iter().map(row).collect()
    }
}

impl<A: Allocator> Plays for Player<'_, A> {
    fn as_case(&mut self) -> &mut dyn Case {
        self
    }

    fn tails(&mut self, times: usize) -> Vec<Tail> {
        let works = self.works;
        let row = |work: &Work| {
            tail::of(work.steps.len(), times, |step_took| {
                self.begin(work);
                work.before.iter().for_each(|step| self.step(*step));
                for step in &work.steps {
                    step_took(timed(|| self.step(*step)));
                }
            })
        };
        works.iter().map(row).collect()
    }
}
