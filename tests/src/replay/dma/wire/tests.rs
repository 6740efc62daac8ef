//! Calls of the guest driver's client, read off their bytes.

use pviommu_abi::{Bfn, ContextId, Gfn};
use pviommu_guest::{BatchBuilder, BatchPage, IommuClient};
use zerocopy::IntoBytes;

use super::*;

const RW: Access = Access::READ.union(Access::WRITE);

fn extent(bfn: u64, gfn: u64, pages: u64, access: Access) -> Extent {
    Extent { bfn, gfn, pages, access }
}

/// What the calls that `make` makes ask for, and what was done if each element was done up to
/// the one numbered 1, and of that one 1 page.
fn told(
    make: impl FnOnce(&IommuClient<&dyn Fn(Subop, &mut [u8], Option<&mut [u8]>) -> i64>),
) -> Vec<(Call, Vec<u64>)> {
    let told = std::cell::RefCell::new(Vec::new());
    let answer = |subop, arg: &mut [u8], mut buffer: Option<&mut [u8]>| {
        let call = asked(subop, arg, buffer.as_deref());
        if let (Some(mut batch), Some(buffer)) = (read::<Batch>(arg), buffer.as_deref_mut()) {
            let mut all: Vec<BatchElement> = elements(&batch, buffer).collect();
            for (element, done) in all.iter_mut().zip([4, 1]) {
                element.done = done;
            }
            let bytes = all.as_bytes();
            buffer[..bytes.len()].copy_from_slice(bytes);
            batch.nr_done = 1;
            arg.copy_from_slice(batch.as_bytes());
        }
        told.borrow_mut().push((call, done(subop, arg, buffer.as_deref(), -5)));
        -5
    };
    make(&IommuClient::new(&answer));
    told.into_inner()
}

#[test]
fn a_batch_is_read_element_by_element() {
    let found = told(|client| {
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, ContextId(7));
        batch.map(Bfn(0x10), Gfn(5), 4, ElementFlags::READ).unwrap();
        let both = ElementFlags::READ | ElementFlags::WRITE;
        batch.map_list(Bfn(0x20), &[Gfn(8), Gfn(9), Gfn(1)], both).unwrap();
        batch.unmap(Bfn(0x30), 2, ElementFlags::NO_FLUSH).unwrap();
        batch.unmap(Bfn(0x40), 1, ElementFlags::SKIP_HOLES).unwrap();
        batch.flush_all().unwrap();
        let _ = client.submit(&mut batch);
    });
    let list = vec![extent(0x20, 8, 2, RW), extent(0x22, 1, 1, RW)];
    let parts = vec![
        Part::Map(vec![extent(0x10, 5, 4, Access::READ)]),
        Part::Map(list),
        Part::Unmap { bus: Span::of_pages(0x30, 2), later: true },
        Part::Unmap { bus: Span::of_pages(0x40, 1), later: false },
        Part::Flush(None),
    ];
    assert_eq!(found, [(Call::Translations { context: 7, parts }, vec![4, 1])]);
}

#[test]
fn pages_of_others_are_told_apart() {
    let found = told(|client| {
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, ContextId(1)).pages_of(pviommu_abi::DomId(3));
        batch.map(Bfn(0x10), Gfn(5), 4, ElementFlags::WRITE).unwrap();
        batch.map_grant(Bfn(0x20), 9, ElementFlags::WRITE).unwrap();
        let _ = client.submit(&mut batch);
    });
    let others =
        |first, pages| Part::MapOthers { bus: Span::of_pages(first, pages), access: Access::WRITE };
    let parts = vec![others(0x10, 4), others(0x20, 1)];
    assert_eq!(found, [(Call::Translations { context: 1, parts }, vec![4, 1])]);
}

#[test]
fn a_part_of_a_part_is_its_beginning() {
    let list = Part::Map(vec![extent(0x20, 8, 2, RW), extent(0x22, 1, 2, RW)]);
    let three = vec![extent(0x20, 8, 2, RW), extent(0x22, 1, 1, RW)];
    assert_eq!(list.clone().first(3), Some(Part::Map(three)));
    assert_eq!(list.clone().first(0), None);
    assert_eq!(list.clone().first(9), Some(list));
    assert_eq!(Part::Flush(None).first(WHOLE), Some(Part::Flush(None)));
    assert_eq!(Part::Flush(None).first(0), None);
}
