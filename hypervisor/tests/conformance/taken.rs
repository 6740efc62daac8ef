//! Frames that are taken out of a table, wherever they are mapped.

use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    format::{Format, pages_at},
    platform::{Access, Pool},
    table::{Cursor, SplitPaid, Stop, TakenOut},
};

use super::rig::Rig;

const RW: Access = Access::READ.union(Access::WRITE);

pub(crate) fn a_leaf_that_goes_as_a_whole_takes_no_tables<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let (pages, frame) = (pages_at::<F>(level), 0x40 * pages_at::<F>(level));
        for range in [(frame, pages), (frame - 1, pages + 2)] {
            rig.map_leaf(0, level, frame, RW, SplitPaid::No).unwrap();
            let range = MfnRange::of_pages(Mfn(range.0), range.1).unwrap();
            assert_eq!(rig.take_out(&[range]), TakenOut::Finished, "{:?}", rig.kind);
            rig.is_vacant(0);
            rig.is_vacant(pages - 1);
        }
        rig.map_leaf(0, level, frame, RW, SplitPaid::No).unwrap();
        let part = MfnRange::of_pages(Mfn(frame + 1), pages).unwrap();
        let stopped = Some(Stop::NeedTables(1, Pool::Open));
        assert_eq!(rig.take_out(&[part]), TakenOut::More(Cursor(0), stopped));
        rig.is_mapped(1, frame + 1, RW);
        rig.unmap(0, pages);
        rig.is_empty();
    }
}

pub(crate) fn a_table_whose_pages_were_taken_out_is_empty<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    assert_eq!(rig.map(table, 0x10, 3, RW), (3, None));
    let frame = |mfn| MfnRange::single(Mfn(mfn));
    assert_eq!(rig.take_out(&[frame(0x10), frame(0x12)]), TakenOut::Finished);
    rig.is_vacant(table);
    rig.is_mapped(table + 1, 0x11, RW);
    rig.is_vacant(table + 2);
    assert_eq!(rig.take_out(&[frame(0x11)]), TakenOut::Finished);
    rig.is_empty();
}
