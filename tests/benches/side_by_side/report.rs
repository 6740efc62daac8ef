//! The figures, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

/// One candidate in one row, over all rounds.
#[derive(Serialize)]
pub(crate) struct Figure {
    row: &'static str,
    candidate: &'static str,
    median_ns: f64,
    min_ns: f64,
    max_ns: f64,
}

impl Figure {
    /// `samples`: nanoseconds per page, one a round.
    pub(crate) fn new(row: &'static str, candidate: &'static str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let rounded = |nanoseconds: f64| (nanoseconds * 1000.0).round() / 1000.0;
        Self {
            row,
            candidate,
            median_ns: rounded(samples[samples.len() / 2]),
            min_ns: rounded(samples[0]),
            max_ns: rounded(samples[samples.len() - 1]),
        }
    }
}

/// One JSON array.
pub(crate) fn json(figures: &[Figure]) -> String {
    serde_json::to_string_pretty(figures).expect("figures are plain numbers and names")
}

/// A table: per row, the first candidate and how it compares to each other one.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text =
        String::from("row          candidate              ns/page      min      max   ours/this\n");
    let mut ours = 0.0;
    for (index, figure) in figures.iter().enumerate() {
        let first = index == 0 || figures[index - 1].row != figure.row;
        if first {
            ours = figure.median_ns;
        }
        let row = if first { figure.row } else { "" };
        let ratio = if first { String::new() } else { format!("{:.2}", ours / figure.median_ns) };
        writeln!(
            text,
            "{row:<12} {:<21} {:>8.2} {:>8.2} {:>8.2}   {ratio:>9}",
            figure.candidate, figure.median_ns, figure.min_ns, figure.max_ns,
        )
        .expect("a string takes everything");
    }
    text
}
