//! From bytes a guest wrote to a command that cannot be wrong in itself.
//!
//! Wire structures end here. What fails for reasons of the bytes alone fails here; what depends on
//! facts is for `policy`.

use core::mem::offset_of;

use pviommu_abi::{
    AllocContextExt, AllocFlags, Background as WireBackground, Batch, BatchFlags, Bfn, ContextId,
    DeviceHandle, DomId, Errno, FreeFlags, Lookup, MapFlags, MapPages, OwnershipMode,
    PAGE_SIZE_U32, PciDevice, QueryDevice, QueryLimits, QueryReserved, QueryReservedFlags,
    ReadFaults, TakeOwnership,
};

use super::{
    command::{BatchRequest, Command, FaultsRequest, OnFree, ReservedOf, ReservedRequest},
    copy::Argument,
};
use crate::{
    addr::{BfnRange, GfnRange},
    context::Wish,
    domain::{Background, DomainIommu, UnknownFlags},
    platform::Access,
    policy::{MapHow, MapRequest, Pages, UnmapHow, UnmapRequest},
};

impl Command {
    /// Decodes the argument of a call that `domain` made, or that was made for it. In place: what is
    /// returned would be on the stack twice.
    #[inline(never)]
    pub(crate) fn decode_from(
        &mut self,
        argument: &Argument,
        domain: &DomainIommu<'_>,
    ) -> Result<(), Errno> {
        check_flags(argument, domain)?;
        *self = match argument {
            Argument::None => Command::Noop,
            Argument::Capabilities(_) => Command::QueryCapabilities,
            Argument::Init(init) => {
                Command::Init { contexts: init.max_ctx_no, arena_order: init.arena_order }
            }
            Argument::AllocContext(alloc) => {
                // Not before its capability is announced.
                if alloc.alloc_flags.contains(AllocFlags::IDENTITY) {
                    return Err(Errno::EOPNOTSUPP);
                }
                Command::AllocContext { background: None, aperture: None }
            }
            Argument::FreeContext(free) => {
                let moved = free.free_flags.contains(FreeFlags::REATTACH_DEFAULT);
                let devices = if moved { OnFree::MoveToDefault } else { OnFree::Refuse };
                Command::FreeContext { context: free.ctx_no, devices }
            }
            // `pasid` is ignored until its capability is announced, as in the reference.
            Argument::ReattachDevice(reattach) => {
                Command::Reattach { context: reattach.ctx_no, device: reattach.dev }
            }
            Argument::MapPages(map) => Command::Map(MapRequest {
                context: map.ctx_no,
                pages: map_pages(map, domain.id())?,
            }),
            Argument::UnmapPages(unmap) => {
                let bfns = bus_frames(unmap.dfn, unmap.pgsize, unmap.nr_pages)?;
                let how = UnmapHow::default();
                Command::Unmap(UnmapRequest { context: unmap.ctx_no, bfns, how })
            }
            Argument::FlushPages(flush) => {
                let bfns = bus_frames(flush.dfn, flush.pgsize, flush.nr_pages)?;
                Command::Flush { context: flush.ctx_no, bfns }
            }
            Argument::Batch(batch) => Command::Batch(decode_batch(&batch.value, domain)?),
            Argument::QueryReserved(query) => decode_query_reserved(&query.value)?,
            Argument::TakeOwnership(take) => decode_take_ownership(&take.value, domain)?,
            Argument::ReadFaults(read) => decode_read_faults(&read.value)?,
            Argument::QueryDevice(query) => decode_query_device(&query.value)?,
            Argument::Lookup(lookup) => decode_lookup(&lookup.value)?,
            Argument::QueryLimits(query) => decode_query_limits(&query.value)?,
            Argument::AllocContextExt(alloc) => {
                // The caller has to learn the number of its context.
                strict(alloc.reaches(offset_of!(AllocContextExt, parent)))?;
                decode_alloc(&alloc.value)?
            }
        };
        Ok(())
    }
}

/// `-EINVAL` for flags that are not known, where these are refused; they are counted anyway.
fn check_flags(argument: &Argument, domain: &DomainIommu<'_>) -> Result<(), Errno> {
    let unknown = match argument {
        Argument::AllocContext(alloc) => alloc.alloc_flags.unknown_bits(),
        Argument::FreeContext(free) => free.free_flags.unknown_bits(),
        Argument::MapPages(map) => map.map_flags.unknown_bits(),
        _ => 0,
    };
    if unknown != 0 {
        domain.note_unknown_flags();
        if domain.limits().unknown_flags == UnknownFlags::Refuse {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}

/// `-EINVAL` unless `zero`: what is not known must not be set.
fn strict(zero: bool) -> Result<(), Errno> {
    zero.then_some(()).ok_or(Errno::EINVAL)
}

fn context_id(id: u32, unknown: Errno) -> Result<ContextId, Errno> {
    u16::try_from(id).map(ContextId).map_err(|_| unknown)
}

fn decode_batch(batch: &Batch, domain: &DomainIommu<'_>) -> Result<BatchRequest, Errno> {
    strict(batch.flags.unknown_bits() == 0 && batch.reserved == 0)?;
    strict(batch.elem_size == Batch::ELEM_SIZE && batch.nr_done <= batch.nr_ops)?;
    let context = context_id(batch.ctx_id, Errno::EINVAL)?;
    if batch.nr_ops > domain.limits().max_batch {
        return Err(Errno::E2BIG);
    }
    if !domain.may_edit(context) {
        return Err(Errno::EACCES);
    }
    let owner = if batch.owner == DomId::SELF { domain.id() } else { batch.owner };
    Ok(BatchRequest {
        context,
        owner,
        run_all: batch.flags.contains(BatchFlags::RUN_ALL),
        elements: batch.ops,
        count: batch.nr_ops,
        done: batch.nr_done,
    })
}

fn decode_take_ownership(take: &TakeOwnership, domain: &DomainIommu<'_>) -> Result<Command, Errno> {
    strict(take.flags.unknown_bits() == 0 && take.reserved0 == 0 && take.reserved1 == 0)?;
    let wish = match take.mode {
        OwnershipMode::CLEAR => {
            Wish::Clear(background(take.background)?.unwrap_or(domain.background()))
        }
        OwnershipMode::KEEP => Wish::Keep,
        OwnershipMode::GIVE_BACK => Wish::GiveBack,
        _ => return Err(Errno::EINVAL),
    };
    strict(take.mode == OwnershipMode::CLEAR || take.background == WireBackground::DEFAULT)?;
    Ok(Command::Switch(wish))
}

fn decode_query_reserved(query: &QueryReserved) -> Result<Command, Errno> {
    strict(query.flags.unknown_bits() == 0 && query.reserved == 0)?;
    strict(query.elem_size == QueryReserved::ELEM_SIZE)?;
    let of = if query.flags.contains(QueryReservedFlags::DEVICE) {
        strict(query.ctx_id == 0)?;
        ReservedOf::Device(decode_device(&query.device)?)
    } else {
        strict(query.device == DeviceHandle::default())?;
        ReservedOf::Context(context_id(query.ctx_id, Errno::ENOENT)?)
    };
    let (entries, room) = (query.entries, query.nr_entries);
    Ok(Command::QueryReserved(ReservedRequest { of, entries, room }))
}

fn decode_query_device(query: &QueryDevice) -> Result<Command, Errno> {
    let zero = query.reserved0 == 0 && query.reserved1 == 0 && query.reserved2 == 0;
    strict(query.flags.unknown_bits() == 0 && zero)?;
    decode_device(&query.device).map(Command::QueryDevice)
}

fn decode_read_faults(read: &ReadFaults) -> Result<Command, Errno> {
    let zero = read.reserved0 == 0 && read.reserved1 == 0;
    strict(read.flags.unknown_bits() == 0 && zero && read.elem_size == ReadFaults::ELEM_SIZE)?;
    Ok(Command::ReadFaults(FaultsRequest { records: read.records, room: read.nr_records }))
}

fn decode_device(handle: &DeviceHandle) -> Result<PciDevice, Errno> {
    strict(handle.pasid == 0)?;
    handle.as_pci().ok_or(Errno::ENODEV)
}

/// The background that is asked for; `None`: the domain's own.
fn background(asked: WireBackground) -> Result<Option<Background>, Errno> {
    match asked {
        WireBackground::DEFAULT => Ok(None),
        WireBackground::FAULT => Ok(Some(Background::Fault)),
        WireBackground::SCRATCH => Ok(Some(Background::Scratch)),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

fn decode_lookup(lookup: &Lookup) -> Result<Command, Errno> {
    strict(lookup.flags.unknown_bits() == 0 && lookup.reserved == 0)?;
    let context = context_id(lookup.ctx_id, Errno::ENOENT)?;
    Ok(Command::Lookup { context, bfn: lookup.bfn })
}

fn decode_query_limits(query: &QueryLimits) -> Result<Command, Errno> {
    strict(query.flags.unknown_bits() == 0 && query.reserved0 == 0)?;
    Ok(Command::QueryLimits { context: context_id(query.ctx_id, Errno::ENOENT)? })
}

fn decode_alloc(alloc: &AllocContextExt) -> Result<Command, Errno> {
    strict(alloc.flags.unknown_bits() == 0 && alloc.reserved0 == 0 && alloc.reserved1 == 0)?;
    if alloc.parent != 0 || alloc.format != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let background = background(alloc.background)?;
    let aperture = match (alloc.aperture_first, alloc.aperture_last) {
        (Bfn(0), Bfn(0)) => None,
        (first, last) => Some(BfnRange::new(first, last).ok_or(Errno::EINVAL)?),
    };
    Ok(Command::AllocContext { background, aperture })
}

#[inline(always)]
fn map_pages(map: &MapPages, owner: DomId) -> Result<Option<Pages>, Errno> {
    if map.nr_pages == 0 {
        return Ok(None);
    }
    base_page(map.pgsize)?;
    let pages = u64::from(map.nr_pages);
    let bfns = BfnRange::of_pages(map.dfn, pages).ok_or(Errno::EINVAL)?;
    let gfns = GfnRange::of_pages(map.gfn, pages).ok_or(Errno::EINVAL)?;
    // `MAP_CACHE` needs nothing: leaves enforce snooping wherever the units can.
    let mut access = Access::empty();
    access.set(Access::READ, map.map_flags.contains(MapFlags::READABLE));
    access.set(Access::WRITE, map.map_flags.contains(MapFlags::WRITEABLE));
    if access.is_empty() {
        return Err(Errno::EINVAL);
    }
    let sync_later = map.map_flags.contains(MapFlags::NO_FLUSH);
    Ok(Some(Pages { bfns, owner, gfns, how: MapHow { access, mmio_only: false, sync_later } }))
}

fn bus_frames(first: Bfn, pgsize: u32, pages: u32) -> Result<Option<BfnRange>, Errno> {
    if pages == 0 {
        return Ok(None);
    }
    base_page(pgsize)?;
    BfnRange::of_pages(first, u64::from(pages)).map(Some).ok_or(Errno::EINVAL)
}

/// The only page size announced is 4096; 0 stands for it.
fn base_page(pgsize: u32) -> Result<(), Errno> {
    if pgsize == 0 || pgsize == PAGE_SIZE_U32 { Ok(()) } else { Err(Errno::EINVAL) }
}
