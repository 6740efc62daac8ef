//! The client against hypervisors that answer well, badly, and not at all.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::cell::RefCell;

use pviommu_abi::{
    AllocContext, AllocFlags, Batch, BatchElement, BatchOp, Bfn, Capabilities, ContextId, DomId,
    Errno, FreeFlags, Gfn, Init, MapFlags, MapPages, PciDevice, QueryLimits, ReattachDevice,
    RemoteCmd, Subop, UnmapPages,
};
use pviommu_guest::hypercall::{check, set_pointer, set_pointers};
use pviommu_guest::{BadReply, Error, Hypercall, IommuClient, MapError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const CONTEXT: ContextId = ContextId(3);

/// Lets `edit` change the argument as a hypervisor would.
fn edit<T>(arg: &mut [u8], edit: impl FnOnce(&mut T)) -> i64
where
    T: FromBytes + IntoBytes + Immutable + KnownLayout,
{
    edit(T::mut_from_bytes(arg).unwrap());
    0
}

/// A hypervisor that maps and unmaps `done` pages, whatever it is asked for, and returns `ret`.
fn counts(done: u32, ret: i64) -> IommuClient<impl Hypercall> {
    IommuClient::new(move |subop, arg: &mut [u8], _: Option<&mut [u8]>| {
        match subop {
            Subop::MAP_PAGES => edit(arg, |call: &mut MapPages| call.mapped += done),
            _ => edit(arg, |call: &mut UnmapPages| call.unmapped += done),
        };
        ret
    })
}

#[test]
fn counts_are_checked_against_the_status() {
    let map = |done, ret| counts(done, ret).map(CONTEXT, Bfn(1), Gfn(2), 5, MapFlags::READABLE);
    let unmap = |done, ret| counts(done, ret).unmap(CONTEXT, Bfn(1), 5);
    let lie = |subop, done| {
        let cause = Error::BadReply(BadReply::Count { subop, asked: 5, done });
        Err(MapError { done: 0, cause })
    };
    let inuse = Errno::EADDRINUSE;

    assert_eq!(map(5, 0), Ok(5));
    assert_eq!(map(3, inuse.to_ret()), Err(MapError { done: 3, cause: Error::Refused(inuse) }));
    assert_eq!(map(6, 0), lie(Subop::MAP_PAGES, 6));
    assert_eq!(map(4, 0), lie(Subop::MAP_PAGES, 4));
    assert_eq!(map(u32::MAX, inuse.to_ret()), lie(Subop::MAP_PAGES, u32::MAX));

    assert_eq!(unmap(5, 0), Ok(5));
    let io = MapError { done: 2, cause: Error::Failed(Errno::EIO) };
    assert_eq!(unmap(2, Errno::EIO.to_ret()), Err(io));
    assert_eq!(unmap(9, Errno::EIO.to_ret()), lie(Subop::UNMAP_PAGES, 9));
}

#[test]
fn return_values_outside_of_the_table_are_not_believed() {
    for ret in [1, 43, -4, -85, -4096, i64::MIN, i64::MAX] {
        let bad = Error::BadReply(BadReply::Status { subop: Subop::MAP_PAGES, ret });
        let error = counts(1, ret).map(CONTEXT, Bfn(1), Gfn(2), 5, MapFlags::READABLE).unwrap_err();
        assert_eq!(error, MapError { done: 0, cause: bad });
        assert_eq!(error.cause.errno(), None);
    }
}

#[test]
fn errors_say_what_to_do() {
    let sorted = |errno: Errno| {
        let none = move |_: Subop, _: &mut [u8], _: Option<&mut [u8]>| errno.to_ret();
        IommuClient::new(none).free_context(CONTEXT, FreeFlags::empty()).unwrap_err()
    };
    assert_eq!(sorted(Errno::EAGAIN), Error::Retry(Errno::EAGAIN));
    assert_eq!(sorted(Errno::EBUSY), Error::Refused(Errno::EBUSY));
    assert_eq!(sorted(Errno::ENOSPC), Error::Exhausted(Errno::ENOSPC));
    assert_eq!(sorted(Errno::ENOSYS), Error::NotAvailable(Errno::ENOSYS));
    assert_eq!(sorted(Errno::EIO), Error::Failed(Errno::EIO));
    assert!(sorted(Errno::EIO).to_string().starts_with("failed: EIO: "));
}

/// A hypervisor that answers the probe, and records what it was asked.
fn probe(before: u16, init: i64, after: u16) -> (Result<Capabilities, Error>, Vec<Subop>) {
    let calls = RefCell::new(Vec::new());
    let client = IommuClient::new(|subop, arg: &mut [u8], _: Option<&mut [u8]>| {
        let contexts = if calls.borrow().is_empty() { before } else { after };
        calls.borrow_mut().push(subop);
        match subop {
            Subop::QUERY_CAPABILITIES => edit(arg, |call: &mut Capabilities| {
                call.pgsize_mask = 0x1000;
                call.max_ctx_no = contexts;
            }),
            _ => {
                assert_eq!(
                    Init::read_from_bytes(arg),
                    Ok(Init { max_ctx_no: 128, arena_order: 12 })
                );
                init
            }
        }
    });
    let found = client.probe();
    (found, calls.into_inner())
}

#[test]
fn probe_sets_up_once() {
    let (query, init) = (Subop::QUERY_CAPABILITIES, Subop::INIT);
    let (found, calls) = probe(7, 0, 7);
    assert_eq!((found.unwrap().max_ctx_no, calls), (7, vec![query]));

    let (found, calls) = probe(0, 0, 128);
    assert_eq!((found.unwrap().max_ctx_no, calls), (128, vec![query, init, query]));

    let (found, calls) = probe(0, Errno::EACCES.to_ret(), 5);
    assert_eq!((found.unwrap().max_ctx_no, calls), (5, vec![query, init, query]));

    let (found, calls) = probe(0, Errno::ENOMEM.to_ret(), 0);
    assert_eq!((found, calls), (Err(Error::Exhausted(Errno::ENOMEM)), vec![query, init]));
}

#[test]
fn answers_that_cannot_be_are_refused() {
    let silent = IommuClient::new(|_: Subop, _: &mut [u8], _: Option<&mut [u8]>| 0);
    let sizes = Error::BadReply(BadReply::PageSizes(0));
    assert_eq!(silent.query_capabilities(), Err(sizes));
    let zero = Error::BadReply(BadReply::DefaultContext);
    assert_eq!(silent.alloc_context(AllocFlags::empty()), Err(zero));
    let device = PciDevice::new(0, 0, 3, 0);
    assert_eq!(silent.reattach_device(device, CONTEXT), Ok(()));
}

#[test]
fn remote_calls_are_wrapped() {
    let client = IommuClient::new(|subop, arg: &mut [u8], buffer: Option<&mut [u8]>| {
        assert_eq!(subop, Subop::REMOTE_CMD);
        let outer = RemoteCmd::read_from_bytes(arg).unwrap();
        assert_eq!(outer.domid, DomId(9));
        let buffer = buffer.unwrap();
        assert_eq!(check(subop, arg, Some(buffer)), Ok(()));
        match Subop(u32::from(outer.subop)) {
            Subop::ALLOC_CONTEXT => edit(buffer, |call: &mut AllocContext| call.ctx_no = CONTEXT),
            Subop::REATTACH_DEVICE => {
                ReattachDevice::read_from_bytes(buffer).map_or(0, |call| i64::from(call.pasid))
            }
            _ => Errno::EINVAL.to_ret(),
        }
    });
    let remote = client.on_behalf_of(DomId(9));
    assert_eq!(remote.alloc_context(AllocFlags::empty()), Ok(CONTEXT));
    assert_eq!(remote.reattach_device(PciDevice::default(), CONTEXT), Ok(()));
    let nested = remote.on_behalf_of(DomId(1)).alloc_context(AllocFlags::empty());
    assert_eq!(nested, Err(Error::NotAvailable(Errno::EOPNOTSUPP)));
}

#[test]
fn a_transport_refuses_what_could_write_outside() {
    let [map, batch] = [[0; 40]; 2];
    assert_eq!(check(Subop::NOOP, &[], None), Ok(()));
    assert_eq!(check(Subop::MAP_PAGES, &map, None), Ok(()));
    assert_eq!(check(Subop::MAP_PAGES, &map[..39], None), Err(Errno::EINVAL));
    assert_eq!(check(Subop::MAP_PAGES, &map, Some(&batch)), Err(Errno::EINVAL));
    assert_eq!(check(Subop(0x3f), &map, None), Err(Errno::EOPNOTSUPP));

    let remote =
        |subop: Subop| RemoteCmd { subop: u16::try_from(subop.0).unwrap(), ..RemoteCmd::default() };
    let outer = remote(Subop::MAP_PAGES);
    assert_eq!(check(Subop::REMOTE_CMD, outer.as_bytes(), Some(&map)), Ok(()));
    assert_eq!(check(Subop::REMOTE_CMD, outer.as_bytes(), Some(&map[..39])), Err(Errno::EINVAL));
    assert_eq!(check(Subop::REMOTE_CMD, outer.as_bytes(), None), Err(Errno::EINVAL));
    for inner in [Subop::REMOTE_CMD, Subop::BATCH, Subop(99)] {
        let refused = check(Subop::REMOTE_CMD, remote(inner).as_bytes(), Some(&[0; 64]));
        assert_eq!(refused, Err(Errno::EOPNOTSUPP));
    }

    let two = Batch { nr_ops: 2, ..Batch::default() };
    assert_eq!(check(Subop::BATCH, two.as_bytes(), Some(&[0; 64])), Ok(()));
    assert_eq!(check(Subop::BATCH, two.as_bytes(), Some(&[0; 63])), Err(Errno::EINVAL));
    let huge = Batch { nr_ops: u32::MAX, elem_size: u32::MAX, ..Batch::default() };
    assert_eq!(check(Subop::BATCH, huge.as_bytes(), Some(&[0; 64])), Err(Errno::EINVAL));

    let other_size = Batch { elem_size: 16, ..two };
    assert_eq!(check(Subop::BATCH, other_size.as_bytes(), Some(&[0; 64])), Err(Errno::EINVAL));

    let longer = QueryLimits { size: QueryLimits::SIZE + 1, ..QueryLimits::default() };
    assert_eq!(check(Subop::QUERY_LIMITS, longer.as_bytes(), None), Err(Errno::EINVAL));
}

#[test]
fn the_pointer_goes_where_the_structure_has_it() {
    let mut call = Batch::default();
    set_pointer(Subop::BATCH, call.as_mut_bytes(), 0x1122_3344_5566_7788).unwrap();
    assert_eq!(call.ops.0, 0x1122_3344_5566_7788);
    assert_eq!(set_pointer(Subop::INIT, &mut [0; 8], 1), Err(Errno::EINVAL));
    assert_eq!(set_pointer(Subop::BATCH, &mut [0; 39], 1), Err(Errno::EINVAL));
}

#[test]
fn lists_of_a_batch_stay_behind_its_elements_and_within_its_buffer() {
    let mut call = Batch { nr_ops: 1, ..Batch::default() };
    let mut ask = |op, page, nr, address| {
        let element = BatchElement { op, page, nr, ..BatchElement::default() };
        let mut buffer = [0; 64];
        buffer[..32].copy_from_slice(element.as_bytes());
        let checked = check(Subop::BATCH, call.as_bytes(), Some(&buffer));
        let set = set_pointers(Subop::BATCH, call.as_mut_bytes(), &mut buffer, address);
        let after = BatchElement::read_from_bytes(&buffer[..32]).unwrap();
        if checked.is_ok() && set.is_ok() {
            assert_eq!((call.ops.0, BatchElement { page, ..after }), (address, element));
        } else {
            assert_eq!(after, element);
        }
        set.map(|()| after.page)
    };
    let list = BatchOp::MAP_LIST;
    assert_eq!(ask(list, 32, 4, 0x5000), Ok(0x5020));
    assert_eq!(ask(list, 56, 1, 0x5000), Ok(0x5038));
    assert_eq!(ask(list, 64, 0, 0x5000), Ok(0x5040));
    assert_eq!(ask(BatchOp::MAP, 32, 4, 0x5000), Ok(32), "a frame, not an offset");
    for (page, nr) in
        [(24, 1), (0, 0), (33, 1), (32, 5), (64, 1), (72, 0), (u64::MAX - 7, 1), (32, u32::MAX)]
    {
        assert_eq!(ask(list, page, nr, 0x5000), Err(Errno::EINVAL), "{page:#x} {nr}");
    }
    assert_eq!(ask(list, 32, 4, u64::MAX - 32), Err(Errno::EINVAL), "wraps");
}
