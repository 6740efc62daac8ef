//! The RAM of a domain, stretch by stretch, as it is now.

use pviommu_abi::Gfn;
use pviommu_hypervisor::{
    addr::{GfnRange, Mfn},
    platform::Access,
};

use super::{layout::argument_frame, p2m::P2m};

/// Most pages of one stretch that is found page by page.
const STRETCH: u64 = 1024;

impl P2m {
    /// The first guest frames at or after `from` that are memory which devices may use alike. What
    /// holds the arguments of hypercalls is left out: no real guest has memory up there.
    pub(crate) fn next_run(&self, from: Gfn) -> Option<(GfnRange, Access)> {
        let mut first = from;
        let (backed, first) = loop {
            first = self.next_mapped(first).filter(|gfn| *gfn < argument_frame(0))?;
            let backed = self.lookup(first).filter(|b| !b.mmio && !b.access.is_empty());
            match backed {
                Some(backed) => break (backed, first),
                None => first = Gfn(first.0 + 1),
            }
        };
        let mut pages = backed.run;
        let alike = |gfn: u64| {
            let next = self.lookup(Gfn(gfn));
            next.filter(|next| !next.mmio && next.access == backed.access).map(|next| next.run)
        };
        while pages < STRETCH
            && let Some(more) = alike(first.0 + pages)
        {
            pages += more;
        }
        Some((GfnRange::of_pages(first, pages)?, backed.access))
    }

    /// The first guest frames at or after `from` that are memory of the domain, in machine frames
    /// that follow each other; the first of those, and what devices may do.
    pub(crate) fn next_stretch(&self, from: Gfn) -> Option<(GfnRange, Mfn, Access)> {
        let mut from = from;
        loop {
            let (run, access) = self.next_run(from)?;
            let own = |gfn: u64| self.lookup(Gfn(gfn)).filter(|backed| backed.is_own_ram());
            let Some(backed) = own(run.first().0) else {
                from = Gfn(run.first().0 + 1);
                continue;
            };
            let mut pages = backed.run.min(run.pages());
            while pages < run.pages()
                && let Some(next) = own(run.first().0 + pages)
                && next.frame.0 == backed.frame.0 + pages
            {
                pages += next.run.min(run.pages() - pages);
            }
            return Some((GfnRange::of_pages(run.first(), pages)?, backed.frame, access));
        }
    }
}
