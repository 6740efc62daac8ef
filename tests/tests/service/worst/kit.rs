//! Machines to be worked hard, and the measuring of it.

use std::cell::Cell;

use pviommu_abi::{Bfn, ContextId, Gfn};
use pviommu_hypervisor::{
    ReservedKind,
    addr::{BfnRange, GfnRange},
    platform::UnitFeatures,
};
use pviommu_testbed::machine::{self, Config, Piece, UnitKind};

use super::table;
use crate::{
    kinds,
    kit::{GUEST, RW, Vm, over_scratch, two_guests, with},
};

/// Pages of 2 MiB and of 1 GiB.
pub(super) const M2: u64 = 512;
pub(super) const G1: u64 = 512 * 512;

/// Pages of the guest that are scattered over the machine.
pub(super) const SCATTERED: u64 = 50_000;

/// A guest with scattered pages and a GiB that is contiguous in the machine, and two devices behind one unit;
/// the second reserves some memory.
pub(super) fn config() -> Config {
    let mut config = two_guests(2 * G1);
    // A unit that has everything written back, and is told of each map.
    config.units[0].features.remove(UnitFeatures::COHERENT);
    config.units[0].features.insert(UnitFeatures::CACHES_NOT_PRESENT);
    let contiguous = GfnRange::of_pages(Gfn(G1), G1).unwrap();
    config.domains[0].ram = vec![GfnRange::of_pages(Gfn(0), SCATTERED).unwrap(), contiguous];
    config.domains[0].contiguous = vec![contiguous];
    config.devices[1].owner = GUEST;
    for range in [(0x8_01f0, 0x220), (0x9_0000, 0x1000)] {
        let range = BfnRange::of_pages(Bfn(range.0), range.1).unwrap();
        config.devices[1].reserved.push(machine::reserved(range, ReservedKind::Reserved));
    }
    config
}

/// Measures what is done on a machine against one row of the table.
pub(super) struct Measure<'v> {
    pub(super) vm: &'v Vm<'v>,
    row: &'static str,
    worst: Cell<Piece>,
}

impl Measure<'_> {
    /// Has `act` done, which no piece of may be more than the row says.
    pub(super) fn by(&self, how: &str, act: impl FnOnce()) {
        let measured = self.vm.bed.board().pieces_of(act);
        table::within(self.row, how, &measured);
        let mut worst = self.worst.get();
        worst.iter_mut().zip(measured).for_each(|(worst, now)| *worst = (*worst).max(now));
        self.worst.set(worst);
    }
}

/// Runs `body` on the machine of `config`, to measure the row `row`.
pub(super) fn measure(row: &'static str, config: &Config, body: impl FnOnce(&Measure<'_>)) {
    let worst = measure_part(row, config, body);
    // The table has the worst of all kinds of machine, which is about that of the first.
    if kinds::unit() == UnitKind::Vtd && over_scratch() {
        table::reached(row, &worst);
    }
}

/// The same for what is not the worst of a row in everything; the most of each kind of work.
pub(super) fn measure_part(
    row: &'static str,
    config: &Config,
    body: impl FnOnce(&Measure<'_>),
) -> Piece {
    with(config, |vm| {
        let measure = Measure { vm, row, worst: Cell::default() };
        body(&measure);
        vm.end();
        measure.worst.get()
    })
}

/// Maps one page in each of `tables` leaf tables, from bus frame `first` on.
pub(super) fn map_sparsely(vm: &Vm<'_>, context: ContextId, first: u64, tables: u64) {
    for table in 0..tables {
        assert_eq!(vm.map(context, first + table * M2, table % 64, 1, RW), (0, 1));
    }
}
