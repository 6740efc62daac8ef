//! What a driver may believe: what it asked for, and what was answered to that by the rules of the ABI.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, ElementFlags, Errno, MapPages, Subop, UnmapPages,
};
use zerocopy::FromBytes;

use super::{ADDRESS, FAR};

/// Where a bus frame may lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leads {
    /// A guest frame, or a grant.
    pub(super) to: u64,
    /// It was told that it does.
    pub(super) told: bool,
    /// What devices may do: bit 0: read. Bit 1: write.
    pub(super) access: u16,
}

/// All bus frames that may lead somewhere, as far as the driver was told.
#[derive(Debug, Default)]
pub(super) struct Witness {
    leads: BTreeMap<u64, Leads>,
    /// Unmapped, and not flushed.
    stale: BTreeMap<u64, u64>,
    /// The first guest frames of buffers that were taken back although they may be reached.
    exposed: BTreeSet<u64>,
}

/// A call, before it is answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    subop: Subop,
    arg: Vec<u8>,
    buffer: Vec<u8>,
}

impl Asked {
    pub(super) fn new(subop: Subop, arg: &[u8], buffer: Option<&[u8]>) -> Self {
        Self { subop, arg: arg.to_vec(), buffer: buffer.unwrap_or_default().to_vec() }
    }

    /// True if it is a call past the DMA API, of which nothing is known.
    fn is_far(&self) -> bool {
        match self.subop {
            Subop::MAP_PAGES => read::<MapPages>(&self.arg).dfn.0 >= FAR,
            Subop::UNMAP_PAGES => read::<UnmapPages>(&self.arg).dfn.0 >= FAR,
            Subop::BATCH => self.elements().iter().any(|element| element.bfn.0 >= FAR),
            _ => true,
        }
    }

    /// The elements of a batch.
    fn elements(&self) -> Vec<BatchElement> {
        let count = read::<Batch>(&self.arg).nr_ops as usize;
        self.buffer.chunks(size_of::<BatchElement>()).take(count).map(read).collect()
    }
}

fn read<T: FromBytes>(bytes: &[u8]) -> T {
    T::read_from_prefix(bytes).expect("the argument of a call").0
}

fn is_known(status: i64) -> bool {
    status == 0 || Errno::from_ret(status).is_some()
}

impl Witness {
    pub(super) fn leads(&self, bfn: u64) -> Option<Leads> {
        self.leads.get(&bfn).copied()
    }

    /// True if a device may reach one of these pages, although nobody has said that this is fine.
    pub(super) fn is_reached(&self, pages: &Range<u64>) -> bool {
        let now = self.leads.values().any(|leads| pages.contains(&leads.to));
        let still = self.stale.values().any(|to| pages.contains(to));
        (now || still) && !self.exposed.contains(&pages.start)
    }

    /// Their owner takes these pages back although they may be reached.
    pub(super) fn expose(&mut self, pages: &Range<u64>) {
        self.exposed.insert(pages.start);
    }

    /// Bus frames that may lead somewhere.
    pub(super) fn left(&self) -> usize {
        self.leads.len() + self.stale.len()
    }

    /// The driver asks for a page at a bus frame, where nothing else may be.
    fn asks(&mut self, bfn: u64, to: u64, access: u16) {
        let before = self.leads.insert(bfn, Leads { to, told: false, access });
        assert_eq!(before, None, "bus frame {bfn:#x} is used, and may lead elsewhere (INV-03)");
        let stale = self.stale.get(&bfn);
        assert_eq!(stale, None, "bus frame {bfn:#x} is used, and was not flushed (INV-03)");
    }

    fn tell(&mut self, bfn: u64) {
        if let Some(leads) = self.leads.get_mut(&bfn) {
            leads.told = true;
        }
    }

    /// What was asked and answered.
    pub(super) fn hear(&mut self, asked: &Asked, arg: &[u8], buffer: &[u8], ret: i64) {
        if asked.is_far() {
            return;
        }
        match asked.subop {
            Subop::MAP_PAGES => self.hear_map(&read(&asked.arg), &read(arg), ret),
            Subop::UNMAP_PAGES => self.hear_unmap(&read(&asked.arg), &read(arg), ret),
            Subop::BATCH => self.hear_batch(asked, &read(arg), buffer, ret),
            _ => {}
        }
    }

    fn hear_map(&mut self, asked: &MapPages, told: &MapPages, ret: i64) {
        let pages = u64::from(asked.nr_pages);
        let access = asked.map_flags.bits() as u16 & 3;
        (0..pages).for_each(|page| self.asks(asked.dfn.0 + page, asked.gfn.0 + page, access));
        self.hear_mapped(asked.dfn.0, asked.nr_pages, told.mapped, ret);
    }

    /// So many pages from `first` on were to be mapped, and so many were.
    fn hear_mapped(&mut self, first: u64, pages: u32, done: u32, status: i64) {
        let fits = if status == 0 { done == pages } else { done <= pages };
        if !is_known(status) || !fits {
            return;
        }
        for page in 0..u64::from(pages) {
            if page < u64::from(done) {
                self.tell(first + page);
            } else {
                self.leads.remove(&(first + page));
            }
        }
    }

    fn hear_unmap(&mut self, asked: &UnmapPages, told: &UnmapPages, ret: i64) {
        self.hear_unmapped(asked.dfn.0, asked.nr_pages, told.unmapped, ret, None);
    }

    /// The same of an unmap. A hole at which it stopped leads nowhere, but may have a moment before.
    fn hear_unmapped(
        &mut self,
        first: u64,
        pages: u32,
        done: u32,
        status: i64,
        flags: Option<ElementFlags>,
    ) {
        let holes = flags.is_some_and(|flags| flags.contains(ElementFlags::SKIP_HOLES));
        let fits =
            if status == 0 { done == pages || (holes && done <= pages) } else { done <= pages };
        if !is_known(status) || !fits {
            return;
        }
        let later = flags.is_some_and(|flags| flags.contains(ElementFlags::NO_FLUSH));
        let all = status == 0;
        let at_hole = Errno::from_ret(status) == Some(Errno::ENOENT);
        let gone = if all { pages } else { done + u32::from(at_hole && done < pages) };
        for page in 0..u64::from(gone) {
            let leads = self.leads.remove(&(first + page));
            if let Some(leads) = leads.filter(|_| later) {
                self.stale.insert(first + page, leads.to);
            }
        }
    }

    fn hear_batch(&mut self, asked: &Asked, told: &Batch, buffer: &[u8], ret: i64) {
        let header: Batch = read(&asked.arg);
        let size = size_of::<BatchElement>();
        let count = header.nr_ops as usize;
        let elements = asked.elements();
        for element in &elements {
            for (bfn, to) in self.wanted(element, &asked.buffer) {
                self.asks(bfn, to, element.flags.bits() & 3);
            }
        }
        let answers: Vec<BatchElement> = buffer.chunks(size).take(count).map(read).collect();
        let finished = told.nr_done as usize;
        let run_all = header.flags.contains(BatchFlags::RUN_ALL);
        let good = |answer: &BatchElement| answer.status == 0;
        let may_end = if run_all {
            finished == count
        } else {
            let before = answers.iter().take(finished.saturating_sub(1)).all(good);
            let last = finished.checked_sub(1).and_then(|last| answers.get(last));
            before && last.is_some_and(|last| finished == count || !good(last))
        };
        if !is_known(ret) || finished > count || (ret == 0 && !may_end) {
            return;
        }
        let (finished, others) = elements.split_at(finished);
        for (element, answer) in finished.iter().zip(&answers) {
            self.hear_element(element, answer);
        }
        // One that failed ends a batch. If the call failed itself, the next may be done in part.
        let ends = !run_all && answers.iter().take(finished.len()).any(|it| !good(it));
        let begun = usize::from(ret != 0 && !ends);
        for element in others.iter().skip(begun) {
            for (bfn, _) in self.wanted(element, &asked.buffer) {
                self.leads.remove(&bfn);
            }
        }
    }

    fn hear_element(&mut self, asked: &BatchElement, answer: &BatchElement) {
        let (first, status) = (asked.bfn.0, i64::from(answer.status));
        match asked.op {
            BatchOp::MAP | BatchOp::MAP_LIST | BatchOp::MAP_GRANT => {
                self.hear_mapped(first, asked.nr, answer.done, status);
            }
            BatchOp::UNMAP => {
                self.hear_unmapped(first, asked.nr, answer.done, status, Some(asked.flags));
            }
            BatchOp::FLUSH if status == 0 && answer.done <= asked.nr => {
                let covers = |bfn: u64| (first..first + u64::from(asked.nr)).contains(&bfn);
                self.stale.retain(|bfn, _| asked.nr != 0 && !covers(*bfn));
            }
            _ => {}
        }
    }

    /// The bus frames that an element asks for, and the pages.
    fn wanted(&self, element: &BatchElement, buffer: &[u8]) -> Vec<(u64, u64)> {
        let BatchElement { op, bfn, page, nr, .. } = *element;
        let number = |number: u64| match op {
            BatchOp::MAP => Some(page + number),
            BatchOp::MAP_GRANT => Some(page),
            BatchOp::MAP_LIST => {
                let at = (page - ADDRESS + number * 8) as usize;
                buffer.get(at..at + 8).map(read::<u64>)
            }
            _ => None,
        };
        (0..u64::from(nr)).filter_map(|page| Some((bfn.0 + page, number(page)?))).collect()
    }
}
