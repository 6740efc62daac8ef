//! The functions by which units are driven.
#![expect(unsafe_code, reason = "these are C functions, called with pointers")]

use std::ffi::{c_int, c_void};

use pviommu_abi::{Errno, PciDevice};
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{AttachError, Invalidation, IommuHw, SourceId, TableRoot, Tag, UnitId},
};

use super::{bus_frames, platform, status};

pub(super) unsafe extern "C" fn attach(
    context: *mut c_void,
    unit: u16,
    source: PciDevice,
    root: u64,
    levels: u32,
    tag: u16,
) -> c_int {
    let root = TableRoot { frame: Mfn(root), levels: u8::try_from(levels).unwrap() };
    match platform(context).attach(UnitId(unit), SourceId(source), root, Tag(tag)) {
        Ok(()) => 0,
        Err(AttachError::Refused) => Errno::ENOMEM.to_status(),
        Err(AttachError::Failed) => Errno::EIO.to_status(),
    }
}

pub(super) unsafe extern "C" fn block(context: *mut c_void, unit: u16, source: PciDevice) -> c_int {
    status(platform(context).block(UnitId(unit), SourceId(source)).is_ok())
}

pub(super) unsafe extern "C" fn invalidate(
    context: *mut c_void,
    unit: u16,
    tag: u16,
    what: u32,
    first: u64,
    last: u64,
) -> c_int {
    let what = match what {
        0 => Invalidation::Leaves(bus_frames(first, last)),
        1 => Invalidation::Tables(bus_frames(first, last)),
        2 => Invalidation::Everything,
        _ => panic!("an invalidation of kind {what}"),
    };
    status(platform(context).invalidate(UnitId(unit), Tag(tag), what).is_ok())
}

pub(super) unsafe extern "C" fn sync_map(
    context: *mut c_void,
    unit: u16,
    tag: u16,
    first: u64,
    last: u64,
) -> c_int {
    let range = bus_frames(first, last);
    status(platform(context).sync_map(UnitId(unit), Tag(tag), range).is_ok())
}

pub(super) unsafe extern "C" fn stop(context: *mut c_void, unit: u16, source: PciDevice) {
    platform(context).stop(UnitId(unit), SourceId(source));
}

pub(super) unsafe extern "C" fn restart(context: *mut c_void, unit: u16, source: PciDevice) {
    IommuHw::restart(platform(context), UnitId(unit), SourceId(source));
}

pub(super) unsafe extern "C" fn unit_failed(context: *mut c_void, unit: u16) {
    platform(context).unit_failed(UnitId(unit));
}
