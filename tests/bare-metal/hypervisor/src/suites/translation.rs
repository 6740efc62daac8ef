//! What a guest maps is what its devices reach, and nothing else.

use super::{Bench, Report};

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    report.holds("there is an edu device", bench.edus().count() > 0);
}
