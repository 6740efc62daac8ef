//! What has to be done: the rows.

use std::{error::Error, fs, path::Path};

use pviommu_testbed::{
    sequence::{Sequence, Step},
    trace::Trace,
};

/// Ranges that are given back and taken again in the rows of the largest set.
const EXCHANGES: usize = 20_480;

/// One row.
pub(crate) struct Work {
    pub(crate) name: String,
    /// How many allocators, and names of ranges.
    pub(crate) spaces: usize,
    pub(crate) slots: usize,
    /// What comes before, and is not measured.
    pub(crate) before: Vec<Step>,
    pub(crate) steps: Vec<Step>,
}

/// The traces in a directory, and the largest set.
pub(crate) fn of_traces(directory: &Path, quick: bool) -> Result<Vec<Work>, Box<dyn Error>> {
    let mut paths: Vec<_> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    paths.sort();
    if quick {
        paths = paths.into_iter().skip(2).take(3).collect();
    }
    let mut works = Vec::new();
    let mut largest = Sequence::default();
    for path in &paths {
        let trace = Trace::open(path)?;
        let sequence = Sequence::of(&trace);
        if sequence.slots > largest.slots {
            largest.clone_from(&sequence);
        }
        works.push(Work {
            name: trace.name().to_owned(),
            spaces: sequence.spaces,
            slots: sequence.slots,
            before: Vec::new(),
            steps: sequence.steps,
        });
    }
    largest.steps.truncate(largest.peak);
    works.push(exchanges(&largest, 1));
    works.push(exchanges(&largest, 64));
    Ok(works)
}

/// Goes up to the largest set of the sequence, and then gives back any of its ranges, so many at a time, and
/// takes them again in another order.
fn exchanges(largest: &Sequence, at_a_time: usize) -> Work {
    let mut taken: Vec<_> = vec![None; largest.slots];
    for step in &largest.steps {
        if let Step::Take { slot, .. } = *step {
            taken[slot] = Some(*step);
        }
    }
    let mut steps = Vec::new();
    let mut random = Random(1);
    for _ in 0..EXCHANGES / at_a_time {
        let mut again = Vec::new();
        while again.len() < at_a_time {
            // None of which the set has no more.
            let slot = random.below(taken.len());
            if let Some(take @ Step::Take { space, slot, cpu, .. }) = taken[slot].take() {
                steps.push(Step::Give { space, slot, cpu });
                again.push((slot, take));
            }
        }
        while !again.is_empty() {
            let (slot, take) = again.swap_remove(random.below(again.len()));
            steps.push(take);
            taken[slot] = Some(take);
        }
    }
    Work {
        name: format!("largest set, by {at_a_time}"),
        spaces: largest.spaces,
        slots: largest.slots,
        before: largest.steps.clone(),
        steps,
    }
}

/// Numbers that look like chance.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}
