//! Maps and unmaps that go on until all is done.

use pviommu_hypervisor::{
    abi::Bfn,
    addr::{BfnRange, Mfn, MfnRange},
    format::{Format, pages_at},
    platform::{Access, AlikeRuns, PageKind, Run, TableFrames},
    table::{Maker, Paint, Singles, SplitPaid, Stop, split_cost},
};

use super::{DOMAIN, Rig};

impl<F: Format> Rig<F> {
    pub(super) fn run(mfn: u64, pages: u64, access: Access) -> Run {
        Run { frames: MfnRange::of_pages(Mfn(mfn), pages).unwrap(), kind: PageKind::Ram, access }
    }

    /// Maps `pages` pages from `bfn` on to frames from `mfn` on: how many, and why not more.
    pub(crate) fn map(
        &self,
        bfn: u64,
        mfn: u64,
        pages: u64,
        access: Access,
    ) -> (u64, Option<Stop>) {
        let mut done = 0;
        let stop = self.edit(|table, edit| {
            while done < pages {
                let run = Self::run(mfn + done, pages - done, access);
                let mapped =
                    table.map(Bfn(bfn + done), (&run).into(), pages - done, Maker::Guest, edit);
                done += mapped.pages;
                self.held.set(self.held.get() + mapped.pages);
                mapped.stop.map_or(Ok(()), Err)?;
            }
            Ok(())
        });
        (done, stop.err())
    }

    /// Maps pages one by one, with the leaf table of the last one locked: which of them.
    pub(crate) fn map_singles(&self, pages: &[(u64, u64)], access: Access) -> Vec<bool> {
        let mapped = self.edit(|table, edit| {
            let words = table.leaf_words(PageKind::Ram, access, Maker::Guest);
            let mut singles = Singles::new(table);
            let mut left = pages.iter().map(|(bfn, mfn)| (Bfn(*bfn), Mfn(*mfn))).peekable();
            let mut mapped = Vec::new();
            loop {
                let stored = singles.map_each(&mut left, &words, &mut edit.pending);
                mapped.extend(std::iter::repeat_n(true, stored));
                // What it left is what was not as usual.
                if left.next().is_none() {
                    return Ok(mapped);
                }
                mapped.push(false);
            }
        });
        let mapped = mapped.unwrap();
        self.held.set(self.held.get() + mapped.iter().filter(|done| **done).count() as u64);
        mapped
    }

    /// Unmaps pages likewise: which of them.
    pub(crate) fn unmap_singles(&self, bfns: &[u64]) -> Vec<bool> {
        let unmapped = self.edit(|table, edit| {
            let mut singles = Singles::new(table);
            Ok(bfns.iter().map(|bfn| singles.unmap(Bfn(*bfn), edit)).collect())
        });
        unmapped.unwrap()
    }

    /// Maps a leaf of `level` (1 or above).
    pub(crate) fn map_leaf(
        &self,
        bfn: u64,
        level: u8,
        mfn: u64,
        access: Access,
        paid: SplitPaid,
    ) -> Result<(), Stop> {
        self.map_leaf_for(Maker::Guest, bfn, level, mfn, access, paid)
    }

    /// The same for somebody else than the guest.
    pub(crate) fn map_leaf_for(
        &self,
        maker: Maker,
        bfn: u64,
        level: u8,
        mfn: u64,
        access: Access,
        paid: SplitPaid,
    ) -> Result<(), Stop> {
        let pages = pages_at::<F>(level);
        let run = Self::run(mfn, pages, access);
        let frames = if paid == SplitPaid::Yes { split_cost::<F>(level) } else { 0 };
        self.arena.reserve(DOMAIN, frames);
        let mapped = self.edit(|table, edit| {
            table.map_large(Bfn(bfn), level, AlikeRuns::from(&run), 1, (maker, paid), edit)
        });
        match mapped {
            Ok(_) => self.held.set(self.held.get() + pages),
            Err(_) => self.arena.unreserve(DOMAIN, frames),
        }
        mapped.map(|leaves| assert_eq!(leaves, 1))
    }

    /// Maps leaves of `level` (1 or above) that follow each other, by one call: how many.
    pub(crate) fn map_leaves(&self, bfn: u64, level: u8, mfns: &[u64]) -> Result<u64, Stop> {
        let pages = pages_at::<F>(level);
        let frames = |mfn: &u64| MfnRange::of_pages(Mfn(*mfn), pages).unwrap();
        let frames: Vec<_> = mfns.iter().map(frames).collect();
        let access = Access::READ | Access::WRITE;
        let runs = AlikeRuns { frames: &frames, kind: PageKind::Ram, access };
        let how = (Maker::Guest, SplitPaid::No);
        let most = mfns.len() as u64;
        let mapped =
            self.edit(|table, edit| table.map_large(Bfn(bfn), level, runs, most, how, edit))?;
        self.held.set(self.held.get() + mapped * pages);
        Ok(mapped)
    }

    /// Fills bus frames with frames from `mfn` on, `most` leaves a call.
    pub(crate) fn fill(&self, first: u64, mfn: u64, pages: u64, most: u64) -> Result<(), Stop> {
        let mut done = 0;
        self.edit(|table, edit| {
            while done < pages {
                let run = Self::run(mfn + done, pages - done, Access::READ | Access::WRITE);
                let filled = table.fill(Bfn(first + done), &run, Maker::HostMap, most, edit)?;
                assert!((1..=most).contains(&filled.leaves));
                done += filled.pages;
            }
            Ok(())
        })
    }

    /// Paints the bus frames `first..=last`.
    pub(crate) fn paint(&self, first: u64, last: u64, paint: Paint) {
        let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
        self.edit(|table, edit| table.paint(range, paint, edit)).unwrap();
    }

    /// Unmaps `pages` pages, all of them mapped.
    pub(crate) fn unmap(&self, bfn: u64, pages: u64) {
        let mut done = 0;
        let stop = self.edit(|table, edit| {
            while done < pages {
                let unmapped = table.unmap(Bfn(bfn + done), pages - done, pages - done, edit);
                done += unmapped.pages;
                unmapped.stop.map_or(Ok(()), Err)?;
            }
            Ok(())
        });
        assert_eq!((done, stop), (pages, Ok(())), "unmap of {pages} pages at {bfn:#x}");
    }
}
