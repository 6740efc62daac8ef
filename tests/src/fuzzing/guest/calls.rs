//! Calls past the DMA API: one answer each, and what is told of it.

use std::fmt::Debug;

use pviommu_abi::{
    AllocFlags, Background, BatchOp, Bfn, ContextId, DeviceHandle, DomId, ElementFlags, Errno,
    FaultRecord, FreeFlags, Gfn, MapFlags, OwnershipMode, PciDevice, ReservedRange,
};
use pviommu_guest::{
    BadReply, BatchBuilder, BatchPage, Error, IommuClient, MapError,
    extensions::{MAX_RESERVED_RANGES, ReservedOf},
};

use super::{
    CLIENTS, FAR,
    liar::{Liar, is_errno},
};

const CONTEXT: ContextId = ContextId(CLIENTS as u16);
const DEVICE: PciDevice = PciDevice::new(0, 0, 9, 0);
const READ: ElementFlags = ElementFlags::READ;

/// What a call of its own was told, which was answered once.
fn judge<T: Debug>(liar: &Liar, result: Result<T, Error>) -> Result<T, Error> {
    if liar.calls() != 1 {
        return result;
    }
    let ret = liar.last();
    match &result {
        Ok(told) => assert_eq!(ret, 0, "{told:?} was told"),
        Err(Error::BadReply(BadReply::Status { ret: told, .. })) => {
            assert_eq!(*told, ret);
            assert!(ret != 0 && !is_errno(ret), "{ret} is a status");
        }
        // After success, the answer itself may be impossible.
        Err(Error::BadReply(_)) => {}
        Err(error) => assert_eq!(error.errno(), Errno::from_ret(ret), "{ret}"),
    }
    result
}

/// Pages that were mapped or unmapped, of so many.
fn judge_pages(liar: &Liar, pages: u32, result: Result<u32, MapError>) -> String {
    let told = match result {
        Ok(done) => {
            assert_eq!(done, pages, "success is all of it");
            Ok(done)
        }
        Err(MapError { done, cause }) => {
            assert!(done <= pages, "{done} of {pages} pages");
            Err(cause)
        }
    };
    format!("{:?}", judge(liar, told))
}

/// Makes call `which`; what came of it, in words.
pub(super) fn call(liar: &Liar, client: &IommuClient<Liar>, which: u8, number: u16) -> String {
    let bfn = Bfn(FAR + u64::from(number >> 4));
    let pages = u32::from(number & 0x1f);
    match which % 20 {
        0 => format!("{:?}", judge(liar, client.query_capabilities())),
        1 => format!("{:?}", judge(liar, client.init(pages, pages))),
        2 => format!("{:?}", client.probe()),
        3 => {
            let opened = judge(liar, client.alloc_context(AllocFlags::empty()));
            assert_ne!(opened, Ok(ContextId::DEFAULT));
            format!("{opened:?}")
        }
        4 => format!("{:?}", judge(liar, client.free_context(CONTEXT, FreeFlags::empty()))),
        5 => format!("{:?}", judge(liar, client.reattach_device(DEVICE, CONTEXT))),
        6 => judge_pages(liar, pages, client.map(CONTEXT, bfn, Gfn(7), pages, MapFlags::READABLE)),
        7 => judge_pages(liar, pages, client.unmap(CONTEXT, bfn, pages)),
        8 => format!("{:?}", judge(liar, client.flush(CONTEXT, bfn, pages))),
        9 => {
            let found = judge(liar, client.lookup(CONTEXT, bfn));
            if let Ok(mapping) = &found {
                assert!(mapping.order <= 52 && mapping.gfn.is_none_or(|it| it.address().is_some()));
            }
            format!("{found:?}")
        }
        10 => {
            let limits = judge(liar, client.query_limits(CONTEXT));
            if let Ok(limits) = &limits {
                assert!(limits.aperture_first <= limits.aperture_last);
                assert_eq!(limits.ctx_id, CLIENTS, "what only goes in");
            }
            format!("{limits:?}")
        }
        11 => {
            let opened = judge(liar, client.alloc_context_ext(Background::FAULT, None));
            assert_ne!(opened, Ok(ContextId::DEFAULT));
            format!("{opened:?}")
        }
        12 => {
            let mode = OwnershipMode::CLEAR;
            format!("{:?}", judge(liar, client.take_ownership(mode, Background::DEFAULT)))
        }
        13 => format!("{:?}", judge(liar, client.query_device(DeviceHandle::pci(DEVICE)))),
        14 => {
            let mut room = [FaultRecord::default(); 8];
            let room = &mut room[..usize::from(number % 9)];
            let most = room.len();
            let told = judge(liar, client.read_faults(room));
            if let Ok(faults) = &told {
                let real = faults.records.iter().all(|record| record.count > 0);
                assert!(faults.records.len() <= most && real);
            }
            format!("{told:?}")
        }
        15 => {
            let mut room = [ReservedRange::default(); 4];
            let told = client
                .query_reserved(ReservedOf::Context(CONTEXT), &mut room[..usize::from(number % 5)]);
            match &told {
                Ok(ranges) => {
                    let starts = |range: &ReservedRange| (range.first, range.last);
                    assert!(ranges.is_sorted_by_key(starts) && liar.last() == 0);
                    assert!(ranges.iter().all(|range| range.first <= range.last));
                }
                Err(error) => assert!(error.needed <= MAX_RESERVED_RANGES),
            }
            format!("{told:?}")
        }
        16 => format!("{:?}", client.count_reserved(ReservedOf::Device(DeviceHandle::pci(DEVICE)))),
        17 => {
            let other = client.on_behalf_of(DomId(9));
            judge_pages(liar, pages, other.map(CONTEXT, bfn, Gfn(7), pages, MapFlags::READABLE))
        }
        _ => batch(client, number),
    }
}

/// A batch of everything, submitted twice.
fn batch(client: &IommuClient<Liar>, number: u16) -> String {
    let mut page = BatchPage::new();
    let mut batch = BatchBuilder::new(&mut page, CONTEXT);
    if number & 1 != 0 {
        batch = batch.run_all();
    }
    let (bfn, pages) = (Bfn(FAR + (1 << 20)), u32::from(number >> 8));
    let list: Vec<Gfn> = (0..u64::from(pages)).map(Gfn).collect();
    let mut asked = Vec::new();
    for round in 0..(number >> 1 & 0xf) {
        let op = BatchOp(round % 6 + 1);
        let (added, pages) = match op {
            BatchOp::MAP => (batch.map(bfn, Gfn(1), pages, READ), pages),
            BatchOp::MAP_LIST => (batch.map_list(bfn, &list, READ), pages),
            BatchOp::MAP_GRANT => (batch.map_grant(bfn, pages.into(), READ), 1),
            BatchOp::UNMAP => (batch.unmap(bfn, pages, ElementFlags::SKIP_HOLES), pages),
            BatchOp::FLUSH => (batch.flush(bfn, pages), pages),
            _ => (batch.lookup(bfn), 1),
        };
        asked.extend(added.map(|_| pages));
    }
    let mut told = String::new();
    for _ in 0..2 {
        let finished = client.submit(&mut batch).map(|done| done.finished());
        let done = batch.done();
        assert!(done.finished() <= asked.len());
        assert_eq!(done.element(done.finished()), None);
        for (result, pages) in done.iter().zip(&asked) {
            let done = result.map_or_else(|error| error.done, |done| done.pages);
            assert!(done <= *pages, "{done} of {pages} pages");
        }
        if let Ok(finished) = finished {
            assert!(finished == asked.len() || done.first_error().is_some());
        }
        told = format!("{finished:?}");
    }
    told
}
