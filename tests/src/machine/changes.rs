//! What the rest of a hypervisor does with the P2M of a domain, and tells the service: the P2M lock
//! is held from the change until the service has carried it over, and only then pages are let go.

use pviommu_abi::{DomId, Errno, Gfn};
use pviommu_hypervisor::{
    Backing, DefaultMap, P2mChange,
    addr::{GfnRange, Mfn},
    platform::Access,
};

use super::{
    bed::Bed,
    p2m::{Entry, P2m},
};

/// A guest frame, what was behind it and what is now.
type Changed = (Gfn, Option<Entry>, Option<Entry>);

/// What devices may find behind a guest frame by a maintained map: foreign pages are not in one.
fn seen(entry: Option<Entry>) -> Option<Entry> {
    entry.filter(|entry| entry.foreign.is_none())
}

/// True if `next` goes on where `first`, `pages` before it, began.
fn follows(first: Option<Entry>, next: Option<Entry>, pages: u64) -> bool {
    match (seen(first), seen(next)) {
        (None, None) => true,
        (Some(first), Some(next)) => next == Entry { frame: Mfn(first.frame.0 + pages), ..first },
        _ => false,
    }
}

impl Bed<'_> {
    /// Changes what is behind each of `gfns` to what `edit` says, tells the service run by run, and
    /// lets pages of the domain go that are not behind a guest frame any more.
    fn change(
        &self,
        domain: DomId,
        gfns: GfnRange,
        mut edit: impl FnMut(&P2m, Gfn, Option<Entry>) -> Result<Option<Entry>, Errno>,
    ) -> Result<Vec<Changed>, Errno> {
        let p2m = self.board().p2m(domain).ok_or(Errno::ESRCH)?;
        let _held = p2m.lock.enter("a P2M change");
        let mut changed: Vec<Changed> = Vec::new();
        let mut result = Ok(());
        for gfn in (gfns.first().0..=gfns.last().0).map(Gfn) {
            let old = p2m.lookup(gfn).map(|backed| backed.entry());
            if let Ok(old) = own(old) {
                self.board().memory.frames.claim(old.frame, domain);
            }
            match edit(p2m, gfn, old) {
                Ok(new) => {
                    p2m.set(gfn, new);
                    changed.push((gfn, old, new));
                }
                Err(errno) => {
                    result = Err(errno);
                    break;
                }
            }
        }
        self.tell(domain, &changed).and(result)?;
        Ok(changed)
    }

    /// Tells the service of all changes, and lets the old pages go. After `-EIO` none of them is.
    fn tell(&self, domain: DomId, changed: &[Changed]) -> Result<(), Errno> {
        let mut result = Ok(());
        // A domain without a default map has none that a change must be carried over to.
        if self.default_map(domain) != DefaultMap::Blocked {
            let mut rest = changed;
            while let Some(&(gfn, old, new)) = rest.first() {
                let alike = |(i, change): &(usize, &Changed)| {
                    let pages = *i as u64;
                    follows(old, change.1, pages) && follows(new, change.2, pages)
                };
                let pages = rest.iter().enumerate().take_while(alike).count();
                let gfns = GfnRange::of_pages(gfn, pages as u64).ok_or(Errno::EINVAL)?;
                let backing = |entry: Entry| Backing {
                    first: entry.frame,
                    access: entry.access,
                    mmio: entry.mmio,
                };
                let old = seen(old).map(|entry| entry.frame);
                let change = P2mChange::new(gfns, old, seen(new).map(backing));
                match self.carry(domain, change) {
                    Err(Errno::EIO) => return Err(Errno::EIO),
                    told => result = result.and(told),
                }
                rest = &rest[pages..];
            }
        }
        for (_, old, new) in changed {
            let gone = old.filter(|old| new.is_none_or(|new| new.frame != old.frame));
            if let Some(old) = gone.filter(|old| !old.mmio && old.foreign.is_none()) {
                self.board().retire_page(domain, old.frame).map_err(|_| Errno::EFAULT)?;
            }
        }
        result
    }

    /// Takes a page from `domain` and frees it; if a reference holds it, the last of those does.
    ///
    /// # Errors
    /// `-ENOENT`: it is no memory of the domain. `-EIO`: a unit has failed; the page is never freed.
    pub fn balloon_out(&self, domain: DomId, gfn: Gfn) -> Result<Mfn, Errno> {
        let changed = self.balloon_out_range(domain, GfnRange::single(gfn))?;
        changed.first().copied().ok_or(Errno::ENOENT)
    }

    /// The same, of several pages; their frames.
    ///
    /// # Errors
    /// As of one; those before it are gone.
    pub fn balloon_out_range(&self, domain: DomId, gfns: GfnRange) -> Result<Vec<Mfn>, Errno> {
        let changed = self.change(domain, gfns, |_, _, old| {
            own(old)?;
            Ok(None)
        })?;
        Ok(changed.iter().filter_map(|(_, old, _)| old.map(|old| old.frame)).collect())
    }

    /// Puts a fresh page of zeros behind a guest frame that has none.
    ///
    /// # Errors
    /// `-EEXIST`: it has one. `-ENOMEM`: no frame is left. What the service says of a default map
    /// that is maintained: the guest then has the page, and devices do not.
    pub fn populate(&self, domain: DomId, gfn: Gfn) -> Result<Mfn, Errno> {
        let changed = self.populate_range(domain, GfnRange::single(gfn))?;
        changed.first().copied().ok_or(Errno::ENOMEM)
    }

    /// The same, of several pages; their frames.
    ///
    /// # Errors
    /// As of one.
    pub fn populate_range(&self, domain: DomId, gfns: GfnRange) -> Result<Vec<Mfn>, Errno> {
        let changed = self.change(domain, gfns, |_, _, old| {
            if old.is_some() {
                return Err(Errno::EEXIST);
            }
            self.fresh(domain)
        })?;
        Ok(changed.iter().filter_map(|(_, _, new)| new.map(|new| new.frame)).collect())
    }

    /// Puts another page behind a guest frame, and lets the old one go; the new frame.
    ///
    /// # Errors
    /// As [`balloon_out`](Self::balloon_out) and [`populate`](Self::populate).
    pub fn exchange(&self, domain: DomId, gfn: Gfn) -> Result<Mfn, Errno> {
        let changed = self.exchange_range(domain, GfnRange::single(gfn))?;
        changed.first().copied().ok_or(Errno::ENOMEM)
    }

    /// The same, of several pages; the new frames.
    ///
    /// # Errors
    /// As of one.
    pub fn exchange_range(&self, domain: DomId, gfns: GfnRange) -> Result<Vec<Mfn>, Errno> {
        let changed = self.change(domain, gfns, |_, _, old| {
            own(old)?;
            self.fresh(domain)
        })?;
        Ok(changed.iter().filter_map(|(_, _, new)| new.map(|new| new.frame)).collect())
    }

    /// Changes the greatest access that `domain` has to what is behind a guest frame: memory or
    /// registers. Nobody acquires more from then on; what was acquired before is not touched.
    ///
    /// # Errors
    /// `-ENOENT`: nothing is behind it. What the service says.
    pub fn set_access(&self, domain: DomId, gfn: Gfn, access: Access) -> Result<(), Errno> {
        self.set_access_range(domain, GfnRange::single(gfn), access)
    }

    /// The same, of several.
    ///
    /// # Errors
    /// As of one.
    pub fn set_access_range(
        &self,
        domain: DomId,
        gfns: GfnRange,
        access: Access,
    ) -> Result<(), Errno> {
        let edit = |_: &P2m, _, old: Option<Entry>| {
            let old = old.ok_or(Errno::ENOENT)?;
            Ok(Some(Entry { access, ..old }))
        };
        self.change(domain, gfns, edit).map(|_| ())
    }

    /// Puts a page of `owner` behind a guest frame of `domain` that has none.
    ///
    /// # Errors
    /// `-EEXIST`: it has one. `-EPERM`: the page is no ordinary memory of `owner`.
    pub fn map_foreign(
        &self,
        domain: DomId,
        gfn: Gfn,
        (owner, owner_gfn): (DomId, Gfn),
        read_only: bool,
    ) -> Result<(), Errno> {
        let entry = self.board().foreign_entry(owner, owner_gfn, read_only);
        let mut entry = Some(entry.map_err(|_| Errno::EPERM)?);
        let mapped = self.change(domain, GfnRange::single(gfn), |_, _, old| {
            if old.is_some() { Err(Errno::EEXIST) } else { Ok(entry.take()) }
        });
        if let Some(unused) = entry {
            let _ = self.board().drop_foreign(unused);
        }
        mapped.map(|_| ())
    }

    /// Ends a foreign mapping: the guest frame becomes a hole.
    ///
    /// # Errors
    /// `-ENOENT`: it is none. `-EBUSY`: it is pinned.
    pub fn unmap_foreign(&self, domain: DomId, gfn: Gfn) -> Result<(), Errno> {
        let end = |_: &P2m, _, old: Option<Entry>| {
            let old = old.filter(|old| old.foreign.is_some()).ok_or(Errno::ENOENT)?;
            self.board().drop_foreign(old).map_err(|_| Errno::EBUSY)?;
            Ok(None)
        };
        self.change(domain, GfnRange::single(gfn), end).map(|_| ())
    }

    fn fresh(&self, domain: DomId) -> Result<Option<Entry>, Errno> {
        let frame = self.board().fresh_page(domain).map_err(|_| Errno::ENOMEM)?;
        Ok(Some(Entry::ram(frame)))
    }
}

/// `old`, if it is memory of the domain itself.
fn own(old: Option<Entry>) -> Result<Entry, Errno> {
    let own = |entry: &Entry| !entry.mmio && entry.foreign.is_none();
    old.filter(own).ok_or(Errno::ENOENT)
}
