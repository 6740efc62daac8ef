//! Many pages of a guest put over the map that its domain started with, which it kept.

use pviommu_abi::{Batch, BatchElement, ContextId, Errno, Gfn, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, addr::GfnRange};
use zerocopy::IntoBytes;

use super::kit::take;
use crate::{
    batch_kit::{LIST, map_list},
    foreign::kit::{GRANTER, end, run_as, three},
    kit::{DEVICE, GUEST, Vm, err, with},
};

const PAGES: u64 = 1000;
/// Where the guest has a page of the granter in its memory.
const FOREIGN: u64 = 0x1_0000;

/// Where another list of fewer pages comes, and where that lies.
const APART: u64 = 800;
const OTHER_LIST: u64 = 0x3_8000;
const BEFORE: u64 = 100;

/// Maps the other list, and in the same batch the list `gfns` from bus frame 0 on: status of that, and pages.
fn map(vm: &Vm<'_>, gfns: &[u64]) -> (i64, u32) {
    let first: Vec<u64> = (0..BEFORE).map(|i| 64 + i * 3).collect();
    vm.bed.guest_write(GUEST, OTHER_LIST, first.as_bytes());
    vm.bed.guest_write(GUEST, LIST, gfns.as_bytes());
    let nr = u32::try_from(gfns.len()).unwrap();
    let lists = [map_list(APART, OTHER_LIST, BEFORE as u32), map_list(0, LIST, nr)];
    let mut elements = lists.map(|list| BatchElement { status: 0, done: 0, ..list });
    let ctx_id = u32::from(ContextId::DEFAULT.0);
    assert_eq!(run_as(vm, Batch { ctx_id, ..Batch::default() }, &mut elements), 0);
    assert_eq!((elements[0].status, u64::from(elements[0].done)), (0, BEFORE));
    (i64::from(elements[1].status), elements[1].done)
}

/// The pages that go are more than wait for one flush, so that flushes come in the middle of what is alike: each page is
/// where the list says, and a frame that is none ends it there.
#[test]
fn a_list_over_the_initial_map_is_put_in_place_page_by_page_whatever_is_in_it() {
    for pages in [200, 257, 400, 600, 700] {
        for among in [7, 64, 130] {
            let mut config = three().with_default_map(DefaultMap::Guest);
            config.domains[0].ram = vec![GfnRange::of_pages(Gfn(0), PAGES).unwrap()];
            with(&config, |vm| {
                let theirs = (GRANTER, Gfn(5));
                assert_eq!(vm.bed.map_foreign(GUEST, Gfn(FOREIGN), theirs, false), Ok(()));
                assert_eq!(take(vm, OwnershipMode::KEEP), 0);
                let foreign = |i: u64| i % among == among - 1;
                let mut list: Vec<u64> = (0..pages)
                    .map(|i| if foreign(i) { FOREIGN } else { 64 + i * 7 % (PAGES - 64) })
                    .collect();
                list.push(FOREIGN - 1);
                let mapped = u32::try_from(pages).unwrap();
                assert_eq!(map(vm, &list), (err(Errno::ENOENT), mapped));
                for (bfn, gfn) in (0..pages).zip(&list) {
                    let there = if foreign(bfn) {
                        vm.writes(DEVICE, bfn)
                    } else {
                        vm.lands_in(DEVICE, bfn, *gfn)
                    };
                    assert!(there, "{pages} {among}: {bfn}");
                }
                assert!(vm.lands_in(DEVICE, pages, pages), "what comes after is still there");
                assert_eq!(vm.unmap(ContextId::DEFAULT, 0, mapped), (0, mapped));
                assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
                assert_eq!(vm.bed.teardown(GUEST, 0), 0);
                assert_eq!(vm.bed.unmap_foreign(GUEST, Gfn(FOREIGN)), Ok(()));
                end(vm);
            });
        }
    }
}
