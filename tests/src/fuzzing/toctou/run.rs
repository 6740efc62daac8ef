//! The machine an input runs on, its operations, and when what is checked.

use pviommu_abi::{AllocContext, ContextId, DomId, Errno, Gfn, Init, ReattachDevice, Subop};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Caller, DefaultMap, Outcome, Width};
use zerocopy::{Immutable, IntoBytes};

use super::{
    changes,
    effect::{self, Effect, Entry, Place},
    input::{Call, Input, Operation},
    layout::{self, ARGUMENT, LaidOut},
    ledger::{Grant, Ledger},
    log::Log,
    printing::Shown,
};
use crate::{
    fuzzing::{
        batch,
        entry::{CONTINUATIONS, known},
        world::{self, DEVICES, DOMAINS, World},
    },
    machine::{Bed, Config, Harshness, PAGE_SIZE, Step, run as on_bed},
};

/// Bits of the machine's number: no maps to start with, so that what is mapped is the guest's.
const MACHINES: u8 = 0x9f;

/// Contexts that each domain has from the start; its devices are in the first.
const CONTEXTS: u16 = 2;

/// Steps of the service between two loads of a unit's own: `hypercall` has one at each step, which is most of what
/// it takes.
const PREFETCH: u32 = 61;

/// The page that each domain grants to the other.
const GRANTED: Gfn = Gfn(12);

/// Methods that fail on request: none by which a unit fails, or that keeps results from the guest.
const STEPS: [Step; 6] =
    [Step::Yield, Step::Alloc, Step::AcquirePage, Step::Acquire, Step::Reserve, Step::Policy];

/// Runs `input` on a fresh machine and checks what must hold.
pub(super) fn run(input: &Input, print: bool) {
    let config = world::config(input.machine & MACHINES);
    let harshness = Harshness { prefetch: PREFETCH, ..config.harshness };
    on_bed(&Config { harshness, ..config }, |bed| {
        for domain in DOMAINS {
            // Without one it goes on as well.
            let _ = bed.set_default(domain, DefaultMap::Blocked);
        }
        let mut ledger = begin(bed);
        let world = World::new(bed);
        if print {
            println!("machine {:#04x}", input.machine & MACHINES);
        }
        for operation in &input.operations {
            if print {
                println!("{}", Shown(operation));
            }
            let result = apply(&world, &mut ledger, operation, print);
            if print {
                println!("    {result}");
            }
            assert_eq!(bed.violations(), [], "after {operation:?}");
        }
        bed.schedule().clear();
        ledger.check(bed);
        world.finish();
    });
}

/// Contexts, devices in them, a grant each way, and a list.
fn begin(bed: &Bed<'_>) -> Ledger {
    layout::fill_list(bed.board());
    let grant = |granter: usize| {
        let (granter, to) = (DOMAINS[granter], DOMAINS[1 - granter]);
        Grant { granter, reference: bed.grant(granter, GRANTED, to, false), gfn: GRANTED }
    };
    let mut ledger = Ledger::new((0..DOMAINS.len()).map(grant).collect());
    for (domain, devices) in DOMAINS.into_iter().zip([&[0][..], &[1, 2]]) {
        call(bed, domain, Subop::INIT, &Init { max_ctx_no: 6, arena_order: 6 });
        for context in 1..=CONTEXTS {
            call(bed, domain, Subop::ALLOC_CONTEXT, &AllocContext::default());
            let inside = if context == 1 { devices } else { &[] };
            ledger.begin(Place { domain, context }, inside);
        }
        for device in devices {
            let (ctx_no, dev) = (ContextId(1), DEVICES[*device]);
            let argument = ReattachDevice { ctx_no, dev, ..ReattachDevice::default() };
            call(bed, domain, Subop::REATTACH_DEVICE, &argument);
        }
    }
    ledger
}

/// A call that is in order.
fn call<T: IntoBytes + Immutable>(bed: &Bed<'_>, domain: DomId, subop: Subop, argument: &T) {
    let mut bytes = argument.as_bytes().to_vec();
    assert_eq!(bed.guest(domain, 0).iommu_op(subop, &mut bytes, None), 0, "{subop:?}");
}

/// Does it; what came of it, in words.
fn apply(world: &World<'_>, ledger: &mut Ledger, operation: &Operation, print: bool) -> String {
    match operation {
        Operation::Call(asked) => {
            let status = enter(world.bed, ledger, asked, print);
            Errno::from_ret(status).map_or("0".into(), |errno| format!("-{errno}"))
        }
        Operation::Fail { step, form, number } => {
            let step = STEPS[usize::from(*step) % STEPS.len()];
            let step = Step::ALL.iter().position(|it| *it == step).expect("one of all");
            world.fail(step as u8, *form, *number);
            "armed".into()
        }
        Operation::Dma { device, bfn } => {
            let function = DEVICES[usize::from(*device & 3)];
            let address = batch::bus_frame(*bfn) << 12;
            let mut data = vec![0xa5; PAGE_SIZE];
            let done = if *device & 4 == 0 {
                world.bed.dma_read(function, address, &mut data)
            } else {
                world.bed.dma_write(function, address, &data)
            };
            format!("{done:?}")
        }
    }
}

/// Makes a call, continues it to its end, has its memory changed meanwhile, and checks it; the status.
fn enter(bed: &Bed<'_>, ledger: &mut Ledger, asked: &Call, print: bool) -> i64 {
    let board = bed.board();
    let laid = layout::lay_out(board, asked);
    let meant: Vec<_> =
        asked.changes.iter().filter_map(|change| changes::meant(&laid, change)).collect();
    if print {
        println!("    {:?} by {:?}", laid.subop, laid.caller);
        meant.iter().for_each(|meant| println!("    {}", meant));
    }
    board.watch(meant.into_iter().map(|meant| meant.rewrite).collect());
    let cpu = usize::from(asked.caller >> 1 & 1);
    let mut has_effect = false;
    let status = (0..CONTINUATIONS).find_map(|_| {
        let (outcome, effects) = one_entry(bed, &laid, cpu, print);
        has_effect |= !effects.is_empty();
        let entry = Entry { caller: laid.caller, outcome };
        let some = !effects.is_empty();
        effects.into_iter().for_each(|effect| ledger.apply(bed, &entry, effect));
        if some {
            ledger.check(bed);
        }
        match outcome {
            Outcome::Done(status) => Some(status),
            Outcome::Continue => None,
        }
    });
    board.end_watch();
    let status =
        status.unwrap_or_else(|| unreachable!("{:?} makes no progress (INV-54)", laid.subop));
    assert!(known(status), "{:?} returned {status} (INV-55)", laid.subop);
    if has_effect {
        ledger.check_tables(bed);
    }
    status
}

fn one_entry(bed: &Bed<'_>, laid: &LaidOut, cpu: usize, print: bool) -> (Outcome, Vec<Effect>) {
    let caller = Caller { cpu, width: Width::Bits64 };
    let (subop, domain) = (laid.register(), bed.domain(laid.caller));
    let outcome = bed.iommu().iommu_op(domain, caller, u64::from(subop.0), ARGUMENT);
    let seen = bed.board().take_seen();
    if print {
        println!("    {outcome:?} after {} copies", seen.len());
    }
    let mut log = Log::new(&seen, laid.caller);
    let entry = Entry { caller: laid.caller, outcome };
    let effects = effect::of(&mut log, &entry, subop, ARGUMENT);
    log.end();
    (outcome, effects)
}
