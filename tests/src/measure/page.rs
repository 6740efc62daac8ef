//! The page about performance: the targets with what was measured, and all figures.

use std::fmt::Write;

use super::{Bound, Count, Figure, plot::told, targets};

/// A plot on the page: its file, its title, and the rows that it shows.
pub const PLOTS: [(&str, &str, &[&str]); 2] = [
    (
        "performance-table.svg",
        "The table alone: nanoseconds for each page (2m: for each leaf of 2 MiB)",
        &["map-1", "unmap-1", "lookup-rand", "map-256", "unmap-256", "map-2m", "unmap-2m"],
    ),
    (
        "performance-calls.svg",
        "Whole hypercalls: nanoseconds for each page",
        &[
            "locked-increment",
            "aarch64-paging-map-256",
            "map_pages-1-pin-locked",
            "map_pages-16-pin-locked",
            "map_pages-256-pin-locked",
            "map_pages-256-pin-range",
            "unmap_pages-256-pin-range",
            "batch-16-pin-locked",
            "batch-128-pin-locked",
            "batch-unmap-128-pin-locked",
            "map_list-256-pin-locked",
        ],
    ),
];

const HEAD: &str = "\
# Performance

Made by `cargo bench -p pviommu-testbed --bench page`, which runs the benches and writes this page and its plots. Candidates
take turns in one process; a figure is a median over rounds, with the least and the most. Figures move from machine to
machine and from day to day: what counts are ratios of one run.
";

/// The page. `machine` says on what, in a line; `notes` what is to be known about what was missed.
#[must_use]
pub fn page(figures: &[Figure], counts: &[Count], machine: &str, notes: &str) -> String {
    let mut page = format!("{HEAD}\nMeasured on {machine}.\n\n## Targets\n\n");
    page.push_str("| what | ours, ns | other, ns | ratio | bound | |\n|---|--:|--:|--:|--:|---|\n");
    for target in targets() {
        let Some(ratio) = target.ratio(figures) else { continue };
        let figure = |(row, candidate): &(String, String)| {
            super::find(figures, row, candidate).map_or_else(String::new, told)
        };
        let bound = match target.bound {
            Bound::AtMost(most) => format!("≤ {most}"),
            Bound::GainAtLeast(least) => format!("≥ {least}"),
        };
        let verdict = verdict(target.is_met(ratio));
        let (ours, other) = (figure(&target.ours), figure(&target.other));
        let _ = writeln!(
            page,
            "| {} | {ours} | {other} | {ratio:.2} | {bound} | {verdict} |",
            target.what
        );
    }
    page.push_str("\nCounted, not timed:\n\n| what | count | bound | |\n|---|--:|--:|---|\n");
    for count in counts {
        let Count { what, counted, most } = count;
        let _ = writeln!(page, "| {what} | {counted} | ≤ {most} | {} |", verdict(count.is_met()));
    }
    let _ = write!(page, "\n{}\n", notes.trim());
    for (file, title, _) in PLOTS {
        let _ = write!(page, "\n![{title}]({file})\n");
    }
    page.push_str("\n## All figures\n\n| row | candidate | median, ns | least | most |\n|---|---|--:|--:|--:|\n");
    for figure in figures {
        let Figure { row, candidate, median_ns, min_ns, max_ns } = figure;
        let [median, least, most] = [median_ns, min_ns, max_ns].map(|ns| told(*ns));
        let _ = writeln!(page, "| {row} | {candidate} | {median} | {least} | {most} |");
    }
    page
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_targets_that_were_measured_and_all_figures() {
        let figure = |candidate, ns| Figure::new("map-1", candidate, vec![ns]);
        let figures = [figure("pviommu-vtd", 9.0), figure("page_table_multiarch", 4.5)];
        let counts = [Count { what: "frames".to_owned(), counted: 9, most: 8 }];
        let page = page(&figures, &counts, "a machine", "Notes.");
        assert!(page.contains("| frames | 9 | ≤ 8 | **missed** |"), "{page}");
        assert!(page.contains("| 9.00 | 4.50 | 2.00 | ≤ 1.5 | **missed** |"), "{page}");
        assert_eq!(page.matches("| map-1 |").count(), 2);
        assert!(page.contains("on a machine.") && page.contains("\nNotes.\n"));
        assert!(!page.contains("host map"));
    }
}
