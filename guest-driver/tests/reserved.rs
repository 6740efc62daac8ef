//! Reserved ranges, against hypervisors that tell them well and badly.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use pviommu_abi::{
    AccessFlags, Bfn, ContextId, DeviceHandle, DomId, Errno, PciDevice, QueryReserved,
    QueryReservedFlags, ReservedKind, ReservedRange, Subop,
};
use pviommu_guest::hypercall::check;
use pviommu_guest::{
    BadReply, BfnAllocator, BfnStorage, Error, Hypercall, IommuClient, MAX_RESERVED_RANGES,
    ReservedError, ReservedOf,
};
use zerocopy::{FromBytes, IntoBytes};

const OF: ReservedOf = ReservedOf::Context(ContextId(3));
const NO_ROOM: Errno = Errno::ENOBUFS;

fn range(first: u64, last: u64, kind: ReservedKind) -> ReservedRange {
    let access = AccessFlags::READ;
    ReservedRange { first: Bfn(first), last: Bfn(last), kind, access, reserved: 0 }
}

/// A direct range, and an MSI window that lies within a hole.
fn some() -> Vec<ReservedRange> {
    vec![
        range(0x10, 0x1f, ReservedKind::DIRECT),
        range(0xfee00, 0xfeeff, ReservedKind::MSI),
        range(0xfee00, 0xfffff, ReservedKind::RESERVED),
    ]
}

/// A hypervisor that lets `answer` see the call and its entries, as many as the call says there
/// are.
fn client(
    answer: impl Fn(&mut QueryReserved, &mut [ReservedRange]) -> i64,
) -> IommuClient<impl Hypercall> {
    IommuClient::new(move |subop, arg: &mut [u8], buffer: Option<&mut [u8]>| {
        let buffer = buffer.unwrap();
        assert_eq!(subop, Subop::QUERY_RESERVED);
        assert_eq!(check(subop, arg, Some(buffer)), Ok(()));
        let call = QueryReserved::mut_from_bytes(arg).unwrap();
        let count = usize::try_from(call.nr_entries).unwrap();
        let (entries, _) = <[ReservedRange]>::mut_from_prefix_with_elems(buffer, count).unwrap();
        answer(call, entries)
    })
}

/// Answers as the ABI says.
fn serve(call: &mut QueryReserved, entries: &mut [ReservedRange], all: &[ReservedRange]) -> i64 {
    let fit = all.len().min(entries.len());
    entries[..fit].copy_from_slice(&all[..fit]);
    call.nr_entries = u32::try_from(all.len()).unwrap();
    if fit < all.len() { NO_ROOM.to_ret() } else { 0 }
}

/// A hypervisor with these reserved ranges.
fn told(all: Vec<ReservedRange>) -> IommuClient<impl Hypercall> {
    client(move |call, entries| serve(call, entries, &all))
}

/// A hypervisor that says `nr_entries` and returns `ret`, and writes nothing.
fn says(nr_entries: u32, ret: i64) -> IommuClient<impl Hypercall> {
    client(move |call, _| {
        call.nr_entries = nr_entries;
        ret
    })
}

fn lie(field: &'static str, value: u64) -> Error {
    Error::BadReply(BadReply::Field { subop: Subop::QUERY_RESERVED, field, value })
}

#[test]
fn ranges_are_counted_and_told() {
    let iommu = told(some());
    assert_eq!(iommu.count_reserved(OF), Ok(3));
    for length in [3, 5] {
        let mut room = vec![range(9, 8, ReservedKind(9)); length];
        assert_eq!(iommu.query_reserved(OF, &mut room), Ok(&some()[..]), "room for {length}");
    }
    let none = told(Vec::new());
    assert_eq!(none.count_reserved(OF), Ok(0));
    assert_eq!(none.query_reserved(OF, &mut []), Ok(&[][..]));
}

#[test]
fn too_little_room_tells_how_much_is_needed() {
    let iommu = told(some());
    for length in 0..3 {
        let mut room = vec![ReservedRange::default(); length];
        let error = iommu.query_reserved(OF, &mut room).unwrap_err();
        assert_eq!(error, ReservedError { needed: 3, cause: Error::Exhausted(NO_ROOM) });
        assert!(error.to_string().ends_with(" (3 ranges)"), "{error}");
    }
}

#[test]
fn a_caller_can_ask_until_all_fit() {
    // One more range each time it is asked.
    let asked = std::cell::Cell::new(0);
    let iommu = client(|call, entries| {
        asked.set(asked.get() + 1);
        let all: Vec<_> =
            (0..asked.get().min(4)).map(|at| range(at, at, ReservedKind::RESERVED)).collect();
        serve(call, entries, &all)
    });
    let mut room = vec![ReservedRange::default(); iommu.count_reserved(OF).unwrap()];
    let ranges = loop {
        match iommu.query_reserved(OF, &mut room) {
            Ok(ranges) => break ranges.len(),
            Err(ReservedError { needed: 0, cause }) => panic!("{cause}"),
            Err(ReservedError { needed, .. }) => room.resize(needed, ReservedRange::default()),
        }
    };
    assert_eq!((ranges, asked.get()), (4, 5));
}

#[test]
fn an_allocator_takes_the_ranges_as_they_are_told() {
    let storage = BfnStorage::<8, 1>::new();
    let bfns = BfnAllocator::new(Bfn(1), Bfn(0xf_ffff), &storage).unwrap();
    let mut room = [ReservedRange::default(); 8];
    for range in told(some()).query_reserved(OF, &mut room).unwrap() {
        bfns.add_reserved(range.first, range.last).unwrap();
    }
    assert_eq!(bfns.allocate(0, 1, Bfn::MAX).unwrap().first(), Bfn(0xfedff));
}

#[test]
fn the_call_says_of_what() {
    let device = DeviceHandle::pci(PciDevice::new(0, 2, 0, 1));
    let ask = |of, expected: QueryReserved| {
        let iommu = client(|call, _| {
            assert_eq!(*call, expected);
            call.nr_entries = 0;
            0
        });
        let mut room = [ReservedRange::default(); 2];
        assert_eq!(iommu.for_domain(DomId(8)).query_reserved(of, &mut room), Ok(&[][..]));
    };
    let call = QueryReserved { domid: DomId(8), nr_entries: 2, ..QueryReserved::default() };
    ask(OF, QueryReserved { ctx_id: 3, ..call });
    let flags = QueryReservedFlags::DEVICE;
    ask(ReservedOf::Device(device), QueryReserved { flags, device, ..call });

    let own = client(|call, _| {
        assert_eq!((call.domid, call.nr_entries), (DomId::SELF, 0));
        call.nr_entries = 0;
        0
    });
    assert_eq!(own.count_reserved(OF), Ok(0));
}

#[test]
fn counts_that_cannot_be_are_refused() {
    let ask = |nr_entries, ret| {
        let mut room = [ReservedRange::default(); 2];
        let iommu = says(nr_entries, ret);
        iommu.query_reserved(OF, &mut room).map(<[_]>::len).map_err(|error| {
            assert_eq!(error.needed, 0);
            error.cause
        })
    };
    let no_room = NO_ROOM.to_ret();
    assert_eq!(ask(0, 0), Ok(0));
    for more in [3, u32::MAX] {
        assert_eq!(ask(more, 0), Err(lie("nr_entries", more.into())), "more than there is room");
    }
    for fits in [0, 1, 2] {
        assert_eq!(ask(fits, no_room), Err(lie("nr_entries", fits.into())), "they fit");
    }
    let most = u32::try_from(MAX_RESERVED_RANGES).unwrap();
    for endless in [most + 1, u32::MAX] {
        assert_eq!(ask(endless, no_room), Err(lie("nr_entries", endless.into())));
        let counted = says(endless, no_room).count_reserved(OF);
        assert_eq!(counted, Err(lie("nr_entries", endless.into())));
    }
    assert_eq!(says(most, no_room).count_reserved(OF), Ok(MAX_RESERVED_RANGES));
    assert_eq!(says(0, no_room).count_reserved(OF), Err(lie("nr_entries", 0)));
    assert_eq!(says(7, 0).count_reserved(OF), Err(lie("nr_entries", 7)));
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let ask = |edit: fn(&mut [ReservedRange])| {
        let mut all = some();
        edit(&mut all);
        let mut room = [ReservedRange::default(); 3];
        told(all).query_reserved(OF, &mut room).map(<[_]>::len).map_err(|error| {
            assert_eq!(error.needed, 0);
            error.cause
        })
    };
    assert_eq!(ask(|_| {}), Ok(3));
    assert_eq!(ask(|all| all[1] = all[0]), Ok(3), "two devices may have the same one");
    assert_eq!(ask(|all| all[0].last = Bfn(0xf)), Err(lie("last", 0xf)));
    assert_eq!(ask(|all| all[2].last = Bfn(1 << 52)), Err(lie("last", 1 << 52)));
    assert_eq!(ask(|all| all[2].last = Bfn::MAX), Err(lie("last", u64::MAX)));
    assert_eq!(ask(|all| all.swap(0, 1)), Err(lie("first", 0x10)));
    assert_eq!(ask(|all| all.swap(1, 2)), Err(lie("first", 0xfee00)), "the last frame decides");
    assert_eq!(ask(|all| all[1].kind = ReservedKind(0)), Err(lie("kind", 0)));
    assert_eq!(ask(|all| all[1].kind = ReservedKind(7)), Err(lie("kind", 7)));
    let access = ask(|all| all[0].access = AccessFlags::from_bits_retain(1 << 4));
    assert_eq!(access, Err(lie("access", 1 << 4)));
    assert_eq!(ask(|all| all[2].reserved = 5), Err(lie("reserved", 5)));
}

#[test]
fn what_was_in_the_slice_before_is_not_taken_for_an_answer() {
    let mut room = some();
    let error = says(3, 0).query_reserved(OF, &mut room).unwrap_err();
    assert_eq!(error, ReservedError { needed: 0, cause: lie("kind", 0) });

    // Nor are other fields of the call.
    let iommu = client(|call, _| {
        call.as_mut_bytes().fill(0xff);
        call.nr_entries = 0;
        0
    });
    assert_eq!(iommu.query_reserved(OF, &mut room), Ok(&[][..]));
}

#[test]
fn errors_say_what_to_do() {
    let ask = |errno: Errno| {
        let counted = says(9, errno.to_ret()).count_reserved(OF).unwrap_err();
        let mut room = [ReservedRange::default(); 2];
        let told = says(9, errno.to_ret()).query_reserved(OF, &mut room).unwrap_err();
        assert_eq!(told, ReservedError { needed: 0, cause: counted });
        assert_eq!(told.to_string(), counted.to_string());
        counted
    };
    let absent = Errno::EOPNOTSUPP;
    assert_eq!(ask(absent), Error::NotAvailable(absent), "without the capability");
    assert_eq!(ask(Errno::ENODEV), Error::NotAvailable(Errno::ENODEV));
    assert_eq!(ask(Errno::ENOENT), Error::Refused(Errno::ENOENT));
    assert_eq!(ask(Errno::ESRCH), Error::Refused(Errno::ESRCH));

    let status = BadReply::Status { subop: Subop::QUERY_RESERVED, ret: 3 };
    assert_eq!(says(0, 3).count_reserved(OF), Err(Error::BadReply(status)));
}
