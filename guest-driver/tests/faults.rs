//! Fault records, from hypervisors that answer well and badly.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use pviommu_abi::{
    AccessFlags, Argument, DeviceHandle, Errno, FaultReason, FaultRecord, PciDevice, ReadFaults,
    Subop,
};
use pviommu_guest::hypercall::check;
use pviommu_guest::{BadReply, Error, IommuClient};
use zerocopy::FromBytes;

fn record(sequence: u64) -> FaultRecord {
    FaultRecord {
        device: DeviceHandle::pci(PciDevice::new(0, 2, 0, 1)),
        address: 0x1234_5000,
        sequence,
        ctx_id: 3,
        reason: FaultReason::WRITE_DENIED,
        access: AccessFlags::WRITE,
        count: 2,
        reserved: 0,
    }
}

/// What the client makes of `told` records, the first of which `edit` changed, in room for four.
fn read(told: u32, edit: impl Fn(&mut FaultRecord)) -> Result<(Vec<u64>, u64), Error> {
    let hypercall = move |subop, arg: &mut [u8], mut buffer: Option<&mut [u8]>| {
        assert_eq!(subop, ReadFaults::SUBOP);
        assert_eq!(check(subop, arg, buffer.as_deref()), Ok(()));
        let call = ReadFaults::mut_from_bytes(arg).unwrap();
        assert_eq!((call.nr_records, call.elem_size), (4, 56));
        let room = <[FaultRecord]>::mut_from_bytes(buffer.as_mut().unwrap()).unwrap();
        for (number, place) in (5u64..).zip(room.iter_mut()) {
            *place = record(number);
        }
        edit(room.first_mut().unwrap());
        (call.nr_records, call.lost) = (told, 7);
        0
    };
    let iommu = IommuClient::new(hypercall);
    let mut room = [FaultRecord::default(); 4];
    let faults = iommu.read_faults(&mut room)?;
    Ok((faults.records.iter().map(|record| record.sequence).collect(), faults.lost))
}

fn lie(field: &'static str, value: u64) -> Result<(Vec<u64>, u64), Error> {
    Err(Error::BadReply(BadReply::Field { subop: Subop::READ_FAULTS, field, value }))
}

#[test]
fn records_are_those_that_were_told() {
    assert_eq!(read(0, |_| {}), Ok((vec![], 7)));
    assert_eq!(read(2, |_| {}), Ok((vec![5, 6], 7)));
    assert_eq!(read(4, |_| {}), Ok((vec![5, 6, 7, 8], 7)));
    assert_eq!(read(1, |it| it.reason = FaultReason(77)), Ok((vec![5], 7)), "a newer reason");
}

#[test]
fn records_that_cannot_be_are_not_believed() {
    assert_eq!(read(5, |_| {}), lie("nr_records", 5));
    assert_eq!(read(1, |it| it.ctx_id = 0x1_0000), lie("ctx_id", 0x1_0000));
    assert_eq!(read(1, |it| it.count = 0), lie("count", 0));
    assert_eq!(read(1, |it| it.reserved = 9), lie("reserved", 9));
    let access = AccessFlags::from_bits_retain(1 << 7);
    assert_eq!(read(1, |it| it.access = access), lie("access", 1 << 7));
    // What is beyond those that were told is not looked at.
    assert_eq!(read(0, |it| it.count = 0), Ok((vec![], 7)));
}

#[test]
fn a_service_that_has_no_records_to_tell_says_so() {
    let iommu = IommuClient::new(|_, _: &mut [u8], _: Option<&mut [u8]>| -95);
    let error = iommu.read_faults(&mut [FaultRecord::default()]).unwrap_err();
    assert_eq!(error, Error::NotAvailable(Errno::EOPNOTSUPP));
}
