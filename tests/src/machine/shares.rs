//! Pages of one domain that another may use: by grants, and by foreign mappings in its P2M.
//!
//! Each has a handle, and counts who has pinned it for devices. While it is pinned its page is held,
//! and it cannot be ended.

use std::sync::Mutex;

use pviommu_abi::{DomId, Gfn};
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{AcquireError, ForeignHandle},
};
use rustc_hash::FxHashMap;

use super::{
    frames::{Frames, Refused, lock},
    p2m::P2m,
};

#[derive(Debug)]
enum Source {
    /// Granted to a domain; the frame is looked up when it is first pinned, and kept until the last.
    Grant { to: DomId, gfn: Gfn, reference: u64 },
    /// In the P2M of a domain.
    Mapping,
}

#[derive(Debug)]
struct Share {
    /// Whose page it is.
    owner: DomId,
    source: Source,
    frame: Option<Mfn>,
    read_only: bool,
    /// Nobody may pin it any more.
    closed: bool,
    /// By domain.
    pins: FxHashMap<u16, u32>,
}

impl Share {
    fn pinned(&self) -> u32 {
        self.pins.values().sum()
    }

    /// Pins it for `domain`; the frame.
    fn pin(
        &mut self,
        frames: &Frames,
        domain: DomId,
        frame: Mfn,
        write: bool,
    ) -> Result<Mfn, AcquireError> {
        if self.closed || (write && self.read_only) {
            return Err(AcquireError::NotPermitted);
        }
        frames.acquire(frame, self.owner, write)?;
        self.frame = Some(frame);
        *self.pins.entry(domain.0).or_default() += 1;
        Ok(frame)
    }
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    shares: FxHashMap<u64, Share>,
    /// By granter and reference.
    grants: FxHashMap<(u16, u64), u64>,
}

impl Table {
    fn add(&mut self, owner: DomId, source: Source, frame: Option<Mfn>, read_only: bool) -> u64 {
        self.last += 1;
        let (closed, pins) = (false, FxHashMap::default());
        self.shares.insert(self.last, Share { owner, source, frame, read_only, closed, pins });
        self.last
    }

    fn granted(&mut self, granter: DomId, reference: u64) -> Option<(u64, &mut Share)> {
        let handle = *self.grants.get(&(granter.0, reference))?;
        Some((handle, self.shares.get_mut(&handle)?))
    }
}

/// What all domains share.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    table: Mutex<Table>,
}

impl Shares {
    /// Grants a guest frame of `granter` to `to`; the reference.
    pub(crate) fn grant(&self, granter: DomId, gfn: Gfn, to: DomId, read_only: bool) -> u64 {
        let mut table = lock(&self.table);
        let reference = table.last + 8;
        let handle = table.add(granter, Source::Grant { to, gfn, reference }, None, read_only);
        table.grants.insert((granter.0, reference), handle);
        reference
    }

    /// Adds a foreign mapping of a frame of `owner`.
    pub(crate) fn map(&self, owner: DomId, frame: Mfn, read_only: bool) -> ForeignHandle {
        let mut table = lock(&self.table);
        ForeignHandle(table.add(owner, Source::Mapping, Some(frame), read_only))
    }

    /// Lets nobody pin it any more.
    pub(crate) fn close(&self, granter: DomId, reference: u64) -> Result<(), Refused> {
        let mut table = lock(&self.table);
        table.granted(granter, reference).ok_or(Refused)?.1.closed = true;
        Ok(())
    }

    /// Ends a grant that is not pinned.
    pub(crate) fn end_grant(&self, granter: DomId, reference: u64) -> Result<(), Refused> {
        let handle = lock(&self.table).granted(granter, reference).ok_or(Refused)?.0;
        self.end(ForeignHandle(handle)).map(|_| ())
    }

    /// Ends a share that is not pinned; its frame.
    pub(crate) fn end(&self, handle: ForeignHandle) -> Result<Option<Mfn>, Refused> {
        let mut table = lock(&self.table);
        if table.shares.get(&handle.0).ok_or(Refused)?.pinned() > 0 {
            return Err(Refused);
        }
        let share = table.shares.remove(&handle.0).ok_or(Refused)?;
        if let Source::Grant { reference, .. } = share.source {
            table.grants.remove(&(share.owner.0, reference));
        }
        Ok(share.frame)
    }

    /// Pins for `domain`; handle and frame. `p2m` is the granter's.
    pub(crate) fn pin_grant(
        &self,
        frames: &Frames,
        p2m: &P2m,
        domain: DomId,
        (granter, reference): (DomId, u64),
        write: bool,
    ) -> Result<(ForeignHandle, Mfn), AcquireError> {
        let mut table = lock(&self.table);
        let (handle, share) = table.granted(granter, reference).ok_or(AcquireError::NotBacked)?;
        let Source::Grant { to, gfn, .. } = share.source else {
            return Err(AcquireError::NotBacked);
        };
        if to != domain {
            return Err(AcquireError::NotPermitted);
        }
        // While it is pinned it stays the page it was, whatever becomes of the guest frame.
        let frame = match share.frame.filter(|_| share.pinned() > 0) {
            Some(frame) => frame,
            None => {
                let backed = p2m.lookup(gfn).filter(|backed| backed.is_own_ram());
                backed.ok_or(AcquireError::NotBacked)?.frame
            }
        };
        let frame = share.pin(frames, domain, frame, write)?;
        Ok((ForeignHandle(handle), frame))
    }

    /// Pins a foreign mapping for `domain`; the frame.
    pub(crate) fn pin_mapping(
        &self,
        frames: &Frames,
        domain: DomId,
        handle: ForeignHandle,
        write: bool,
    ) -> Result<Mfn, AcquireError> {
        let mut table = lock(&self.table);
        let share = table.shares.get_mut(&handle.0).ok_or(AcquireError::NotBacked)?;
        let frame = share.frame.ok_or(AcquireError::NotBacked)?;
        share.pin(frames, domain, frame, write)
    }

    /// Takes a pin of `domain` back.
    pub(crate) fn unpin(
        &self,
        frames: &Frames,
        domain: DomId,
        (handle, write): (ForeignHandle, bool),
        frame: Mfn,
    ) -> Result<(), Refused> {
        let mut table = lock(&self.table);
        let share = table.shares.get_mut(&handle.0).ok_or(Refused)?;
        let pins = share.pins.get_mut(&domain.0).filter(|pins| **pins > 0).ok_or(Refused)?;
        if share.frame != Some(frame) {
            return Err(Refused);
        }
        frames.release(frame, share.owner, write)?;
        *pins -= 1;
        Ok(())
    }

    /// Pins on a share, of all domains.
    pub(crate) fn pins(&self, handle: ForeignHandle) -> u32 {
        lock(&self.table).shares.get(&handle.0).map_or(0, Share::pinned)
    }

    /// Pins on a grant.
    pub(crate) fn grant_pins(&self, granter: DomId, reference: u64) -> u32 {
        lock(&self.table).granted(granter, reference).map_or(0, |(_, share)| share.pinned())
    }
}
