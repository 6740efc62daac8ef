//! The extensions without a buffer, against hypervisors that answer well and badly.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::cell::RefCell;

use pviommu_abi::{
    AccessFlags, AllocContextExt, Argument, Background, Bfn, ContextId, DomId, Errno, FlushPages,
    Gfn, Lookup, LookupResult, Origin, QueryLimits,
};
use pviommu_guest::hypercall::check;
use pviommu_guest::{BadReply, Error, Hypercall, IommuClient, Mapping};

const CONTEXT: ContextId = ContextId(3);

/// A hypervisor that answers the calls with an `A`, and lets `edit` fill it in.
fn client<A: Argument>(edit: impl Fn(&mut A) -> i64) -> IommuClient<impl Hypercall> {
    IommuClient::new(move |subop, arg: &mut [u8], buffer: Option<&mut [u8]>| {
        assert_eq!(subop, A::SUBOP);
        assert_eq!(check(subop, arg, buffer.as_deref()), Ok(()));
        edit(A::mut_from_bytes(arg).unwrap())
    })
}

fn lie<T, A: Argument>(field: &'static str, value: u64) -> Result<T, Error> {
    Err(Error::BadReply(BadReply::Field { subop: A::SUBOP, field, value }))
}

/// What the client makes of a good answer that `edit` changed.
fn looked_up(edit: impl Fn(&mut Lookup)) -> Result<Mapping, Error> {
    let iommu = client(|call: &mut Lookup| {
        assert_eq!((call.ctx_id, call.bfn, call.domid), (3, Bfn(0x77), DomId::SELF));
        call.gfn = Gfn(0x99);
        call.mfn = 0x55;
        call.access = AccessFlags::READ;
        call.origin = Origin::GUEST;
        call.order = 9;
        call.result = LookupResult::GFN | LookupResult::MMIO;
        edit(call);
        0
    });
    iommu.lookup(CONTEXT, Bfn(0x77))
}

#[test]
fn lookups_are_checked() {
    let good = Mapping {
        gfn: Some(Gfn(0x99)),
        mfn: None,
        access: AccessFlags::READ,
        origin: Origin::GUEST,
        order: 9,
        mmio: true,
        foreign: false,
    };
    assert_eq!(looked_up(|_| {}), Ok(good));
    let told = looked_up(|call| call.result = LookupResult::MFN | LookupResult::FOREIGN);
    let expected = Mapping { gfn: None, mfn: Some(0x55), mmio: false, foreign: true, ..good };
    assert_eq!(told, Ok(expected));

    let far = 1 << 52;
    assert_eq!(looked_up(|call| call.gfn = Gfn(far)), lie::<_, Lookup>("gfn", far));
    let mfn = looked_up(|call| (call.mfn, call.result) = (far, LookupResult::MFN));
    assert_eq!(mfn, lie::<_, Lookup>("mfn", far));
    assert_eq!(looked_up(|call| call.order = 53), lie::<_, Lookup>("order", 53));
    assert_eq!(looked_up(|call| call.origin = Origin(0)), lie::<_, Lookup>("origin", 0));
    let access = looked_up(|call| call.access = AccessFlags::from_bits_retain(1 << 31));
    assert_eq!(access, lie::<_, Lookup>("access", 1 << 31));

    // What is not told is not looked at.
    let hidden = looked_up(|call| (call.gfn, call.result) = (Gfn::MAX, LookupResult::empty()));
    assert_eq!(hidden, Ok(Mapping { gfn: None, mmio: false, ..good }));
    let none = client(|_: &mut Lookup| Errno::ENOENT.to_ret());
    assert_eq!(none.lookup(CONTEXT, Bfn(1)), Err(Error::Refused(Errno::ENOENT)));
}

/// What the client makes of a good answer that `edit` changed.
fn limits(edit: impl Fn(&mut QueryLimits)) -> Result<QueryLimits, Error> {
    let iommu = client(|call: &mut QueryLimits| {
        assert_eq!((call.ctx_id, call.domid), (3, DomId::SELF));
        call.aperture_last = Bfn(0xf_ffff);
        call.page_sizes = 0x1000;
        call.background = Background::FAULT;
        edit(call);
        0
    });
    iommu.query_limits(CONTEXT)
}

#[test]
fn limits_are_checked() {
    let good = limits(|call| call.max_batch_ops = 128).unwrap();
    assert_eq!((good.aperture_last, good.max_batch_ops), (Bfn(0xf_ffff), 128));
    let changed = limits(|call| (call.size, call.ctx_id, call.domid) = (0, 9, DomId(9))).unwrap();
    assert_eq!(changed, QueryLimits { max_batch_ops: 0, ..good }, "only results are taken");

    let bfn = Bfn(0x10_0000);
    let empty = limits(|call| call.aperture_first = bfn);
    assert_eq!(empty, lie::<_, QueryLimits>("aperture_last", 0xf_ffff));
    let wide = limits(|call| call.aperture_last = Bfn(1 << 52));
    assert_eq!(wide, lie::<_, QueryLimits>("aperture_last", 1 << 52));
    let sizes = limits(|call| call.page_sizes = 0x20_0000);
    assert_eq!(sizes, lie::<_, QueryLimits>("page_sizes", 0x20_0000));
    for background in [Background::DEFAULT, Background(3)] {
        let untold = limits(|call| call.background = background);
        assert_eq!(untold, lie::<_, QueryLimits>("background", background.0.into()));
    }
}

#[test]
fn contexts_are_allocated_as_asked() {
    let asked = RefCell::default();
    let ask = |id: u32, aperture| {
        let iommu = client(|call: &mut AllocContextExt| {
            *asked.borrow_mut() = (call.background, call.aperture_first, call.aperture_last);
            call.ctx_id = id;
            0
        });
        iommu.alloc_context_ext(Background::SCRATCH, aperture)
    };
    assert_eq!(ask(3, Some((Bfn(1), Bfn(9)))), Ok(CONTEXT));
    assert_eq!(asked.take(), (Background::SCRATCH, Bfn(1), Bfn(9)));
    assert_eq!(ask(0xffff, None), Ok(ContextId(0xffff)));
    assert_eq!(asked.take(), (Background::SCRATCH, Bfn(0), Bfn(0)));
    assert_eq!(ask(0, None), Err(Error::BadReply(BadReply::DefaultContext)));
    assert_eq!(ask(0x1_0000, None), lie::<_, AllocContextExt>("ctx_id", 0x1_0000));

    // Would ask for the widest aperture.
    asked.take();
    assert_eq!(ask(3, Some((Bfn(0), Bfn(0)))), Err(Error::Refused(Errno::EINVAL)));
    assert_eq!(asked.take(), Default::default());
}

#[test]
fn another_domain_is_named_in_the_call() {
    let iommu = client(|call: &mut AllocContextExt| {
        assert_eq!(call.domid, DomId(8));
        call.ctx_id = 3;
        0
    });
    let other = iommu.for_domain(DomId(8));
    assert_eq!(other.alloc_context_ext(Background::DEFAULT, None), Ok(CONTEXT));
    let silent = client(|call: &mut QueryLimits| {
        assert_eq!(call.domid, DomId(8));
        Errno::ESRCH.to_ret()
    });
    let limits = silent.for_domain(DomId(8)).query_limits(CONTEXT);
    assert_eq!(limits, Err(Error::Refused(Errno::ESRCH)));
}

#[test]
fn a_flush_names_its_pages() {
    let iommu = client(|call: &mut FlushPages| {
        let expected = FlushPages {
            ctx_no: CONTEXT,
            dfn: Bfn(0x40),
            pgsize: 4096,
            nr_pages: 7,
            ..FlushPages::default()
        };
        assert_eq!(*call, expected);
        Errno::EOPNOTSUPP.to_ret()
    });
    let flushed = iommu.flush(CONTEXT, Bfn(0x40), 7);
    assert_eq!(flushed, Err(Error::NotAvailable(Errno::EOPNOTSUPP)));
}
