//! What is asked for, and where it stands in the page.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pviommu_abi::{
    AccessFlags, Batch, BatchElement, BatchFlags, BatchOp, Bfn, DomId, ElementFlags, Errno, Gfn,
};
use pviommu_guest::{BatchBuilder, BatchFull, BatchPage, ElementDone, LookedUp};

use crate::fake::{CONTEXT, NONE, READ, answers, client, machine, pages, refused};

#[test]
fn operations_run_in_their_order() {
    let entries = RefCell::default();
    let iommu = machine(&entries);
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, CONTEXT);
    assert_eq!(batch.map(Bfn(0x10), Gfn(0x80), 3, READ), Ok(0));
    assert_eq!(batch.map_list(Bfn(0x13), &[Gfn(9), Gfn(4)], READ), Ok(1));
    assert_eq!(batch.unmap(Bfn(0x11), 1, NONE), Ok(2));
    assert_eq!(batch.lookup(Bfn(0x14)), Ok(3));
    assert_eq!(batch.map_list(Bfn(0x11), &[Gfn(7)], READ), Ok(4));
    assert_eq!(batch.flush(Bfn(0x10), 5), Ok(5));
    assert_eq!(batch.flush_all(), Ok(6));

    let done = iommu.submit(&mut batch).unwrap();
    let found = LookedUp { gfn: Some(Gfn(4)), access: AccessFlags::READ };
    let found = ElementDone { pages: 1, found: Some(found) };
    let expected = [pages(3), pages(2), pages(1), found, pages(1), pages(5), pages(0)];
    assert_eq!(done.iter().collect::<Vec<_>>(), expected.map(Ok));
    assert_eq!((done.finished(), done.first_error()), (7, None));
    let map = [(0x10, 0x80), (0x11, 7), (0x12, 0x82), (0x13, 9), (0x14, 4)];
    assert_eq!(*entries.borrow(), BTreeMap::from(map));
}

#[test]
fn a_batch_stops_at_the_first_error_unless_told_to_run_all() {
    let entries = RefCell::new(BTreeMap::from([(0x12, 1)]));
    let iommu = machine(&entries);
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, CONTEXT);
    let fill = |batch: &mut BatchBuilder<'_>| {
        batch.map(Bfn(1), Gfn(1), 1, READ).unwrap();
        batch.map(Bfn(0x10), Gfn(0x80), 5, READ).unwrap();
        batch.unmap(Bfn(1), 1, NONE).unwrap();
    };
    fill(&mut batch);
    let done = iommu.submit(&mut batch).unwrap();
    let failed = refused(2, Errno::EADDRINUSE);
    assert_eq!((done.finished(), done.first_error()), (2, Some((1, failed))));
    assert_eq!(done.element(0), Some(Ok(pages(1))));
    assert_eq!(done.element(1), Some(Err(failed)));
    assert_eq!(done.element(2), None, "not finished");

    let mut batch = batch.run_all();
    batch.clear();
    batch.unmap(Bfn(0), 0x20, ElementFlags::SKIP_HOLES).unwrap();
    fill(&mut batch);
    batch.map(Bfn(0x12), Gfn(5), 1, READ).unwrap();
    let done = iommu.submit(&mut batch).unwrap();
    assert_eq!(
        (done.finished(), done.first_error()),
        (5, Some((4, refused(0, Errno::EADDRINUSE))))
    );
}

#[test]
fn elements_and_lists_share_the_page() {
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, CONTEXT);
    assert_eq!((batch.room(), batch.list_room()), (128, 508));
    for index in 0..128 {
        assert_eq!(batch.lookup(Bfn(1)), Ok(index));
    }
    assert_eq!((batch.room(), batch.list_room(), batch.len()), (0, 0, 128));
    assert_eq!(batch.flush_all(), Err(BatchFull));
    assert_eq!(batch.map_list(Bfn(1), &[], READ), Err(BatchFull));
    let done = answers(0, 128, &[(0, 1); 128]).submit(&mut batch).unwrap().finished();
    assert_eq!(done, 128);

    batch.clear();
    assert!(batch.is_empty());
    let gfns: Vec<Gfn> = (1000..1509).map(Gfn).collect();
    assert_eq!(batch.map_list(Bfn(1), &gfns, READ), Err(BatchFull));
    assert_eq!((batch.room(), batch.is_empty()), (128, true), "nothing is added");
    batch.map_list(Bfn(1), &gfns[..7], READ).unwrap();
    batch.map(Bfn(0x1000), Gfn(1), 1, READ).unwrap();
    assert_eq!(batch.list_room(), 512 - 7 - 8 - 4);
    batch.map_list(Bfn(0x2000), &gfns[7..500], READ).unwrap();
    assert_eq!((batch.room(), batch.list_room()), (0, 0));
    assert_eq!(batch.lookup(Bfn(1)), Err(BatchFull));

    let entries = RefCell::default();
    let iommu = machine(&entries);
    assert_eq!(iommu.submit(&mut batch).unwrap().first_error(), None);
    let mapped = entries.borrow().clone();
    let mut expected: BTreeMap<u64, u64> = (0..7).map(|page| (1 + page, 1000 + page)).collect();
    expected.insert(0x1000, 1);
    expected.extend((0..493).map(|page| (0x2000 + page, 1007 + page)));
    assert_eq!(mapped, expected);

    // The addresses of lists that the first call left behind are not taken for offsets.
    entries.borrow_mut().clear();
    assert_eq!(iommu.submit(&mut batch).unwrap().first_error(), None);
    assert_eq!(*entries.borrow(), mapped);
}

#[test]
fn the_call_is_filled_in() {
    let mut page = BatchPage::new();
    let batch = BatchBuilder::new(&mut page, CONTEXT);
    let mut batch = batch.run_all().for_domain(DomId(4)).pages_of(DomId(5));
    let silent = answers(Errno::EPERM.to_ret(), 0, &[]);
    assert_eq!(silent.submit(&mut batch).unwrap().finished(), 0, "no call for an empty batch");
    batch.unmap(Bfn(7), 2, ElementFlags::NO_FLUSH).unwrap();
    let seen = RefCell::default();
    let iommu = client(|call, elements, words| {
        *seen.borrow_mut() = (*call, elements.to_vec(), words.len());
        call.nr_done = 1;
        Errno::EIO.to_ret()
    });
    iommu.submit(&mut batch).unwrap_err();
    let (call, elements, words): (Batch, _, _) = seen.take();
    let expected = Batch {
        flags: BatchFlags::RUN_ALL,
        ctx_id: 3,
        domid: DomId(4),
        owner: DomId(5),
        nr_ops: 1,
        ops: call.ops,
        ..Batch::default()
    };
    assert_eq!(call, expected);
    let element = BatchElement {
        op: BatchOp::UNMAP,
        flags: ElementFlags::NO_FLUSH,
        bfn: Bfn(7),
        nr: 2,
        ..BatchElement::default()
    };
    assert_eq!((elements, words), (vec![element], 4));
}

#[test]
fn a_grant_is_named_by_its_owner_and_number() {
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, CONTEXT).pages_of(DomId(5));
    let access = READ | ElementFlags::WRITE | ElementFlags::NO_FLUSH;
    assert_eq!(batch.map_grant(Bfn(7), u64::MAX, access), Ok(0));
    // A number that looks like the place of a list is not made an address.
    assert_eq!(batch.map_grant(Bfn(8), 0x800, READ), Ok(1));
    assert_eq!(batch.map_list(Bfn(9), &[Gfn(4)], READ), Ok(2));
    let iommu = client(|call, elements, _| {
        assert_eq!((call.domid, call.owner), (DomId::SELF, DomId(5)));
        let grant = |bfn, page, flags| {
            let op = BatchOp::MAP_GRANT;
            BatchElement { op, flags, bfn: Bfn(bfn), page, nr: 1, ..BatchElement::default() }
        };
        assert_eq!(elements[..2], [grant(7, u64::MAX, access), grant(8, 0x800, READ)]);
        for element in elements {
            element.done = 1;
        }
        call.nr_done = 3;
        0
    });
    // The same once more, after the results of the first call.
    for _ in 0..2 {
        assert_eq!(iommu.submit(&mut batch).unwrap().iter().collect::<Vec<_>>(), [Ok(pages(1)); 3]);
    }
}

#[test]
fn an_empty_list_fails_as_an_element() {
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, CONTEXT);
    batch.map_list(Bfn(1), &[], READ).unwrap();
    let done = answers(0, 1, &[(Errno::EINVAL.to_status(), 0)]).submit(&mut batch).unwrap();
    assert_eq!(done.element(0), Some(Err(refused(0, Errno::EINVAL))));
}
