//! The least that a map of the machine's memory takes: its tables are zeroed, by the fastest means there is, and its
//! entries stored, each by one store, as units demand.

use std::sync::atomic::{AtomicU64, Ordering};

use pviommu_hypervisor::platform::InitialRun;
use pviommu_testbed::measure::{Case, timed};

const LEAF: u64 = 3;
const SIZE: u64 = 1 << 7;

/// No memory is there, and devices of this machine cannot write to it: the interrupt range.
const NOBODYS: (u64, u64) = (0xfee00, 0xfeeff);

/// Entries that follow each other and map frames that do.
struct Fill {
    table: usize,
    index: usize,
    count: usize,
    raw: u64,
    step: u64,
}

type Table = [AtomicU64; 512];

fn zeroed() -> Table {
    [const { AtomicU64::new(0) }; 512]
}

pub(crate) struct RawStores {
    tables: Vec<Table>,
    fills: Vec<Fill>,
}

impl RawStores {
    /// Works out which stores there are.
    pub(crate) fn new(map: &[InitialRun]) -> Self {
        let mut stores = Self { tables: vec![zeroed()], fills: Vec::new() };
        for run in map {
            let (first, last) = (run.bfns.first().0, run.bfns.last().0);
            if first < NOBODYS.0 && last > NOBODYS.1 {
                stores.add(0, 3, first, NOBODYS.0 - 1);
                stores.add(0, 3, NOBODYS.1 + 1, last);
            } else {
                stores.add(0, 3, first, last);
            }
        }
        stores
    }

    /// Adds what `first..=last` takes in a table of `level`.
    fn add(&mut self, table: usize, level: u32, mut first: u64, last: u64) {
        let span = 1u64 << (9 * level);
        while first <= last {
            let index = (first / span % 512) as usize;
            let whole = (last + 1 - first) / span;
            if level <= 2 && first.is_multiple_of(span) && whole > 0 {
                let count = (whole as usize).min(512 - index);
                let raw = first << 12 | LEAF | if level > 0 { SIZE } else { 0 };
                self.fills.push(Fill { table, index, count, raw, step: span << 12 });
                first += count as u64 * span;
                continue;
            }
            let end = last.min(first | (span - 1));
            if *self.tables[table][index].get_mut() == 0 {
                self.tables.push(zeroed());
                let raw = (self.tables.len() as u64 - 1) << 12 | LEAF;
                *self.tables[table][index].get_mut() = raw;
                self.fills.push(Fill { table, index, count: 1, raw, step: 0 });
            }
            let below = (*self.tables[table][index].get_mut() >> 12) as usize;
            self.add(below, level - 1, first, end);
            first = end + 1;
        }
    }

    fn store(&mut self) {
        for table in &mut self.tables {
            table.iter_mut().for_each(|entry| *entry.get_mut() = 0);
        }
        for Fill { table, index, count, raw, step } in &self.fills {
            let mut raw = *raw;
            for entry in &self.tables[*table][*index..index + count] {
                entry.store(raw, Ordering::Release);
                raw += step;
            }
        }
    }
}

impl Case for RawStores {
    fn name(&self) -> String {
        "raw-stores".to_owned()
    }

    fn rows(&self) -> Vec<String> {
        vec!["host-map-512g".to_owned()]
    }

    fn pass(&mut self) -> Vec<f64> {
        vec![timed(|| self.store())]
    }
}
