//! How many pages of others a domain may hold (INV-57).

use pviommu_abi::{BatchElement, BatchOp, Bfn, Errno, Gfn};
use pviommu_testbed::machine::{Config, Work};
use zerocopy::IntoBytes;

use super::kit::{BOTH, GRANTER, READ, end, map_grant, run_one_of, three};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with};

/// Where the guest has pages of the granter in its memory.
const FOREIGN: u64 = 0x1_0000;
const LIST: u64 = 0x3_0000;

/// Room for so many pages of others, and in all.
fn config(foreign: u32, all: u64) -> Config {
    let mut config = three();
    config.domains[0].limits.max_foreign_pages = foreign;
    config.domains[0].limits.max_pinned_pages = all;
    config
}

fn held(vm: &Vm<'_>) -> (u32, u64) {
    let stats = vm.bed.domain(GUEST).stats();
    (stats.foreign_pages, stats.pinned_pages)
}

#[test]
fn as_many_pages_of_others_are_held_as_are_allowed() {
    with(&config(2, 100), |vm| {
        let context = vm.attached_context();
        let grants: Vec<u64> =
            (0..3).map(|gfn| vm.bed.grant(GRANTER, Gfn(gfn), GUEST, false)).collect();
        assert_eq!(map_grant(vm, context, 10, grants[0], BOTH), 0);
        assert_eq!(map_grant(vm, context, 11, grants[1], READ), 0);
        assert_eq!(map_grant(vm, context, 12, grants[2], BOTH), err(Errno::ENOSPC));
        assert_eq!(vm.bed.board().grant_pins(GRANTER, grants[2]), 0);
        assert_eq!(vm.map(context, 20, 1, 9, RW), (0, 9), "there is room for its own");
        assert_eq!(held(vm), (2, 11));
        assert_eq!(vm.unmap(context, 10, 1), (0, 1));
        assert_eq!(map_grant(vm, context, 12, grants[2], BOTH), 0);
        assert!(vm.writes(DEVICE, 12) && vm.hits_background(DEVICE, 10));
        assert_eq!(held(vm), (2, 11));
        end(vm);
    });
}

/// A list goes up to the first page that there is no room for, of whichever kind: what comes after it is not put in its
/// place.
#[test]
fn a_list_of_its_own_pages_and_of_others_ends_where_there_is_no_room_for_one() {
    let (own, theirs) = (1u64, FOREIGN);
    for (foreign, all, list, done) in [
        (1, 100, [own, theirs, theirs + 1, own + 1], 2),
        (1, 100, [theirs, own, own + 1, theirs + 1], 3),
        (0, 100, [theirs, own, own + 1, own + 2], 0),
        (4, 3, [own, theirs, own + 1, theirs + 1], 3),
        (4, 4, [own, theirs, own + 1, theirs + 1], 4),
    ] {
        with(&config(foreign, all), |vm| {
            let context = vm.attached_context();
            for page in 0..2 {
                let foreign = (GRANTER, Gfn(5 + page));
                assert_eq!(vm.bed.map_foreign(GUEST, Gfn(FOREIGN + page), foreign, false), Ok(()));
            }
            vm.bed.guest_write(GUEST, LIST, list.as_bytes());
            let (op, flags, nr) = (BatchOp::MAP_LIST, BOTH, 4);
            let element =
                BatchElement { op, flags, bfn: Bfn(50), page: LIST, nr, ..BatchElement::default() };
            let status = if done == 4 { 0 } else { err(Errno::ENOSPC) };
            assert_eq!(run_one_of(vm, context, GUEST, element), (status, done), "{list:?}");
            let mapped = usize::try_from(done).unwrap();
            let of_others = list[..mapped].iter().filter(|gfn| **gfn >= FOREIGN).count();
            assert_eq!(held(vm), (u32::try_from(of_others).unwrap(), u64::from(done)), "{list:?}");
            for (bfn, page) in (50..).zip(0..4) {
                assert_eq!(vm.writes(DEVICE, bfn), page < done, "{list:?}: {bfn}");
            }
            for (bfn, gfn) in (50..).zip(&list[..mapped]).filter(|(_, gfn)| **gfn < FOREIGN) {
                assert!(vm.lands_in(DEVICE, bfn, *gfn), "{list:?}");
            }
            if done > 0 {
                assert_eq!(vm.unmap(context, 50, done), (0, done));
            }
            assert_eq!(held(vm), (0, 0));
            end(vm);
        });
    }
}

/// Neither are pages of two kinds acquired again because they are stored apart.
#[test]
fn a_list_of_its_own_pages_and_of_others_is_acquired_by_one_call() {
    with(&config(64, 100), |vm| {
        let context = vm.attached_context();
        for page in 0..32 {
            let foreign = (GRANTER, Gfn(page));
            assert_eq!(vm.bed.map_foreign(GUEST, Gfn(FOREIGN + page), foreign, false), Ok(()));
        }
        let list: Vec<u64> =
            (0..64).map(|i| if i % 2 == 0 { i } else { FOREIGN + i / 2 }).collect();
        vm.bed.guest_write(GUEST, LIST, list.as_bytes());
        let (op, flags, nr) = (BatchOp::MAP_LIST, BOTH, 64);
        let element =
            BatchElement { op, flags, bfn: Bfn(50), page: LIST, nr, ..BatchElement::default() };
        let work = vm.bed.board().work_of(|| {
            assert_eq!(run_one_of(vm, context, GUEST, element), (0, 64));
        });
        assert_eq!((work[Work::Acquires as usize], work[Work::Released as usize]), (1, 0));
        assert!((0..64).all(|page| vm.writes(DEVICE, 50 + page)));
        end(vm);
    });
}
