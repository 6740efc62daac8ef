//! Which answers are believed.

use pviommu_abi::{AccessFlags, Bfn, ElementFlags, Errno, Gfn, Subop};
use pviommu_guest::{BadReply, BatchBuilder, BatchFull, BatchPage, Error, LookedUp, MapError};

use crate::fake::{CONTEXT, NONE, READ, answers, client, pages, refused};

#[test]
fn a_failed_call_leaves_what_it_finished() {
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, CONTEXT);
    for bfn in 0..3 {
        batch.unmap(Bfn(bfn), 1, NONE).unwrap();
    }
    let io = Errno::EIO;
    let iommu = answers(io.to_ret(), 2, &[(io.to_status(), 1), (0, 1), (0, 1)]);
    assert_eq!(iommu.submit(&mut batch).unwrap_err(), Error::Failed(io));
    let done = batch.done();
    let failed = MapError { done: 1, cause: Error::Failed(io) };
    assert_eq!(done.iter().collect::<Vec<_>>(), [Err(failed), Ok(pages(1))]);
    assert_eq!(done.element(2), None);

    // What was finished once is not finished when the next call fails before it looks.
    let iommu = answers(Errno::EACCES.to_ret(), 0, &[(0, 1); 3]);
    assert_eq!(iommu.submit(&mut batch).unwrap_err(), Error::Refused(Errno::EACCES));
    assert_eq!(batch.done().finished(), 0);

    // Nor when its answer is not believed.
    assert_eq!(answers(0, 3, &[(0, 1); 3]).submit(&mut batch).unwrap().finished(), 3);
    answers(1, 3, &[(0, 1); 3]).submit(&mut batch).unwrap_err();
    assert_eq!(batch.done().finished(), 0);
}

#[test]
fn counts_of_elements_are_checked_against_the_statuses() {
    let inuse = Errno::EADDRINUSE.to_status();
    let ask = |run_all: bool, ret, nr_done, elements: &[(i32, u32)]| {
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, CONTEXT);
        if run_all {
            batch = batch.run_all();
        }
        for _ in 0..3 {
            batch.map(Bfn(1), Gfn(1), 2, READ).unwrap();
        }
        let result = answers(ret, nr_done, elements).submit(&mut batch).map(|d| d.finished());
        assert_eq!(result.unwrap_or_default(), batch.done().finished());
        result
    };
    let lie = |finished| Err(Error::BadReply(BadReply::Finished { asked: 3, finished }));
    let (good, bad) = ((0, 2), (inuse, 1));
    assert_eq!(ask(false, 0, 3, &[good, good, good]), Ok(3));
    assert_eq!(ask(false, 0, 3, &[good, good, bad]), Ok(3));
    assert_eq!(ask(false, 0, 2, &[good, bad, good]), Ok(2));
    assert_eq!(ask(false, 0, 2, &[good, good, good]), lie(2));
    assert_eq!(ask(false, 0, 3, &[good, bad, good]), lie(3));
    assert_eq!(ask(false, 0, 0, &[good, good, good]), lie(0));
    assert_eq!(ask(false, 0, 4, &[good, good, good]), lie(4));
    assert_eq!(ask(true, 0, 3, &[bad, bad, good]), Ok(3));
    assert_eq!(ask(true, 0, 2, &[good, bad, bad]), lie(2));
    assert_eq!(ask(false, Errno::EIO.to_ret(), u32::MAX, &[]), lie(u32::MAX));
    let status = BadReply::Status { subop: Subop::BATCH, ret: 7 };
    assert_eq!(ask(false, 7, 3, &[good, good, good]), Err(Error::BadReply(status)));
}

#[test]
fn an_element_that_lies_is_not_believed() {
    type Add = fn(&mut BatchBuilder<'_>) -> Result<usize, BatchFull>;
    let map: Add = |batch| batch.map(Bfn(1), Gfn(1), 2, READ);
    let list: Add = |batch| batch.map_list(Bfn(1), &[Gfn(1), Gfn(2)], READ);
    let unmap: Add = |batch| batch.unmap(Bfn(1), 2, ElementFlags::NO_FLUSH);
    let skip: Add = |batch| batch.unmap(Bfn(1), 2, ElementFlags::SKIP_HOLES);
    let flush: Add = |batch| batch.flush(Bfn(1), 2);
    let ask = |add: Add, status, done| {
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, CONTEXT).run_all();
        add(&mut batch).unwrap();
        let iommu = answers(0, 1, &[(status, done)]);
        iommu.submit(&mut batch).unwrap().element(0).unwrap()
    };
    let bad = |reply| Err(MapError { done: 0, cause: Error::BadReply(reply) });
    let count = |done| bad(BadReply::Count { subop: Subop::BATCH, asked: 2, done });
    for add in [map, list, unmap] {
        assert_eq!(ask(add, 0, 2), Ok(pages(2)));
        assert_eq!(ask(add, 0, 1), count(1));
    }
    for add in [skip, flush] {
        assert_eq!(ask(add, 0, 0), Ok(pages(0)));
        assert_eq!(ask(add, 0, 2), Ok(pages(2)));
    }
    for add in [map, list, unmap, skip, flush] {
        assert_eq!(ask(add, 0, 3), count(3));
        assert_eq!(ask(add, Errno::EPERM.to_status(), 3), count(3));
        assert_eq!(ask(add, Errno::EPERM.to_status(), 1), Err(refused(1, Errno::EPERM)));
        for status in [1, -4, -85, i32::MIN, i32::MAX] {
            let unknown = BadReply::Status { subop: Subop::BATCH, ret: status.into() };
            assert_eq!(ask(add, status, 1), bad(unknown));
        }
    }
}

#[test]
fn a_grant_is_one_page() {
    let ask = |status, done| {
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, CONTEXT).run_all();
        batch.map_grant(Bfn(1), 9, READ).unwrap();
        let iommu = answers(0, 1, &[(status, done)]);
        iommu.submit(&mut batch).unwrap().element(0).unwrap()
    };
    let lie = |done| {
        let count = BadReply::Count { subop: Subop::BATCH, asked: 1, done };
        Err(MapError { done: 0, cause: Error::BadReply(count) })
    };
    assert_eq!(ask(0, 1), Ok(pages(1)));
    assert_eq!(ask(0, 0), lie(0));
    assert_eq!(ask(0, 2), lie(2));
    assert_eq!(ask(Errno::EPERM.to_status(), 0), Err(refused(0, Errno::EPERM)));
    // A service that has batches and no grants.
    let absent = MapError { done: 0, cause: Error::NotAvailable(Errno::EOPNOTSUPP) };
    assert_eq!(ask(Errno::EOPNOTSUPP.to_status(), 0), Err(absent));
}

#[test]
fn a_looked_up_frame_is_checked() {
    let ask = |gfn, flags| {
        let iommu = client(move |call, elements, _| {
            (elements[0].page, elements[0].flags, elements[0].done) = (gfn, flags, 1);
            call.nr_done = 1;
            0
        });
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, CONTEXT);
        batch.lookup(Bfn(1)).unwrap();
        let result = iommu.submit(&mut batch).unwrap().element(0).unwrap();
        result.map(|done| done.found.unwrap())
    };
    let both = AccessFlags::READ | AccessFlags::WRITE;
    assert_eq!(ask(5, ElementFlags::all()), Ok(LookedUp { gfn: Some(Gfn(5)), access: both }));
    assert_eq!(ask(u64::MAX, NONE), Ok(LookedUp { gfn: None, access: AccessFlags::empty() }));
    let field = BadReply::Field { subop: Subop::BATCH, field: "page", value: 1 << 52 };
    let lie = Err(MapError { done: 0, cause: Error::BadReply(field) });
    assert_eq!(ask(1 << 52, READ), lie);
}
