//! What can happen, chosen at random: by guests, by the embedder, by other domains.

use proptest::prelude::*;
use pviommu_abi::{Background as Wire, OwnershipMode};
use pviommu_hypervisor::platform::Access;

/// Domains, devices and contexts by their place in the model.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Map {
        dom: usize,
        ctx: u16,
        at: Place,
        pages: u32,
        gfn: u64,
        access: Access,
        by: By,
    },
    Unmap {
        dom: usize,
        ctx: u16,
        at: Place,
        pages: u32,
        skip_holes: bool,
        alone: bool,
    },
    /// By who it was granted to, or by another.
    MapGrant {
        other: Option<usize>,
        ctx: u16,
        at: Place,
        grant: usize,
        access: Access,
    },
    Alloc {
        dom: usize,
        background: Wire,
        aperture: (u64, u64),
    },
    Free {
        dom: usize,
        ctx: u16,
        reattach: bool,
    },
    Attach {
        dom: usize,
        device: usize,
        ctx: u16,
    },
    Take {
        dom: usize,
        mode: OwnershipMode,
        background: Wire,
    },
    Change {
        dom: usize,
        gfn: u64,
        pages: u64,
        change: Change,
    },
    Grant {
        dom: usize,
        gfn: u64,
        to: usize,
        read_only: bool,
    },
    CloseGrant {
        grant: usize,
    },
    EndGrant {
        grant: usize,
    },
    MapForeign {
        dom: usize,
        gfn: u64,
        of: usize,
        of_gfn: u64,
        read_only: bool,
    },
    /// One of those there are, or what is none.
    UnmapForeign {
        number: usize,
        none: Option<(usize, u64)>,
    },
    /// Two removals in one: the flush of the first comes with the other, or after it.
    Later {
        dom: usize,
        ctx: u16,
        at: Place,
        pages: u32,
        then: Box<Op>,
    },
    /// Registers that are mapped somewhere, or those of another domain.
    Revoke {
        number: usize,
        other: Option<(usize, usize, u64)>,
    },
    Retarget {
        dom: usize,
        of: usize,
        gfn: u64,
        what_left: bool,
    },
    Assign {
        dom: usize,
        device: usize,
    },
    Unassign {
        dom: usize,
        device: usize,
    },
    Trim {
        dom: usize,
    },
    Kill {
        dom: usize,
    },
}

/// A bus frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Number(u64),
    /// The one with the number of the machine frame behind a guest frame.
    FrameOf(usize, u64),
}

/// Which call maps, and whose pages.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Alone,
    Batch,
    List,
    BatchOf(usize),
}

/// A change of a P2M.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Balloon,
    Populate,
    Exchange,
    Access(Access),
}

fn dom() -> impl Strategy<Value = usize> {
    0..3usize
}

/// More than there may be, by one.
fn ctx() -> impl Strategy<Value = u16> {
    prop_oneof![4 => Just(0u16), 4 => Just(1u16), 2 => 2..4u16, 1 => 4..6u16]
}

/// Where memory and tables begin and end.
fn gfn() -> impl Strategy<Value = u64> {
    let edges = prop::sample::select(vec![2u64, 0x3f, 0x200, 0x300, 0x3ff, 0x400, 0x1000, 0x8001]);
    prop_oneof![
        7 => (edges, 0u64..4).prop_map(|(edge, more)| edge + more - 2),
        3 => 2..4u64,
        1 => foreign(),
        1 => registers(),
    ]
}

/// Where pages of others are put.
fn foreign() -> std::ops::Range<u64> {
    0x1000..0x1004
}

fn registers() -> std::ops::Range<u64> {
    0x2000..0x2002
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        6 => gfn().prop_map(Place::Number),
        1 => prop::sample::select(vec![0xfedffu64, 0xfee10, 0xfef00]).prop_map(Place::Number),
        3 => (dom(), gfn()).prop_map(|(dom, gfn)| Place::FrameOf(dom, gfn)),
    ]
}

fn pages() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 1..5u32, 1 => prop::sample::select(vec![0x100u32, 0x200, 0x210])]
}

fn some_access() -> impl Strategy<Value = Access> {
    prop_oneof![4 => Just(Access::all()), 2 => Just(Access::READ), 1 => Just(Access::WRITE)]
}

fn any_access() -> impl Strategy<Value = Access> {
    prop_oneof![3 => some_access(), 1 => Just(Access::empty())]
}

fn background() -> impl Strategy<Value = Wire> {
    prop::sample::select(vec![Wire::DEFAULT, Wire::DEFAULT, Wire::SCRATCH, Wire::FAULT])
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![
        2 => Just(By::Alone),
        2 => Just(By::Batch),
        1 => Just(By::List),
        1 => dom().prop_map(By::BatchOf),
    ]
}

fn guests() -> impl Strategy<Value = Op> {
    let modes = vec![OwnershipMode::CLEAR, OwnershipMode::KEEP, OwnershipMode::GIVE_BACK];
    let mode = prop::sample::select(modes);
    let apertures = prop::sample::select(vec![(0, 0), (0, 0), (0x201, 0x8001), (1, u64::MAX)]);
    let flags = (any::<bool>(), any::<bool>());
    prop_oneof![
        8 => (dom(), ctx(), place(), pages(), gfn(), some_access(), by()).prop_map(
            |(dom, ctx, at, pages, gfn, access, by)| {
                Op::Map { dom, ctx, at, pages, gfn, access, by }
            },
        ),
        6 => (dom(), ctx(), place(), pages(), flags).prop_map(
            |(dom, ctx, at, pages, (skip_holes, alone))| {
                Op::Unmap { dom, ctx, at, pages, skip_holes, alone }
            },
        ),
        5 => (prop::option::weighted(0.2, dom()), ctx(), place(), 0..3usize, some_access()).prop_map(
            |(other, ctx, at, grant, access)| Op::MapGrant { other, ctx, at, grant, access },
        ),
        3 => (dom(), background(), apertures)
            .prop_map(|(dom, background, aperture)| Op::Alloc { dom, background, aperture }),
        1 => (dom(), ctx(), any::<bool>())
            .prop_map(|(dom, ctx, reattach)| Op::Free { dom, ctx, reattach }),
        6 => (dom(), 0..4usize, ctx()).prop_map(|(dom, device, ctx)| {
            Op::Attach { dom, device, ctx }
        }),
        5 => (dom(), mode, background())
            .prop_map(|(dom, mode, background)| Op::Take { dom, mode, background }),
    ]
}

fn embedders() -> impl Strategy<Value = Op> {
    let change = prop_oneof![
        3 => Just(Change::Balloon),
        3 => Just(Change::Populate),
        2 => Just(Change::Exchange),
        2 => any_access().prop_map(Change::Access),
    ];
    let pages = prop_oneof![4 => Just(1u64), 2 => 2..6u64, 1 => Just(0x180u64)];
    prop_oneof![
        10 => (dom(), gfn(), pages, change)
            .prop_map(|(dom, gfn, pages, change)| Op::Change { dom, gfn, pages, change }),
        3 => (dom(), gfn(), dom(), any::<bool>())
            .prop_map(|(dom, gfn, to, read_only)| Op::Grant { dom, gfn, to, read_only }),
        1 => (0..4usize).prop_map(|grant| Op::CloseGrant { grant }),
        2 => (0..4usize).prop_map(|grant| Op::EndGrant { grant }),
        4 => (dom(), foreign(), dom(), gfn(), any::<bool>()).prop_map(
            |(dom, gfn, of, of_gfn, read_only)| Op::MapForeign { dom, gfn, of, of_gfn, read_only },
        ),
        2 => (0..3usize, prop::option::weighted(0.2, (dom(), gfn())))
            .prop_map(|(number, none)| Op::UnmapForeign { number, none }),
        2 => (dom(), dom(), gfn(), any::<bool>())
            .prop_map(|(dom, of, gfn, what_left)| Op::Retarget { dom, of, gfn, what_left }),
        2 => (0..3usize, prop::option::weighted(0.2, (dom(), dom(), registers())))
            .prop_map(|(number, other)| Op::Revoke { number, other }),
        4 => (dom(), 0..4usize).prop_map(|(dom, device)| Op::Assign { dom, device }),
        2 => (dom(), 0..4usize).prop_map(|(dom, device)| Op::Unassign { dom, device }),
        1 => dom().prop_map(|dom| Op::Trim { dom }),
    ]
}

/// What does not ask whether anything is pinned.
fn then() -> impl Strategy<Value = Op> {
    prop_oneof![guests(), embedders()].prop_filter("asks for pins", |op| {
        let asks = |op: &Op| {
            matches!(op, Op::EndGrant { .. } | Op::UnmapForeign { .. } | Op::MapGrant { .. })
        };
        !asks(op)
    })
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let later = (dom(), ctx(), place(), pages(), then());
    prop_oneof![
        10 => later.prop_map(|(dom, ctx, at, pages, then)| {
            Op::Later { dom, ctx, at, pages, then: Box::new(then) }
        }),
        60 => guests(),
        40 => embedders(),
        1 => dom().prop_map(|dom| Op::Kill { dom }),
    ]
}
