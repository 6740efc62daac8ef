//! Random sequences of calls against a model that keeps a plain map of bus frames.
//!
//! The model knows nothing of tables, leaves or flushes: it says what each call must answer, and
//! where DMA must land after it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pviommu_abi::{ContextId, Errno, FreeFlags, Gfn, MapFlags};
use pviommu_hypervisor::addr::GfnRange;
use pviommu_testbed::machine::{Config, Step, When};

use crate::kit::{DEVICE, GUEST, RW, Vm, err, with};

/// Guest frames: 2 GiB, of which the second GiB follows on in the machine.
const GUEST_PAGES: u64 = 2 << 18;
const CONTIGUOUS: u64 = 1 << 18;

#[derive(Clone, Debug)]
enum Call {
    Map { context: usize, bfn: u64, gfn: u64, pages: u32, flags: MapFlags },
    Unmap { context: usize, bfn: u64, pages: u32 },
    Attach { context: usize },
    Reopen { context: usize },
    Trim,
}

/// Places where tables begin and end, and their neighbours.
fn place() -> impl Strategy<Value = u64> {
    let edges = prop::sample::select(vec![0u64, 512, 1024, 1 << 18, (1 << 18) + 512, 2 << 18]);
    (edges, 0u64..4).prop_map(|(edge, back)| edge.saturating_sub(back))
}

fn pages() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 1u32..6,
        2 => prop::sample::select(vec![255, 256, 257, 511, 512, 513, 1024, 2000]),
        1 => Just(1 << 18),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let flags = prop::sample::select(vec![RW, MapFlags::READABLE, MapFlags::WRITEABLE]);
    let gfn = prop_oneof![place(), place().prop_map(|at| at + CONTIGUOUS)];
    prop_oneof![
        8 => (0..2usize, place(), gfn, pages(), flags)
            .prop_map(|(context, bfn, gfn, pages, flags)| Call::Map { context, bfn, gfn, pages, flags }),
        8 => (0..2usize, place(), pages())
            .prop_map(|(context, bfn, pages)| Call::Unmap { context, bfn, pages }),
        2 => (0..2usize).prop_map(|context| Call::Attach { context }),
        1 => (0..2usize).prop_map(|context| Call::Reopen { context }),
        1 => Just(Call::Trim),
    ]
}

/// What must be mapped where.
#[derive(Default)]
struct Model {
    maps: [BTreeMap<u64, (u64, MapFlags)>; 2],
    attached: Option<usize>,
}

impl Model {
    fn map(
        &mut self,
        context: usize,
        bfn: u64,
        gfn: u64,
        pages: u32,
        flags: MapFlags,
    ) -> (i64, u32) {
        for page in 0..u64::from(pages) {
            let done = u32::try_from(page).unwrap();
            if gfn + page >= GUEST_PAGES {
                return (err(Errno::ENOENT), done);
            }
            if self.maps[context].contains_key(&(bfn + page)) {
                return (err(Errno::EADDRINUSE), done);
            }
            self.maps[context].insert(bfn + page, (gfn + page, flags));
        }
        (0, pages)
    }

    fn unmap(&mut self, context: usize, bfn: u64, pages: u32) -> (i64, u32) {
        for page in 0..u64::from(pages) {
            if self.maps[context].remove(&(bfn + page)).is_none() {
                return (err(Errno::ENOENT), u32::try_from(page).unwrap());
            }
        }
        (0, pages)
    }

    fn references(&self) -> u64 {
        self.maps.iter().map(|maps| maps.len() as u64).sum()
    }

    /// Has the device try around the edges of a range.
    fn check(&self, vm: &Vm<'_>, bfn: u64, pages: u32) {
        let last = bfn + u64::from(pages) - 1;
        let middle = bfn + u64::from(pages) / 2;
        for at in
            [bfn.saturating_sub(1), bfn, bfn + 1, middle, last.saturating_sub(1), last, last + 1]
        {
            let mapped = self.attached.and_then(|context| self.maps[context].get(&at));
            match mapped {
                Some((gfn, flags)) => {
                    assert_eq!(vm.reads(DEVICE, at), flags.contains(MapFlags::READABLE));
                    assert_eq!(vm.lands_in(DEVICE, at, *gfn), flags.contains(MapFlags::WRITEABLE));
                }
                None => assert!(!vm.reads(DEVICE, at) && !vm.writes(DEVICE, at), "bfn {at:#x}"),
            }
        }
    }
}

fn run(calls: &[Call], yields: u64) {
    let mut config = Config::one_guest(GUEST_PAGES);
    let block = GfnRange::of_pages(Gfn(CONTIGUOUS), CONTIGUOUS).unwrap();
    config.domains[0].contiguous = vec![block];
    with(&config, |vm| {
        let mut contexts = [vm.context(), vm.context()];
        vm.bed.schedule().set(Step::Yield, When::Every(yields));
        let mut model = Model::default();
        for call in calls {
            match *call {
                Call::Map { context, bfn, gfn, pages, flags } => {
                    let answer = vm.map(contexts[context], bfn, gfn, pages, flags);
                    assert_eq!(answer, model.map(context, bfn, gfn, pages, flags), "{call:x?}");
                    model.check(vm, bfn, pages);
                }
                Call::Unmap { context, bfn, pages } => {
                    let answer = vm.unmap(contexts[context], bfn, pages);
                    assert_eq!(answer, model.unmap(context, bfn, pages), "{call:x?}");
                    model.check(vm, bfn, pages);
                }
                Call::Attach { context } => {
                    assert_eq!(vm.attach(DEVICE, contexts[context]), 0);
                    model.attached = Some(context);
                }
                Call::Reopen { context } => {
                    let free = vm.free(contexts[context], FreeFlags::REATTACH_DEFAULT);
                    assert_eq!(free, 0);
                    contexts[context] = vm.alloc().unwrap();
                    model.maps[context].clear();
                    model.attached = model.attached.filter(|attached| *attached != context);
                }
                Call::Trim => vm.bed.iommu().trim(vm.bed.domain(GUEST), 0).unwrap(),
            }
            assert_eq!(vm.bed.counters().references_live, model.references());
            assert_eq!(vm.bed.violations(), []);
        }
        assert_ne!(contexts[0], ContextId::DEFAULT);
        vm.end();
    });
}

/// A quarter of what `PROPTEST_CASES` says: a case is forty calls with DMA after each.
fn quarter() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 4, ..usual }
}

proptest! {
    #![proptest_config(quarter())]

    /// Every answer, every DMA and every reference is what the model says.
    #[test]
    fn any_sequence_of_calls_does_what_the_model_says(
        calls in prop::collection::vec(call(), 1..40),
        yields in 1u64..5,
    ) {
        run(&calls, yields);
    }
}
