//! Random sequences of calls against a model that keeps a plain map of bus frames.
//!
//! The model knows nothing of tables, leaves or flushes: it says what each call must answer, and
//! where DMA must land after it.

mod state;

use proptest::prelude::*;
use pviommu_abi::{
    AllocContextExt, Background as Wire, BatchElement, BatchOp, Bfn, ContextId, ElementFlags,
    FlushPages, FreeFlags, Gfn, MapFlags, Subop,
};
use pviommu_hypervisor::{Outcome, addr::GfnRange};
use pviommu_testbed::machine::{Config, Step, When};
use zerocopy::IntoBytes;

use crate::batch::kit::{self as batch_kit, LIST, READ_WRITE, RUN_ALL, STOP, element};
use crate::kit::{DEVICE, GUEST, Vm, with};
use state::{Answer, CONTIGUOUS, GUEST_PAGES, Model, Piece, Space};

#[derive(Clone, Debug)]
enum Call {
    /// Subops of their own: map, unmap and flush.
    Alone {
        context: usize,
        piece: Piece,
    },
    Batch {
        context: usize,
        run_all: bool,
        pieces: Vec<Piece>,
    },
    Attach {
        context: usize,
    },
    Reopen {
        context: usize,
        background: Wire,
        aperture: (u64, u64),
    },
    /// The embedder's timer.
    FlushDeferred,
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

fn access() -> impl Strategy<Value = ElementFlags> {
    prop::sample::select(vec![READ_WRITE, ElementFlags::READ, ElementFlags::WRITE])
}

fn gfn() -> impl Strategy<Value = u64> {
    prop_oneof![place(), place().prop_map(|at| at + CONTIGUOUS)]
}

fn alone() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => (place(), gfn(), pages(), access())
            .prop_map(|(bfn, gfn, pages, access)| Piece::Map { bfn, gfn, pages, access }),
        4 => (place(), pages()).prop_map(|(bfn, pages)| {
            Piece::Unmap { bfn, pages, later: false, skip_holes: false }
        }),
        1 => (place(), pages()).prop_map(|(bfn, pages)| Piece::Flush { bfn, pages }),
    ]
}

fn in_batch() -> impl Strategy<Value = Piece> {
    let list = (place(), gfn(), 0u64..4, 1u32..600, access());
    let unmap = (place(), pages(), any::<bool>(), any::<bool>());
    prop_oneof![
        3 => alone(),
        2 => list.prop_map(|(bfn, gfn, step, pages, access)| {
            Piece::List { bfn, gfn, step, pages, access }
        }),
        3 => unmap.prop_map(|(bfn, pages, later, skip_holes)| {
            Piece::Unmap { bfn, pages, later, skip_holes }
        }),
        1 => Just(Piece::Flush { bfn: 0, pages: 0 }),
        2 => place().prop_map(|bfn| Piece::Lookup { bfn }),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let apertures = vec![(0, 0), (0, 0), (0, 1022), (511, 1 << 18), ((1 << 18) - 2, (2 << 18) - 1)];
    let backgrounds = vec![Wire::DEFAULT, Wire::SCRATCH, Wire::FAULT];
    let kind = (prop::sample::select(backgrounds), prop::sample::select(apertures));
    let batch = (any::<bool>(), prop::collection::vec(in_batch(), 0..12));
    prop_oneof![
        8 => (0..2usize, alone()).prop_map(|(context, piece)| Call::Alone { context, piece }),
        8 => (0..2usize, batch).prop_map(|(context, (run_all, pieces))| {
            Call::Batch { context, run_all, pieces }
        }),
        3 => (0..2usize).prop_map(|context| Call::Attach { context }),
        1 => (0..2usize, kind).prop_map(|(context, (background, aperture))| {
            Call::Reopen { context, background, aperture }
        }),
        1 => Just(Call::FlushDeferred),
        1 => Just(Call::Trim),
    ]
}

/// Makes a call of its own for a piece.
fn call_alone(vm: &Vm<'_>, context: ContextId, piece: Piece) -> Answer {
    let (status, done) = match piece {
        Piece::Map { bfn, gfn, pages, access } => {
            let mut flags = MapFlags::empty();
            flags.set(MapFlags::READABLE, access.contains(ElementFlags::READ));
            flags.set(MapFlags::WRITEABLE, access.contains(ElementFlags::WRITE));
            vm.map(context, bfn, gfn, pages, flags)
        }
        Piece::Unmap { bfn, pages, .. } => vm.unmap(context, bfn, pages),
        Piece::Flush { bfn, pages } => {
            let dfn = Bfn(bfn);
            let mut flush =
                FlushPages { ctx_no: context, dfn, nr_pages: pages, ..FlushPages::default() };
            let status = vm.op(Subop::FLUSH_PAGES, &mut flush);
            (status, if status == 0 { pages } else { 0 })
        }
        Piece::List { .. } | Piece::Lookup { .. } => unreachable!("only in batches"),
    };
    Answer { status, done, found: None }
}

/// Writes the lists of a batch to memory, one after the other, and makes elements of its pieces.
fn elements(vm: &Vm<'_>, pieces: &[Piece]) -> Vec<BatchElement> {
    let mut lists = LIST;
    let none = ElementFlags::empty();
    let mut make = |piece: &Piece| match *piece {
        Piece::Map { bfn, gfn, pages, access } => element(BatchOp::MAP, access, bfn, gfn, pages),
        Piece::List { bfn, gfn, step, pages, access } => {
            let list: Vec<u64> = (0..u64::from(pages)).map(|i| gfn + i * step).collect();
            vm.bed.guest_write(GUEST, lists, list.as_bytes());
            let at = lists;
            lists += u64::from(pages) * 8;
            element(BatchOp::MAP_LIST, access, bfn, at, pages)
        }
        Piece::Unmap { bfn, pages, later, skip_holes } => {
            let mut flags = none;
            flags.set(ElementFlags::NO_FLUSH, later);
            flags.set(ElementFlags::SKIP_HOLES, skip_holes);
            element(BatchOp::UNMAP, flags, bfn, 0, pages)
        }
        Piece::Flush { bfn, pages } => element(BatchOp::FLUSH, none, bfn, 0, pages),
        Piece::Lookup { bfn } => element(BatchOp::LOOKUP, none, bfn, 0, 1),
    };
    pieces.iter().map(&mut make).collect()
}

/// Runs a batch and compares all that it answers.
fn run_batch(vm: &Vm<'_>, context: ContextId, run_all: bool, pieces: &[Piece], space: &mut Space) {
    let mut elements = elements(vm, pieces);
    let flags = if run_all { RUN_ALL } else { STOP };
    let (status, done) = batch_kit::run(vm, context, flags, &mut elements);
    let mut finished = 0;
    for (piece, element) in pieces.iter().zip(&elements) {
        let expected = space.apply(*piece);
        let lookup = matches!(piece, Piece::Lookup { .. }) && element.status == 0;
        let found = lookup.then_some((element.page, element.flags));
        let answer = Answer { status: i64::from(element.status), done: element.done, found };
        assert_eq!(answer, expected, "{piece:x?}");
        finished += 1;
        if expected.status != 0 && !run_all {
            break;
        }
    }
    assert_eq!((status, done), (0, finished));
    assert!(elements.iter().skip(finished as usize).all(batch_kit::is_untouched));
}

fn open(vm: &Vm<'_>, background: Wire, (first, last): (u64, u64)) -> ContextId {
    let (aperture_first, aperture_last) = (Bfn(first), Bfn(last));
    let mut argument =
        AllocContextExt { background, aperture_first, aperture_last, ..AllocContextExt::default() };
    assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument), 0);
    ContextId(u16::try_from(argument.ctx_id).unwrap())
}

fn run(calls: &[Call], yields: u64) {
    let mut config = Config::one_guest(GUEST_PAGES);
    let block = GfnRange::of_pages(Gfn(CONTIGUOUS), CONTIGUOUS).unwrap();
    config.domains[0].contiguous = vec![block];
    with(&config, |vm| {
        let mut contexts = [vm.context(), vm.context()];
        vm.bed.schedule().set(Step::Yield, When::Every(yields));
        let mut model = Model::new();
        for call in calls {
            match call {
                Call::Alone { context, piece } => {
                    let answer = call_alone(vm, contexts[*context], *piece);
                    assert_eq!(answer, model.spaces[*context].apply(*piece), "{call:x?}");
                    let (bfn, pages) = piece.range();
                    model.check(vm, bfn, pages);
                }
                Call::Batch { context, run_all, pieces } => {
                    let space = &mut model.spaces[*context];
                    run_batch(vm, contexts[*context], *run_all, pieces, space);
                    for (bfn, pages) in pieces.iter().map(|piece| piece.range()) {
                        model.check(vm, bfn, pages);
                    }
                }
                Call::Attach { context } => {
                    assert_eq!(vm.attach(DEVICE, contexts[*context]), 0);
                    model.attached = Some(*context);
                }
                Call::Reopen { context, background, aperture } => {
                    let free = vm.free(contexts[*context], FreeFlags::REATTACH_DEFAULT);
                    assert_eq!(free, 0);
                    contexts[*context] = open(vm, *background, *aperture);
                    model.spaces[*context] = Space::new(*background, *aperture);
                    model.attached = model.attached.filter(|attached| attached != context);
                }
                Call::FlushDeferred => {
                    let flush = || vm.bed.iommu().flush_deferred(vm.bed.domain(GUEST), 0);
                    while flush() != Outcome::Done(0) {}
                    model.nothing_waits();
                }
                Call::Trim => vm.bed.trim(GUEST, 0).unwrap(),
            }
            model.check_references(vm);
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
