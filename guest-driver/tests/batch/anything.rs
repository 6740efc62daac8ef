//! Answers at random.

use proptest::prelude::{ProptestConfig, any, prop, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};
use pviommu_abi::{BatchElement, BatchOp, Bfn, ElementFlags, Gfn};
use pviommu_guest::{BatchBuilder, BatchFull, BatchPage};
use zerocopy::{FromBytes, IntoBytes};

use crate::fake::{CONTEXT, READ, client};

/// What is added to a batch: the operation, and its pages.
fn operation() -> impl Strategy<Value = (BatchOp, u32)> {
    let op = prop_oneof![
        Just(BatchOp::MAP),
        Just(BatchOp::MAP_LIST),
        Just(BatchOp::MAP_GRANT),
        Just(BatchOp::UNMAP),
        Just(BatchOp::FLUSH),
        Just(BatchOp::LOOKUP),
    ];
    (op, 0..60_u32)
}

fn add(batch: &mut BatchBuilder<'_>, (op, nr): (BatchOp, u32)) -> Result<usize, BatchFull> {
    let gfns: Vec<Gfn> = (0..nr.into()).map(Gfn).collect();
    match op {
        BatchOp::MAP => batch.map(Bfn(1), Gfn(1), nr, READ),
        BatchOp::MAP_LIST => batch.map_list(Bfn(1), &gfns, READ),
        BatchOp::MAP_GRANT => batch.map_grant(Bfn(1), nr.into(), READ),
        BatchOp::UNMAP => batch.unmap(Bfn(1), nr, ElementFlags::SKIP_HOLES),
        BatchOp::FLUSH => batch.flush(Bfn(1), nr),
        _ => batch.lookup(Bfn(1)),
    }
}

/// How many pages that is.
fn pages_of((op, nr): (BatchOp, u32)) -> u32 {
    if matches!(op, BatchOp::MAP_GRANT | BatchOp::LOOKUP) { 1 } else { nr }
}

/// Numbers of which a good part is plausible.
fn status() -> impl Strategy<Value = i32> {
    prop_oneof![4 => Just(0), 2 => -120..3_i32, 1 => any::<i32>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a hypervisor writes into the elements, results stay within what was asked, and the
    /// next call asks for the same operations on as many pages, and has its lists in place.
    #[test]
    fn a_hypervisor_can_answer_anything(
        operations in prop::collection::vec(operation(), 1..40),
        run_all in any::<bool>(),
        rounds in prop::collection::vec(
            (
                prop_oneof![Just(0_i64), (-120..2_i64), any::<i64>()],
                prop_oneof![3 => 0..40_u32, 1 => any::<u32>()],
                prop::collection::vec((status(), 0..70_u32), 40),
                any::<Option<u64>>(),
            ),
            1..4,
        ),
    ) {
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, CONTEXT);
        if run_all {
            batch = batch.run_all();
        }
        let added: Vec<_> =
            operations.into_iter().filter(|asked| add(&mut batch, *asked).is_ok()).collect();
        for (ret, nr_done, statuses, noise) in rounds {
            let iommu = client(|call, elements, _| {
                for (element, asked) in elements.iter().zip(&added) {
                    assert_eq!((element.op, element.status, element.done), (asked.0, 0, 0));
                    assert_eq!(element.nr, pages_of(*asked));
                }
                for (element, (status, done)) in elements.iter_mut().zip(&statuses) {
                    if let Some(noise) = noise {
                        let noise = [noise, noise.rotate_left(13), !noise, noise << 2];
                        *element = BatchElement::read_from_bytes(noise.as_bytes()).unwrap();
                    }
                    (element.status, element.done) = (*status, *done);
                }
                call.nr_done = nr_done;
                call.nr_ops = u32::MAX;
                ret
            });
            let result = iommu.submit(&mut batch).map(|done| done.finished());
            let done = batch.done();
            assert!(done.finished() <= added.len());
            assert_eq!(done.element(done.finished()), None);
            if let Ok(finished) = result {
                assert_eq!((ret, finished), (0, done.finished()));
                assert!(finished == added.len() || done.first_error().is_some());
            }
            for (result, asked) in done.iter().zip(&added) {
                let pages = result.map_or_else(|error| error.done, |done| done.pages);
                assert!(pages <= pages_of(*asked));
            }
        }
    }
}
