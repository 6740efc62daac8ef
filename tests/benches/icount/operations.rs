//! The operations that are counted, each on memory that was used before.

use pviommu_hypervisor::{
    Background,
    format::{AmdV1, VtdSecondStage},
};
use pviommu_testbed::cheap::Pin;

use super::{
    batches,
    calls::{Calls, PAGES},
    candidate::Candidate,
    ours::{Named, Ours},
    work::{LARGE_LEAVES, RUN, SMALL, Work},
};

/// One operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Pages that it is done to.
    pub(crate) pages: u64,
    run: fn(),
}

const fn operation(name: &'static str, run: fn()) -> Operation {
    Operation { name, pages: SMALL, run }
}

/// The same that is done by calls.
const fn of_calls(name: &'static str, run: fn()) -> Operation {
    Operation { name, pages: PAGES, run }
}

/// The same of large leaves, which a page of the figure is.
const fn of_large_leaves(name: &'static str, run: fn()) -> Operation {
    Operation { name, pages: LARGE_LEAVES, run }
}

pub(crate) const ALL: [Operation; 15] = [
    operation("table-map-1", || on_table::<VtdSecondStage>(map_singles, |_, _| ())),
    operation("table-unmap-1", || on_table::<VtdSecondStage>(unmap_singles, map_singles)),
    operation("table-lookup", || on_table::<VtdSecondStage>(look_up, map_singles)),
    operation("table-lookup-amdv1", || on_table::<AmdV1>(look_up, map_singles)),
    operation("table-map-256", || on_table::<VtdSecondStage>(map_runs, |_, _| ())),
    operation("table-unmap-256", || on_table::<VtdSecondStage>(unmap_runs, map_runs)),
    of_large_leaves("table-map-2m", || on_table::<VtdSecondStage>(map_larges, |_, _| ())),
    of_large_leaves("table-unmap-2m", || on_table::<VtdSecondStage>(unmap_larges, map_larges)),
    of_calls("call-map-1", || on_calls(|calls| calls.map_all(1), |_| ())),
    of_calls("call-map-256", || on_calls(|calls| calls.map_all(256), |_| ())),
    of_calls("call-unmap-256", || {
        on_calls(|calls| calls.unmap_all(256), |calls| calls.map_all(256))
    }),
    of_calls("batch-map-128", || on_calls(map_batches, |_| ())),
    of_calls("batch-unmap-128", || on_calls(unmap_batches, map_batches)),
    of_calls("batch-map-list-256", || on_calls(map_lists, |_| ())),
    of_calls("batch-unmap-list-256", || on_calls(unmap_lists, map_lists)),
];

/// Does the operation of that name.
pub(crate) fn run(name: &str) {
    let operation = ALL.iter().find(|it| it.name == name).expect("an operation of that name");
    (operation.run)();
}

/// What callgrind counts.
#[inline(never)]
fn counted(operation: &mut dyn FnMut()) {
    operation();
}

fn on_table<F: Named>(operation: fn(&mut Ours<F>, &Work), before: fn(&mut Ours<F>, &Work)) {
    let work = Work::new(SMALL);
    let mut table = Ours::<F>::new(256);
    // Tables are there from now on, and so is what was used once.
    super::candidate::check(&mut table, &work);
    before(&mut table, &work);
    counted(&mut || operation(&mut table, &work));
}

fn map_singles<F: Named>(table: &mut Ours<F>, work: &Work) {
    table.map_ones(&work.singles);
}

fn unmap_singles<F: Named>(table: &mut Ours<F>, work: &Work) {
    table.unmap_ones(&work.singles);
}

fn look_up<F: Named>(table: &mut Ours<F>, work: &Work) {
    table.lookup_ones(work.shuffled.iter().copied());
}

fn map_runs<F: Named>(table: &mut Ours<F>, work: &Work) {
    for (bfn, mfn) in work.runs(RUN) {
        table.map_run(*bfn, *mfn, RUN);
    }
}

fn unmap_runs<F: Named>(table: &mut Ours<F>, work: &Work) {
    for (bfn, _) in work.runs(RUN) {
        table.unmap_run(*bfn, RUN);
    }
}

fn map_larges<F: Named>(table: &mut Ours<F>, work: &Work) {
    table.map_larges(&work.large);
}

fn unmap_larges<F: Named>(table: &mut Ours<F>, work: &Work) {
    table.unmap_larges(&work.large);
}

fn on_calls(operation: fn(&Calls), before: fn(&Calls)) {
    let calls = Calls::new(Background::Fault, Pin::Range);
    before(&calls);
    counted(&mut || operation(&calls));
}

fn map_batches(calls: &Calls) {
    batches::run(&calls.world, 128, batches::map_one);
}

fn unmap_batches(calls: &Calls) {
    batches::run(&calls.world, 128, batches::unmap_one);
}

fn map_lists(calls: &Calls) {
    batches::map_lists(&calls.world);
}

fn unmap_lists(calls: &Calls) {
    batches::unmap_lists(&calls.world);
}
