//! What the service is to keep up with: ratios of figures of one run.

use super::{Figure, find};

/// A bound on a ratio of two figures.
#[derive(Clone, Debug)]
pub struct Target {
    /// What is measured.
    pub what: String,
    /// Row and candidate of ours.
    pub ours: (String, String),
    /// Row and candidate that it is compared with.
    pub other: (String, String),
    /// The bound.
    pub bound: Bound,
}

/// How a ratio is bounded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// Ours takes at most so many times as long.
    AtMost(f64),
    /// Two CPUs gain, with what ours names, at least so much of what they gain with the other. Both are the candidates
    /// of the rows `threads-1` and `threads-2`.
    GainAtLeast(f64),
}

impl Target {
    fn new(what: &str, ours: (&str, &str), other: (&str, &str), bound: Bound) -> Self {
        let owned = |(row, candidate): (&str, &str)| (row.to_owned(), candidate.to_owned());
        Self { what: what.to_owned(), ours: owned(ours), other: owned(other), bound }
    }

    /// The ratio, if both were measured.
    #[must_use]
    pub fn ratio(&self, figures: &[Figure]) -> Option<f64> {
        let figure = |row: &str, candidate: &str| find(figures, row, candidate);
        let gain = |of: &str| Some(figure("threads-1", of)? / figure("threads-2", of)?);
        match self.bound {
            Bound::AtMost(_) => {
                Some(figure(&self.ours.0, &self.ours.1)? / figure(&self.other.0, &self.other.1)?)
            }
            Bound::GainAtLeast(_) => Some(gain(&self.ours.1)? / gain(&self.other.1)?),
        }
    }

    /// True if `ratio` is within the bound.
    #[must_use]
    pub fn is_met(&self, ratio: f64) -> bool {
        match self.bound {
            Bound::AtMost(most) => ratio <= most,
            Bound::GainAtLeast(least) => ratio >= least,
        }
    }
}

const MULTIARCH: &str = "page_table_multiarch";
const AARCH64: &str = "aarch64-paging";

/// Rows of the table, what they are compared with, and how many times as long they may take.
const TABLE: [(&str, &str, f64); 8] = [
    ("map-1", MULTIARCH, 1.5),
    ("unmap-1", MULTIARCH, 2.3),
    ("lookup-seq", MULTIARCH, 1.1),
    ("lookup-rand", MULTIARCH, 1.1),
    ("map-256", AARCH64, 0.4),
    ("unmap-256", AARCH64, 0.5),
    ("map-2m", MULTIARCH, 1.5),
    ("unmap-2m", MULTIARCH, 1.5),
];

/// Rows of whole calls that a scratch page must not make much slower.
const OVER_SCRATCH: [&str; 4] = [
    "map_pages-256-pin-range",
    "unmap_pages-256-pin-range",
    "batch-128-pin-locked",
    "batch-unmap-128-pin-locked",
];

/// All of them.
#[must_use]
pub fn targets() -> Vec<Target> {
    let mut all = Vec::new();
    for ours in ["pviommu-vtd", "pviommu-amdv1"] {
        for (row, other, most) in TABLE {
            let what = format!("{ours}, {row}, to {other}");
            all.push(Target::new(&what, (row, ours), (row, other), Bound::AtMost(most)));
        }
    }
    for row in OVER_SCRATCH {
        let what = format!("{row}, over scratch to fault");
        all.push(Target::new(&what, (row, "scratch"), (row, "fault"), Bound::AtMost(1.15)));
    }
    let calls = [
        ("map_pages-256-pin-range", "aarch64-paging-map-256", 1.5),
        ("map_pages-256-pin-locked", "locked-increment", 1.4),
        ("batch-128-pin-locked", "locked-increment", 2.5),
    ];
    for (row, other, most) in calls {
        let what = format!("whole call {row}, to {other}");
        all.push(Target::new(&what, (row, "fault"), (other, "yardstick"), Bound::AtMost(most)));
    }
    for pages in [16, 256] {
        let what = format!("two CPUs in one context, calls of {pages} pages, to two contexts");
        let candidate = |contexts: &str| format!("{contexts}-{pages}");
        let (one, two) = (candidate("one-context"), candidate("two-contexts"));
        let row = "threads-2";
        all.push(Target::new(&what, (row, &one), (row, &two), Bound::GainAtLeast(0.85)));
    }
    let row = "host-map-512g";
    let what = "host map of 512 GiB with 200 holes, to its raw stores";
    all.push(Target::new(what, (row, "pviommu-vtd"), (row, "raw-stores"), Bound::AtMost(2.0)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_two_medians_and_a_gain_that_of_two_ratios() {
        let figure = |row, of, ns| Figure::new(row, of, vec![ns]);
        let figures = [
            figure("map-1", "pviommu-vtd", 6.0),
            figure("map-1", MULTIARCH, 4.0),
            figure("threads-1", "one-context-16", 10.0),
            figure("threads-2", "one-context-16", 6.25),
            figure("threads-1", "two-contexts-16", 10.0),
            figure("threads-2", "two-contexts-16", 5.0),
        ];
        let measured: Vec<_> = targets()
            .into_iter()
            .filter_map(|target| target.ratio(&figures).map(|ratio| (ratio, target.is_met(ratio))))
            .collect();
        assert_eq!(measured, [(1.5, true), (0.8, false)]);
    }
}
