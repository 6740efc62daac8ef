//! Hypervisors.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, ContextId, ElementFlags, Errno, Subop,
};
use pviommu_guest::hypercall::{check, set_pointers};
use pviommu_guest::{ElementDone, Error, Hypercall, IommuClient, MapError};
use zerocopy::FromBytes;

pub(crate) const CONTEXT: ContextId = ContextId(3);
/// Where the fake hypervisors find the buffer.
const BASE: u64 = 0xffff_8000_1234_5000;
pub(crate) const READ: ElementFlags = ElementFlags::READ;
pub(crate) const NONE: ElementFlags = ElementFlags::empty();

/// Does what a transport does, then has `run` answer, with the elements and all words of the
/// buffer before it.
pub(crate) fn client(
    run: impl Fn(&mut Batch, &mut [BatchElement], &[u64]) -> i64,
) -> IommuClient<impl Hypercall> {
    IommuClient::new(move |subop, arg: &mut [u8], buffer: Option<&mut [u8]>| {
        let buffer = buffer.unwrap();
        assert_eq!(subop, Subop::BATCH);
        assert_eq!(check(subop, arg, Some(buffer)), Ok(()));
        set_pointers(subop, arg, buffer, BASE).unwrap();
        let words = <[u64]>::ref_from_bytes(buffer).unwrap().to_vec();
        let call = Batch::mut_from_bytes(arg).unwrap();
        assert_eq!(call.ops.0, BASE);
        let count = usize::try_from(call.nr_ops).unwrap();
        let (elements, _) = <[BatchElement]>::mut_from_prefix_with_elems(buffer, count).unwrap();
        run(call, elements, &words)
    })
}

/// Answers without running anything: `nr_done`, then status and pages of each element.
pub(crate) fn answers(
    ret: i64,
    nr_done: u32,
    elements: &[(i32, u32)],
) -> IommuClient<impl Hypercall + use<>> {
    let elements = elements.to_vec();
    client(move |call, asked, _| {
        for (element, (status, done)) in asked.iter_mut().zip(&elements) {
            (element.status, element.done) = (*status, *done);
        }
        call.nr_done = nr_done;
        ret
    })
}

/// Runs one element, as the ABI says, and returns its status.
pub(crate) fn serve(
    entries: &mut BTreeMap<u64, u64>,
    element: &mut BatchElement,
    words: &[u64],
) -> i32 {
    for page in 0..u64::from(element.nr) {
        let bfn = element.bfn.0 + page;
        match element.op {
            BatchOp::MAP | BatchOp::MAP_LIST => {
                let gfn = if element.op == BatchOp::MAP {
                    element.page + page
                } else {
                    words[usize::try_from((element.page - BASE) / 8 + page).unwrap()]
                };
                if entries.contains_key(&bfn) {
                    return Errno::EADDRINUSE.to_status();
                }
                entries.insert(bfn, gfn);
            }
            BatchOp::UNMAP => {
                let skip = element.flags.contains(ElementFlags::SKIP_HOLES);
                if entries.remove(&bfn).is_none() && !skip {
                    return Errno::ENOENT.to_status();
                }
            }
            BatchOp::LOOKUP => match entries.get(&bfn) {
                Some(gfn) => (element.page, element.flags) = (*gfn, READ),
                None => return Errno::ENOENT.to_status(),
            },
            BatchOp::FLUSH => {}
            op => panic!("{op} was not asked for"),
        }
        element.done += 1;
    }
    0
}

/// Runs batches, as the ABI says.
pub(crate) fn machine(entries: &RefCell<BTreeMap<u64, u64>>) -> IommuClient<impl Hypercall> {
    client(|call, elements, words| {
        for element in elements {
            element.status = serve(&mut entries.borrow_mut(), element, words);
            call.nr_done += 1;
            if element.status != 0 && !call.flags.contains(BatchFlags::RUN_ALL) {
                break;
            }
        }
        0
    })
}

pub(crate) fn pages(pages: u32) -> ElementDone {
    ElementDone { pages, found: None }
}

pub(crate) fn refused(done: u32, errno: Errno) -> MapError {
    MapError { done, cause: Error::Refused(errno) }
}
