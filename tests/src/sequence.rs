//! What a trace's kernel took and gave back of bus addresses: work for allocators of them.
//!
//! A kernel takes a range for each batch of maps, up to its `P`, and gives it back when it unmaps all
//! of it by one `U`. Where the range lies is the allocator's affair; what counts is how long each is,
//! and in which order ranges come and go.

use std::collections::HashMap;

use rustc_hash::FxHashMap;

use crate::trace::{DomainId, Op, Trace};

const PAGE: u64 = 4096;

/// One thing that an allocator has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Take a range, and call it `slot`.
    Take {
        /// Of which address space, from 0 on.
        space: usize,
        /// What to call it: a number that is free, as low as can be.
        slot: usize,
        /// How many pages it has.
        pages: u64,
        /// The CPU that does it.
        cpu: usize,
    },
    /// Give back what is called `slot`.
    Give {
        /// To which address space.
        space: usize,
        /// Which range.
        slot: usize,
        /// The CPU that does it.
        cpu: usize,
    },
}

/// All that a trace's kernel did, in order.
#[derive(Clone, Default, Debug)]
pub struct Sequence {
    /// What to do.
    pub steps: Vec<Step>,
    /// How many address spaces there are.
    pub spaces: usize,
    /// How many slots there are, which is how many ranges are taken at the same time at most.
    pub slots: usize,
    /// After how many steps that many are taken for the first time.
    pub peak: usize,
}

impl Sequence {
    /// Reads it off a trace. Identity maps of the kernel's own are left out: nobody chose where
    /// they are.
    ///
    /// # Panics
    /// If an unmap does not match what was mapped, which no kernel's DMA API does.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        let mut sequence = Self::default();
        let mut spaces: HashMap<DomainId, usize> = HashMap::new();
        // By the CPU that maps them.
        let mut batches: FxHashMap<(u32, DomainId), (u64, u64)> = FxHashMap::default();
        let mut taken: FxHashMap<(DomainId, u64), (usize, u64)> = FxHashMap::default();
        let mut unused = Vec::new();
        for event in &trace.events {
            let cpu = event.cpu as usize;
            match event.op {
                Op::Map(map) if map.iova != map.paddr => {
                    let batch = batches.entry((event.cpu, map.domain)).or_insert((map.iova, 0));
                    batch.1 += map.size / PAGE;
                }
                Op::MapBatch(domain) => {
                    let Some((iova, pages)) = batches.remove(&(event.cpu, domain)) else {
                        continue;
                    };
                    let count = spaces.len();
                    let space = *spaces.entry(domain).or_insert(count);
                    let slot = unused.pop().unwrap_or(sequence.slots);
                    sequence.steps.push(Step::Take { space, slot, pages, cpu });
                    taken.insert((domain, iova), (slot, pages));
                    if slot == sequence.slots {
                        sequence.slots += 1;
                        sequence.peak = sequence.steps.len();
                    }
                }
                Op::Unmap(unmap) => {
                    let Some((slot, pages)) = taken.remove(&(unmap.domain, unmap.iova)) else {
                        continue;
                    };
                    assert_eq!(pages, unmap.size / PAGE, "line {}: a part", event.line);
                    let space = spaces[&unmap.domain];
                    sequence.steps.push(Step::Give { space, slot, cpu });
                    unused.push(slot);
                }
                _ => {}
            }
        }
        sequence.spaces = spaces.len();
        sequence
    }

    /// Gives back, at the end, what is still taken then.
    #[must_use]
    pub fn and_all_back(mut self) -> Self {
        let mut taken = vec![None; self.slots];
        for step in &self.steps {
            match *step {
                Step::Take { space, slot, cpu, .. } => taken[slot] = Some((space, cpu)),
                Step::Give { slot, .. } => taken[slot] = None,
            }
        }
        for (slot, whose) in taken.into_iter().enumerate() {
            if let Some((space, cpu)) = whose {
                self.steps.push(Step::Give { space, slot, cpu });
            }
        }
        self
    }
}
