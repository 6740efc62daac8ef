//! Rounds: each candidate does all rows, then the next one does.

use std::{hint::black_box, time::Instant};

use super::{
    candidate::Candidate,
    report::Figure,
    work::{PAGES, Work},
};

/// The rows, in the order a pass does them.
const ROWS: [&str; 6] = ["map-1", "lookup-seq", "lookup-rand", "unmap-1", "map-256", "unmap-256"];

/// The order in which they are told.
const TOLD: [&str; 6] = ["map-1", "unmap-1", "lookup-seq", "lookup-rand", "map-256", "unmap-256"];

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    rounds: usize,
    passes: u32,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 41, passes: 48 };
    pub(crate) const QUICK: Self = Self { rounds: 11, passes: 12 };
}

/// A candidate behind one call a round, so that all of its operations can be inlined.
pub(crate) trait Round {
    fn name(&self) -> &'static str;

    /// Nanoseconds per page of each row.
    fn round(&mut self, work: &Work, passes: u32) -> [f64; ROWS.len()];
}

impl<C: Candidate> Round for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn round(&mut self, work: &Work, passes: u32) -> [f64; ROWS.len()] {
        // Another candidate has used the caches since.
        pass(self, work);
        let times: Vec<_> = (0..passes).map(|_| pass(self, work)).collect();
        // The median pass: one in which this process lost the CPU says nothing.
        core::array::from_fn(|row| {
            let mut column: Vec<f64> = times.iter().map(|times| times[row]).collect();
            column.sort_by(f64::total_cmp);
            column[column.len() / 2] / PAGES as f64
        })
    }
}

/// One pass over the working set: nanoseconds of each row.
fn pass<C: Candidate>(candidate: &mut C, work: &Work) -> [f64; ROWS.len()] {
    let map_one = timed(|| {
        for &(bfn, mfn) in &work.singles {
            candidate.map_one(bfn, mfn);
        }
    });
    let lookup_seq = timed(|| {
        for &(bfn, _) in &work.singles {
            black_box(candidate.lookup(bfn));
        }
    });
    let lookup_rand = timed(|| {
        for &bfn in &work.shuffled {
            black_box(candidate.lookup(bfn));
        }
    });
    let unmap_one = timed(|| {
        for &(bfn, _) in &work.singles {
            candidate.unmap_one(bfn);
        }
    });
    let map_run = timed(|| {
        for &(bfn, mfn) in &work.runs {
            candidate.map_run(bfn, mfn);
        }
    });
    let unmap_run = timed(|| {
        for &(bfn, _) in &work.runs {
            candidate.unmap_run(bfn);
        }
    });
    [map_one, lookup_seq, lookup_rand, unmap_one, map_run, unmap_run]
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

/// All figures, row by row, the first candidate first in each.
pub(crate) fn measure(
    candidates: &mut [&mut dyn Round],
    work: &Work,
    effort: Effort,
) -> Vec<Figure> {
    let mut rounds: Vec<Vec<[f64; ROWS.len()]>> = vec![Vec::new(); candidates.len()];
    for round in 0..effort.rounds {
        for turn in 0..candidates.len() {
            // Everyone comes after everyone else equally often.
            let index = (round + turn) % candidates.len();
            rounds[index].push(candidates[index].round(work, effort.passes));
        }
    }
    let figure = |row: &'static str, index: usize| {
        let column = ROWS.iter().position(|name| *name == row).unwrap();
        let samples = rounds[index].iter().map(|round| round[column]).collect();
        Figure::new(row, candidates[index].name(), samples)
    };
    let indices = 0..candidates.len();
    TOLD.iter().flat_map(|row| indices.clone().map(|index| figure(row, index))).collect()
}
