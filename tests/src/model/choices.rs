//! Which operations are chosen, how often, and with what: mostly what means something on the machines of
//! [`machine`](super::machine), and where memory, tables and ranges begin and end.

use pviommu_abi::{Background as Wire, OwnershipMode};
use pviommu_hypervisor::platform::Access;

use super::{
    field::{Any, Both, Bytes, Either, FLAG, Field, In, ListOf, Maybe, Near, OneOf, variants},
    ops::{By, Change, Item, Op, Place},
};

pub(super) const DOM: In = In(0, 3);
pub(super) const DEVICE: In = In(0, 4);

/// More than there may be, by one.
const CTX: OneOf<u16> = OneOf(&[(8, 0), (8, 1), (2, 2), (2, 3), (1, 4), (1, 5)]);

/// Where memory and tables begin and end.
const GFN: Either<u64> = Either(&[
    (14, &Near(&[0, 0x3d, 0x1fe, 0x2fe, 0x3fd, 0x3fe, 0xffe, 0x7fff], 4)),
    (6, &In(2, 2)),
    (2, &FOREIGN),
    (2, &REGISTERS),
    (1, &In(0, 0x400)),
]);

/// Where pages of others are put.
const FOREIGN: In = In(0x1000, 4);
const REGISTERS: In = In(0x2000, 2);

/// Of a map, wherever it may be.
const ANY_GFN: Either<u64> = Either(&[(24, &GFN), (1, &Any)]);

const BFN: Either<u64> = Either(&[
    (20, &GFN),
    (3, &OneOf(&[(1, 0xfedff), (1, 0xfee10), (1, 0xfef00)])),
    (1, &In(0, 0x1000)),
    (1, &Any),
]);

const PAGES: Either<u32> = Either(&[
    (6, &In(1, 4)),
    (1, &OneOf(&[(1, 0x100), (1, 0x200), (1, 0x210)])),
    (1, &In(1, 0x220)),
]);

const SOME_ACCESS: OneOf<Access> =
    OneOf(&[(4, Access::all()), (2, Access::READ), (1, Access::WRITE)]);

const ANY_ACCESS: OneOf<Access> =
    OneOf(&[(12, Access::all()), (6, Access::READ), (3, Access::WRITE), (7, Access::empty())]);

const BACKGROUND: OneOf<Wire> = OneOf(&[(2, Wire::DEFAULT), (1, Wire::SCRATCH), (1, Wire::FAULT)]);

const MODE: OneOf<OwnershipMode> =
    OneOf(&[(1, OwnershipMode::CLEAR), (1, OwnershipMode::KEEP), (1, OwnershipMode::GIVE_BACK)]);

const APERTURE: OneOf<(u64, u64)> = OneOf(&[(2, (0, 0)), (1, (0x201, 0x8001)), (1, (1, u64::MAX))]);

const BY: OneOf<By> = OneOf(&[
    (6, By::Alone),
    (6, By::Batch),
    (3, By::List),
    (1, By::BatchOf(0)),
    (1, By::BatchOf(1)),
    (1, By::BatchOf(2)),
]);

struct AnyPlace;

impl Field<Place> for AnyPlace {
    fn get(&self, from: &mut Bytes<'_>) -> Place {
        match from.below(10) {
            0..7 => Place::Number(BFN.get(from)),
            _ => Place::FrameOf(DOM.get(from), GFN.get(from)),
        }
    }

    fn put(&self, value: &Place, to: &mut Vec<u8>) -> bool {
        let (tag, mut bytes) = (if matches!(value, Place::Number(_)) { 0 } else { 7 }, Vec::new());
        let can = match value {
            Place::Number(bfn) => BFN.put(bfn, &mut bytes),
            Place::FrameOf(dom, gfn) => DOM.put(dom, &mut bytes) && GFN.put(gfn, &mut bytes),
        };
        if can {
            to.push(tag);
            to.extend(bytes);
        }
        can
    }
}

pub(super) const PLACE: &dyn Field<Place> = &AnyPlace;

struct AnyChange;

impl Field<Change> for AnyChange {
    fn get(&self, from: &mut Bytes<'_>) -> Change {
        match from.below(10) {
            0..3 => Change::Balloon,
            3..6 => Change::Populate,
            6..8 => Change::Exchange,
            _ => Change::Access(ANY_ACCESS.get(from)),
        }
    }

    fn put(&self, value: &Change, to: &mut Vec<u8>) -> bool {
        to.push(match value {
            Change::Balloon => 0,
            Change::Populate => 3,
            Change::Exchange => 6,
            Change::Access(_) => 8,
        });
        if let Change::Access(access) = value { ANY_ACCESS.put(access, to) } else { true }
    }
}

const TIMES: Either<u32> = Either(&[(3, &In(1, 1)), (2, &In(2, 3)), (2, &In(5, 36))]);
const FEW: Either<u32> = Either(&[(3, &In(1, 1)), (2, &In(2, 4)), (1, &In(0x100, 1))]);

variants! {
    /// What elements do.
    AnyItem of Item:
    3 Map { times: TIMES, at: PLACE, pages: FEW, gfn: GFN, access: SOME_ACCESS },
    2 Unmap { times: TIMES, at: PLACE, pages: FEW, skip_holes: FLAG },
}

variants! {
    /// What guests call.
    pub(super) Guests of Op:
    8 Map { dom: DOM, ctx: CTX, at: PLACE, pages: PAGES, gfn: ANY_GFN, access: SOME_ACCESS, by: BY },
    6 Unmap { dom: DOM, ctx: CTX, at: PLACE, pages: PAGES, skip_holes: FLAG, alone: FLAG },
    6 Batch { dom: DOM, ctx: CTX, run_all: FLAG, items: ListOf(6, AnyItem) },
    5 MapGrant { other: Maybe(5, DOM), ctx: CTX, at: PLACE, grant: In(0, 3), access: SOME_ACCESS },
    3 Alloc { dom: DOM, background: BACKGROUND, aperture: APERTURE },
    1 Free { dom: DOM, ctx: CTX, reattach: FLAG },
    6 Attach { dom: DOM, device: DEVICE, ctx: CTX },
    5 Take { dom: DOM, mode: MODE, background: BACKGROUND },
}

variants! {
    /// What the embedder does, and other domains.
    Embedders of Op:
    10 Change {
        dom: DOM,
        gfn: GFN,
        pages: Either(&[(4, &In(1, 1)), (2, &In(2, 4)), (1, &In(0x180, 1))]),
        change: AnyChange,
    },
    3 Grant { dom: DOM, gfn: GFN, to: DOM, read_only: FLAG },
    1 CloseGrant { grant: In(0, 4) },
    2 EndGrant { grant: In(0, 4) },
    4 MapForeign { dom: DOM, gfn: FOREIGN, of: DOM, of_gfn: GFN, read_only: FLAG },
    2 UnmapForeign { number: In(0, 3), none: Maybe(5, Both(DOM, GFN)) },
    2 Retarget { dom: DOM, of: DOM, gfn: GFN, what_left: FLAG },
    2 Revoke { number: In(0, 3), other: Maybe(5, AnothersRegisters) },
    4 Assign { dom: DOM, device: DEVICE },
    2 Unassign { dom: DOM, device: DEVICE },
    1 Trim { dom: DOM },
}

struct AnothersRegisters;

impl Field<(usize, usize, u64)> for AnothersRegisters {
    fn get(&self, from: &mut Bytes<'_>) -> (usize, usize, u64) {
        (DOM.get(from), DOM.get(from), REGISTERS.get(from))
    }

    fn put(&self, (dom, of, gfn): &(usize, usize, u64), to: &mut Vec<u8>) -> bool {
        DOM.put(dom, to) && DOM.put(of, to) && REGISTERS.put(gfn, to)
    }
}

/// What does not ask whether anything is pinned.
struct Then;

impl Field<Box<Op>> for Then {
    fn get(&self, from: &mut Bytes<'_>) -> Box<Op> {
        let op = GUESTS_AND_EMBEDDERS.get(from);
        let asks =
            matches!(op, Op::EndGrant { .. } | Op::UnmapForeign { .. } | Op::MapGrant { .. });
        Box::new(if asks { Op::Trim { dom: 0 } } else { op })
    }

    fn put(&self, value: &Box<Op>, to: &mut Vec<u8>) -> bool {
        GUESTS_AND_EMBEDDERS.put(value, to)
    }
}

const GUESTS_AND_EMBEDDERS: Either<Op> = Either(&[(1, &Guests), (1, &Embedders)]);

variants! {
    Rare of Op:
    10 Later { dom: DOM, ctx: CTX, at: PLACE, pages: PAGES, then: Then },
    1 Kill { dom: DOM },
}

/// Whatever can happen.
pub(crate) const OP: Either<Op> = Either(&[(60, &Guests), (40, &Embedders), (11, &Rare)]);

const LARGE_BFN: OneOf<u64> = OneOf(&[(2, 0x400), (1, 0x600), (1, 0x5f8), (1, 0x8200)]);
const LARGE_BY: OneOf<By> = OneOf(&[(1, By::Alone), (1, By::Batch), (1, By::List)]);
const LARGE_PAGES: Either<u32> = Either(&[(1, &In(0x200, 1)), (1, &In(0x80, 0x181))]);

/// What takes several entries into the service, and large leaves; read only, for [`OP`] says it too.
pub(super) fn large(from: &mut Bytes<'_>) -> Op {
    let (dom, ctx) = (DOM.get(from), 1);
    let bfn: u64 = LARGE_BFN.get(from);
    if FLAG.get(from) {
        let alone = FLAG.get(from);
        let more: u64 = In(0, 0x180).get(from);
        let (at, skip_holes) = (Place::Number(bfn + more), !alone);
        return Op::Unmap { dom, ctx, at, pages: In(1, 0x200).get(from), skip_holes, alone };
    }
    let (at, access) = (Place::Number(bfn), Access::all());
    let pages = LARGE_PAGES.get(from);
    Op::Map { dom, ctx, at, pages, gfn: 0x200, access, by: LARGE_BY.get(from) }
}
