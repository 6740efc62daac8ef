//! Rounds: each case does all its rows a few times, then the next one does.

use std::time::Instant;

use super::Figure;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Turns of each case.
    pub rounds: usize,
    /// Passes of one turn; its figure is their median.
    pub passes: usize,
}

/// Something measured: one candidate, and the rows that it does in one pass.
pub trait Case {
    /// Its name in the figures.
    fn name(&self) -> String;

    /// The names of its rows, in the order of [`pass`](Self::pass).
    fn rows(&self) -> Vec<String>;

    /// Does everything once: nanoseconds of each row, for each page or whatever the row says.
    fn pass(&mut self) -> Vec<f64>;
}

/// Nanoseconds that `work` takes.
pub fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

/// All figures, row by row as the cases have them, and in each row case by case.
///
/// # Panics
/// If a case does not do the rows that it names.
pub fn take_turns(cases: &mut [&mut dyn Case], effort: Effort) -> Vec<Figure> {
    let mut rounds: Vec<Vec<Vec<f64>>> = vec![Vec::new(); cases.len()];
    for round in 0..effort.rounds {
        for turn in 0..cases.len() {
            // Everyone comes after everyone else equally often.
            let index = (round + turn) % cases.len();
            rounds[index].push(turn_of(cases[index], effort.passes));
        }
    }
    let mut rows: Vec<String> = Vec::new();
    for row in cases.iter().flat_map(|case| case.rows()) {
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let mut figures = Vec::new();
    for row in &rows {
        for (case, rounds) in cases.iter().zip(&rounds) {
            if let Some(column) = case.rows().iter().position(|name| name == row) {
                let samples = rounds.iter().map(|round| round[column]).collect();
                figures.push(Figure::new(row, &case.name(), samples));
            }
        }
    }
    figures
}

/// The median of each row over some passes: one in which this process lost the CPU says nothing.
fn turn_of(case: &mut dyn Case, passes: usize) -> Vec<f64> {
    // Another case has used the caches since.
    case.pass();
    let times: Vec<Vec<f64>> = (0..passes.max(1)).map(|_| case.pass()).collect();
    let median = |row: usize| {
        let mut column: Vec<f64> = times.iter().map(|times| times[row]).collect();
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    };
    (0..times[0].len()).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counts(&'static str, f64);

    impl Case for Counts {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn rows(&self) -> Vec<String> {
            vec!["one".to_owned(), "two".to_owned()]
        }

        fn pass(&mut self) -> Vec<f64> {
            vec![self.1, self.1 * 2.0]
        }
    }

    #[test]
    fn every_case_has_a_figure_in_each_of_its_rows() {
        let (mut a, mut b) = (Counts("a", 1.0), Counts("b", 5.0));
        let figures = take_turns(&mut [&mut a, &mut b], Effort { rounds: 3, passes: 2 });
        let told: Vec<_> =
            figures.iter().map(|f| (f.row.as_str(), f.candidate.as_str(), f.median_ns)).collect();
        assert_eq!(
            told,
            [("one", "a", 1.0), ("one", "b", 5.0), ("two", "a", 2.0), ("two", "b", 10.0)]
        );
    }
}
