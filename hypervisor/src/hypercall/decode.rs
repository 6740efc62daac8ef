//! From bytes a guest wrote to a command that cannot be wrong in itself.
//!
//! Wire structures end here. What fails for reasons of the bytes alone fails here; what depends on
//! facts is for `policy`.

use pviommu_abi::{AllocFlags, Errno, FreeFlags, MapFlags, MapPages, PAGE_SIZE_U32, UnmapPages};

use super::{
    command::{Command, OnFree},
    copy::Argument,
};
use crate::{
    addr::{BfnRange, GfnRange},
    domain::{DomainIommu, UnknownFlags},
    platform::Access,
    policy::{MapRequest, Pages, UnmapRequest},
};

/// Decodes the argument of a call that `domain` made, or that was made for it.
pub(crate) fn decode(argument: &Argument, domain: &DomainIommu<'_>) -> Result<Command, Errno> {
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
    Ok(match argument {
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
            Command::AllocContext
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
        Argument::MapPages(map) => {
            Command::Map(MapRequest { context: map.ctx_no, pages: map_pages(map)? })
        }
        Argument::UnmapPages(unmap) => {
            Command::Unmap(UnmapRequest { context: unmap.ctx_no, bfns: unmap_pages(unmap)? })
        }
    })
}

fn map_pages(map: &MapPages) -> Result<Option<Pages>, Errno> {
    if map.nr_pages == 0 {
        return Ok(None);
    }
    base_page(map.pgsize)?;
    let pages = u64::from(map.nr_pages);
    let bfns = BfnRange::of_pages(map.dfn, pages).ok_or(Errno::EINVAL)?;
    let gfns = GfnRange::of_pages(map.gfn, pages).ok_or(Errno::EINVAL)?;
    // `MAP_CACHE` needs nothing: leaves enforce snooping wherever the units can. `MAP_NO_FLUSH`
    // is not announced, and flushed.
    let mut access = Access::empty();
    access.set(Access::READ, map.map_flags.contains(MapFlags::READABLE));
    access.set(Access::WRITE, map.map_flags.contains(MapFlags::WRITEABLE));
    if access.is_empty() {
        return Err(Errno::EINVAL);
    }
    Ok(Some(Pages { bfns, gfns, access }))
}

fn unmap_pages(unmap: &UnmapPages) -> Result<Option<BfnRange>, Errno> {
    if unmap.nr_pages == 0 {
        return Ok(None);
    }
    base_page(unmap.pgsize)?;
    BfnRange::of_pages(unmap.dfn, u64::from(unmap.nr_pages)).map(Some).ok_or(Errno::EINVAL)
}

/// The only page size announced is 4096; 0 stands for it.
fn base_page(pgsize: u32) -> Result<(), Errno> {
    if pgsize == 0 || pgsize == PAGE_SIZE_U32 { Ok(()) } else { Err(Errno::EINVAL) }
}
