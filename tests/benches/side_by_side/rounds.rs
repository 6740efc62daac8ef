//! One pass of a candidate over a working set: all its rows.

use pviommu_testbed::measure::{Case, timed};

use super::{
    candidate::Candidate,
    work::{RUN, SMALL, TABLE, Work},
};

/// The rows that every candidate has, in the order in which they are told.
const ROWS: [&str; 10] = [
    "map-1",
    "unmap-1",
    "lookup-seq",
    "lookup-rand",
    "map-256",
    "unmap-256",
    "map-512",
    "unmap-512",
    "map-2m",
    "unmap-2m",
];

/// Those of candidates that map lists.
const LIST_ROWS: [&str; 2] = ["map-256-list", "unmap-256-list"];

/// A candidate and what it works on.
pub(crate) struct Passes<'w, C> {
    pub(crate) candidate: C,
    pub(crate) work: &'w Work,
}

impl<C: Candidate> Case for Passes<'_, C> {
    fn name(&self) -> String {
        C::NAME.to_owned()
    }

    fn rows(&self) -> Vec<String> {
        let lists = LIST_ROWS.iter().filter(|_| C::MAPS_LISTS);
        let suffix = if self.work.pages > SMALL { "-large" } else { "" };
        ROWS.iter().chain(lists).map(|row| format!("{row}{suffix}")).collect()
    }

    fn pass(&mut self) -> Vec<f64> {
        pass(&mut self.candidate, self.work)
    }
}

/// Nanoseconds of each row, for each page, or for each large one.
fn pass<C: Candidate>(candidate: &mut C, work: &Work) -> Vec<f64> {
    let map_one = timed(|| candidate.map_ones(&work.singles));
    let lookup_seq = timed(|| candidate.lookup_ones(work.singles.iter().map(|(bfn, _)| *bfn)));
    let lookup_rand = timed(|| candidate.lookup_ones(work.shuffled.iter().copied()));
    let unmap_one = timed(|| candidate.unmap_ones(&work.singles));
    let [map_run, unmap_run] = runs(candidate, work, RUN);
    let [map_table, unmap_table] = runs(candidate, work, TABLE);
    let map_large = timed(|| candidate.map_larges(&work.large));
    let unmap_large = timed(|| candidate.unmap_larges(&work.large));
    let (pages, large) = (work.pages as f64, work.large.len() as f64);
    let small =
        [map_one, unmap_one, lookup_seq, lookup_rand, map_run, unmap_run, map_table, unmap_table];
    let mut times: Vec<f64> = small.iter().map(|time| time / pages).collect();
    times.extend([map_large / large, unmap_large / large]);
    if C::MAPS_LISTS {
        times.extend(lists(candidate, work).map(|time| time / pages));
    }
    times
}

fn runs<C: Candidate>(candidate: &mut C, work: &Work, pages: u64) -> [f64; 2] {
    let map = timed(|| {
        for &(bfn, mfn) in work.runs(pages) {
            candidate.map_run(bfn, mfn, pages);
        }
    });
    let unmap = timed(|| {
        for &(bfn, _) in work.runs(pages) {
            candidate.unmap_run(bfn, pages);
        }
    });
    [map, unmap]
}

fn lists<C: Candidate>(candidate: &mut C, work: &Work) -> [f64; 2] {
    let map = timed(|| {
        for list in work.singles.chunks(RUN as usize) {
            candidate.map_list(list);
        }
    });
    let unmap = timed(|| {
        for list in work.singles.chunks(RUN as usize) {
            candidate.unmap_run(list[0].0, RUN);
        }
    });
    [map, unmap]
}
