//! The figures, for people and for programs.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// One candidate in one row, over all rounds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What was done.
    pub row: String,
    /// Who did it, or how.
    pub candidate: String,
    /// Nanoseconds for each page, or for whatever the row says.
    pub median_ns: f64,
    /// The quickest round.
    pub min_ns: f64,
    /// The slowest round.
    pub max_ns: f64,
}

impl Figure {
    /// The figure of `samples`, one a round, in nanoseconds.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn new(row: &str, candidate: &str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let rounded = |nanoseconds: f64| (nanoseconds * 1000.0).round() / 1000.0;
        Self {
            row: row.to_owned(),
            candidate: candidate.to_owned(),
            median_ns: rounded(samples[samples.len() / 2]),
            min_ns: rounded(samples[0]),
            max_ns: rounded(samples[samples.len() - 1]),
        }
    }
}

/// The median of `candidate` in `row`.
#[must_use]
pub fn find(figures: &[Figure], row: &str, candidate: &str) -> Option<f64> {
    let found = figures.iter().find(|f| f.row == row && f.candidate == candidate);
    found.map(|figure| figure.median_ns)
}

/// One JSON array.
///
/// # Panics
/// Never: figures are plain numbers and names.
#[must_use]
pub fn json(figures: &[Figure]) -> String {
    serde_json::to_string_pretty(figures).expect("figures are plain numbers and names")
}

/// A table: per row, the first candidate and how it compares to each other one.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<28} {:<21} {:>10} {:>10} {:>10}   {:>10}\n",
        "row", "candidate", "ns", "min", "max", "first/this"
    );
    let mut first_of_row = 0.0;
    for (index, figure) in figures.iter().enumerate() {
        let first = index == 0 || figures[index - 1].row != figure.row;
        if first {
            first_of_row = figure.median_ns;
        }
        let row = if first { figure.row.as_str() } else { "" };
        let ratio =
            if first { String::new() } else { format!("{:.2}", first_of_row / figure.median_ns) };
        let _ = writeln!(
            text,
            "{row:<28} {:<21} {:>10.2} {:>10.2} {:>10.2}   {ratio:>10}",
            figure.candidate, figure.median_ns, figure.min_ns, figure.max_ns,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_rounds_with_both_ends() {
        let figure = Figure::new("map", "ours", vec![3.0, 1.0, 9.0, 2.0, 4.0]);
        assert_eq!((figure.median_ns, figure.min_ns, figure.max_ns), (3.0, 1.0, 9.0));
        assert_eq!(find(&[figure], "map", "ours"), Some(3.0));
    }
}
