//! Two CPUs of one guest: in one context, in ranges of their own, or in a context each.

use std::{sync::Barrier, thread, time::Instant};

use pviommu_testbed::{
    cheap::{Options, Pin, World},
    measure::Case,
};

use super::calls::{PAGES, map, unmap};

/// Pages that each CPU maps and unmaps in one pass.
const WORK: u64 = 1 << 16;

/// What the second CPU works in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contexts {
    /// The context of the first one.
    One,
    /// A context of its own.
    Two,
}

/// A guest with two CPUs.
pub(crate) struct Threads {
    world: World,
    contexts: Contexts,
    pages: u64,
}

impl Threads {
    pub(crate) fn new(contexts: Contexts, pages: u64) -> Self {
        let options = Options { pin: Pin::Range, cpus: 2, devices: 2, ..Options::default() };
        Self { world: World::with_contexts(&options), contexts, pages }
    }

    /// The work of one CPU: calls that map so many pages, all over its range, each undone by the next.
    fn work(&self, cpu: u16) {
        let context = if self.contexts == Contexts::One { 1 } else { cpu + 1 };
        let first = u64::from(cpu) * PAGES;
        for n in 0..WORK / self.pages {
            let page = first + n * self.pages % PAGES;
            self.world.map(usize::from(cpu), &map(context, page, self.pages));
            self.world.unmap(usize::from(cpu), &unmap(context, page, self.pages));
        }
    }

    /// Nanoseconds for each page until the last of so many CPUs is done.
    fn time(&self, cpus: u16) -> f64 {
        let start = Barrier::new(usize::from(cpus));
        let slowest = thread::scope(|scope| {
            let work = |cpu| {
                let start = &start;
                move || {
                    start.wait();
                    let begin = Instant::now();
                    self.work(cpu);
                    begin.elapsed().as_nanos()
                }
            };
            let others: Vec<_> = (1..cpus).map(|cpu| scope.spawn(work(cpu))).collect();
            let first = work(0)();
            others.into_iter().map(|other| other.join().unwrap()).fold(first, u128::max)
        });
        slowest as f64 / (WORK * u64::from(cpus)) as f64
    }
}

impl Case for Threads {
    fn name(&self) -> String {
        let contexts = if self.contexts == Contexts::One { "one-context" } else { "two-contexts" };
        format!("{contexts}-{}", self.pages)
    }

    fn rows(&self) -> Vec<String> {
        vec!["threads-1".to_owned(), "threads-2".to_owned()]
    }

    fn pass(&mut self) -> Vec<f64> {
        vec![self.time(1), self.time(2)]
    }
}
