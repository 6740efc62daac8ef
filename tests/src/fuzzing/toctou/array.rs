//! What a batch has done in one entry: its elements as they were read, and what was told of them.

use pviommu_abi::{Batch, BatchElement, BatchOp, Bfn, DomId, ElementFlags, Subop};
use pviommu_hypervisor::{Outcome, platform::Access};

use super::{
    effect::{Effect, Entry, Pages, Place},
    log::{Argument, Log, read},
};
use crate::{fuzzing::entry::known, machine::Seen};

const SIZE: usize = size_of::<BatchElement>();
/// Where `status` and `done` are in an element, and `nr_done` in the header.
const STATUS: usize = 4;
const DONE: usize = 28;
const NR_DONE: u64 = 20;

/// An element that was worked on in this entry.
struct Worked {
    element: BatchElement,
    /// Pages that were done before.
    before: u32,
    /// Pages that are done now.
    done: u32,
    /// Its status, if it is finished.
    status: Option<i32>,
}

impl Worked {
    fn pages(&self) -> u32 {
        self.done - self.before
    }
}

/// The effects of a batch whose header was read.
pub(super) fn batch(log: &mut Log<'_>, entry: &Entry, argument: &Argument) -> Vec<Effect> {
    let header: Batch = argument.value();
    let mut run = Run { header, entry, done: header.nr_done, effects: Vec::new() };
    let mut told = None;
    while let Some(seen) = log.peek(false) {
        assert!(told.is_none(), "elements are read after how far they are was told");
        let has_next = run.part(log, seen, argument.value::<Batch>().nr_done);
        told = run.begun(log);
        let begun = told.is_some_and(|pages| pages > 0);
        assert!(has_next || !begun, "an element is begun that nobody has read");
    }
    let nr_done = log.written(argument.address() + NR_DONE, 4).map(read::<u32>);
    // It need not be told that nothing is.
    let is_told = nr_done == Some(run.done) || (nr_done.is_none() && run.done == header.nr_done);
    assert!(is_told, "{} elements are finished, and told was {nr_done:?}", run.done);
    run.check_end(told);
    run.effects
}

struct Run<'e> {
    header: Batch,
    entry: &'e Entry,
    /// Elements that are finished.
    done: u32,
    effects: Vec<Effect>,
}

impl Run<'_> {
    fn address(&self, number: u32) -> u64 {
        self.header.ops.0.wrapping_add(u64::from(number) * SIZE as u64)
    }

    /// Some elements are read, then lists of theirs, then the results are written of those that are finished.
    /// Of the next one, how far it is, may be told behind that. True if that was read, too.
    fn part(&mut self, log: &mut Log<'_>, seen: &Seen, first_of_entry: u32) -> bool {
        let (bytes, left) = (seen.copied.bytes, self.header.nr_ops - self.done);
        let count = bytes / SIZE;
        let whole = bytes > 0 && bytes.is_multiple_of(SIZE) && count <= left as usize;
        assert!(whole, "{left} elements are left, and read was {:?}", seen.copied);
        let at = self.address(self.done);
        let Some(elements) = log.read(at, bytes) else { return false };
        let mut lists = Vec::new();
        while log.peek(false).is_some() {
            lists.extend(log.next());
        }
        let finished = log.peek(true).map_or(usize::MAX, |seen| seen.copied.bytes / SIZE);
        assert!(finished <= count, "{count} elements were read, and told of are others");
        // What can be read can be written.
        let results = log.written(at, finished * SIZE).expect("the results");
        let begins = self.done == first_of_entry;
        let mut worked = Vec::new();
        for (number, asked) in elements.chunks(SIZE).take(finished + 1).enumerate() {
            let element: BatchElement = read(asked);
            let counts = !matches!(element.op, BatchOp::FLUSH | BatchOp::LOOKUP);
            let before = if begins && number == 0 && counts { element.done } else { 0 };
            let (done, status) = if let Some(result) = results.chunks(SIZE).nth(number) {
                check_result(asked, result, &element);
                let BatchElement { done, status, .. } = read(result);
                assert!(known(status.into()), "{element:?} ended with {status} (INV-55)");
                (done, Some(status))
            } else {
                let Some(begun) = peek_begun(log, self.address(self.done + finished as u32)) else {
                    break;
                };
                (begun, None)
            };
            assert!(done >= before, "{element:?} had done {before} pages, and now {done}");
            worked.push(Worked { element, before, done, status });
        }
        self.done += finished as u32;
        self.take(&worked, &lists);
        finished < count
    }

    /// How far the next element is, if that is told.
    fn begun(&self, log: &mut Log<'_>) -> Option<u32> {
        let told = peek_begun(log, self.address(self.done))?;
        log.next();
        Some(told)
    }

    /// The effects of elements, in their order, with the lists that were read for them.
    fn take(&mut self, worked: &[Worked], lists: &[&Seen]) {
        let mut readings = super::lists::assign(
            worked.iter().map(|it| super::lists::Asked {
                is_list: it.element.op == BatchOp::MAP_LIST,
                at: it.element.page.wrapping_add(u64::from(it.before) * 8),
                most: it.element.nr.saturating_sub(it.before),
                pages: it.pages(),
            }),
            lists,
        );
        for (worked, list) in worked.iter().zip(readings.drain(..)) {
            self.effects.extend(self.effect(worked, list));
        }
    }

    fn effect(&self, worked: &Worked, list: super::lists::Reading) -> Option<Effect> {
        let Worked { element, before, status, .. } = worked;
        let pages = worked.pages();
        let BatchElement { op, flags, nr, page, .. } = *element;
        let counts =
            matches!(op, BatchOp::MAP | BatchOp::MAP_LIST | BatchOp::MAP_GRANT | BatchOp::UNMAP);
        if *status == Some(0) && counts {
            assert_eq!(before + pages, nr, "{element:?} is done, and is not");
        }
        if pages == 0 || !counts {
            return None;
        }
        assert!(before + pages <= nr, "{element:?} did {before} and {pages} pages");
        let first = Bfn(element.bfn.0 + u64::from(*before));
        let domain = self.entry.target(self.header.domid);
        let context = u16::try_from(self.header.ctx_id).expect("the number of a context");
        let place = Place { domain, context };
        let owner = if self.header.owner == DomId::SELF { domain } else { self.header.owner };
        let later = flags.contains(ElementFlags::NO_FLUSH);
        let mut access = Access::empty();
        access.set(Access::READ, flags.contains(ElementFlags::READ));
        access.set(Access::WRITE, flags.contains(ElementFlags::WRITE));
        let of = match op {
            BatchOp::UNMAP => {
                let (holes, pages) = (flags.contains(ElementFlags::SKIP_HOLES), pages.into());
                return Some(Effect::Unmapped { place, first, pages, holes, later });
            }
            BatchOp::MAP_GRANT => Pages::Grant { granter: owner, reference: page },
            BatchOp::MAP => {
                let from = page + u64::from(*before);
                Pages::Guest { owner, gfns: (from..from + u64::from(pages)).collect() }
            }
            _ => match list {
                super::lists::Reading::Unclear(gfns) => {
                    return Some(Effect::Unclear { place, of: Pages::Guest { owner, gfns } });
                }
                super::lists::Reading::One(gfns) => {
                    Pages::Guest { owner, gfns: gfns[..pages as usize].to_vec() }
                }
            },
        };
        Some(Effect::Mapped { place, first, of, access, later })
    }

    fn check_end(&self, told: Option<u32>) {
        let Batch { nr_ops, nr_done, .. } = self.header;
        if self.entry.outcome == Outcome::Continue {
            assert!(told.is_some() || self.done == nr_done, "a call goes on from nowhere");
        } else {
            assert!(self.done <= nr_ops.max(nr_done), "{} of {nr_ops} elements", self.done);
        }
    }
}

/// How far the element at this address is, if that is told next.
fn peek_begun(log: &Log<'_>, element: u64) -> Option<u32> {
    let at = element.wrapping_add(DONE as u64);
    let told = log.peek(true).filter(|seen| (seen.copied.address, seen.copied.bytes) == (at, 4))?;
    Some(told.data.as_deref().map_or(0, read::<u32>))
}

/// Of an element only results are written: the rest is what was read.
fn check_result(asked: &[u8], result: &[u8], element: &BatchElement) {
    for (i, (asked, result)) in asked.iter().zip(result).enumerate() {
        let looked_up = element.op == BatchOp::LOOKUP && matches!(i, 2..4 | 16..24);
        let may = (STATUS..STATUS + 4).contains(&i) || (DONE..DONE + 4).contains(&i) || looked_up;
        let subop = Subop::BATCH;
        assert!(may || asked == result, "{subop:?} wrote byte {i} of {element:?} (INV-52)");
    }
}
