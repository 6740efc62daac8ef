//! Bars: rows one below the other, in each a bar for each candidate, on a logarithmic scale.

use super::Figure;
use crate::drawing::Document;

const LEFT: f64 = 260.0;
const WIDTH: f64 = 620.0;
const BAR: f64 = 15.0;
const GAP: f64 = 12.0;
const TOP: f64 = 40.0;

/// Colours that also differ in brightness.
const COLOURS: [&str; 9] = [
    "#1b5e9b", "#5aa3d8", "#d9822b", "#8a5a1f", "#7a9a3a", "#9b3b6b", "#b9b9b9", "#555555",
    "#222222",
];

/// The bars of `rows`, with a title.
#[must_use]
pub fn plot(title: &str, figures: &[Figure], rows: &[&str]) -> String {
    let of_row = |row: &str| figures.iter().filter(|f| f.row == row).collect::<Vec<_>>();
    let rows: Vec<_> =
        rows.iter().map(|row| (*row, of_row(row))).filter(|(_, bars)| !bars.is_empty()).collect();
    let shown = || rows.iter().flat_map(|(_, bars)| bars);
    let least = shown().map(|f| f.median_ns).fold(f64::INFINITY, f64::min).max(0.01);
    let most = shown().map(|f| f.median_ns).fold(least, f64::max);
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let x = |ns: f64| LEFT + WIDTH * (ns.max(least).log10() - low) / (high - low);
    let mut candidates: Vec<&str> = Vec::new();
    for figure in shown() {
        if !candidates.contains(&figure.candidate.as_str()) {
            candidates.push(&figure.candidate);
        }
    }
    let height = |bars: &[&Figure]| BAR * bars.len() as f64 + GAP;
    let total = TOP + rows.iter().map(|(_, bars)| height(bars)).sum::<f64>() + 20.0;

    let mut out = Document::default();
    let size = format!("viewBox=\"0 0 {:.0} {total:.0}\"", LEFT + WIDTH + 80.0);
    out.open("svg", format_args!(" xmlns=\"http://www.w3.org/2000/svg\" {size} font-family=\"sans-serif\" font-size=\"11\""));
    out.empty("rect", format_args!(" width=\"100%\" height=\"100%\" fill=\"white\""));
    out.text(
        "text",
        format_args!(" x=\"10\" y=\"18\" font-size=\"14\" font-weight=\"bold\""),
        title,
    );
    for power in low as i32..=high as i32 {
        let at = x(10f64.powi(power));
        out.empty(
            "line",
            format_args!(
                " x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#ddd\"",
                total - 16.0
            ),
        );
        out.text(
            "text",
            format_args!(
                " x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#777\"",
                total - 4.0
            ),
            &format!("{} ns", told(10f64.powi(power))),
        );
    }
    let mut y = TOP;
    for (row, bars) in &rows {
        out.text(
            "text",
            format_args!(" x=\"10\" y=\"{:.1}\" font-weight=\"bold\"", y + BAR - 3.0),
            row,
        );
        for figure in bars {
            let number = candidates.iter().position(|c| *c == figure.candidate).unwrap_or(0);
            let colour = COLOURS[number % COLOURS.len()];
            let end = x(figure.median_ns);
            out.text(
                "text",
                format_args!(
                    " x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\"",
                    LEFT - 6.0,
                    y + BAR - 4.0
                ),
                &figure.candidate,
            );
            out.empty(
                "rect",
                format_args!(
                    " x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"",
                    y + 2.0,
                    (end - LEFT).max(1.0),
                    BAR - 4.0
                ),
            );
            out.text(
                "text",
                format_args!(" x=\"{:.1}\" y=\"{:.1}\"", end + 4.0, y + BAR - 4.0),
                &told(figure.median_ns),
            );
            y += BAR;
        }
        y += GAP;
    }
    out.finish()
}

/// Three digits of it.
pub(super) fn told(number: f64) -> String {
    match number {
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_of_a_row_has_a_bar_and_a_longer_one_if_it_is_slower() {
        let figures = [
            Figure::new("map", "a<b", vec![1.0]),
            Figure::new("map", "slow", vec![100.0]),
            Figure::new("other", "a<b", vec![1.0]),
        ];
        let svg = plot("Two", &figures, &["map", "missing"]);
        let bars: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("<rect x="))
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap())
            .map(|width| width.parse().unwrap())
            .collect();
        assert_eq!(bars.len(), 2);
        assert!(bars[0] < bars[1]);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }
}
