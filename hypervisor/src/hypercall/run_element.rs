//! Running one element of a batch.

use pviommu_abi::{BatchElement, ElementFlags, Errno, Gfn, GuestPtr};
use zerocopy::IntoBytes;

use super::{
    batch::Batch,
    element::{self, Operation},
    extensible::offset,
};
use crate::{
    addr::BfnRange,
    context::{Editor, End, Progress, WORK_UNIT},
    domain::Role,
    format::Format,
    machine::LIST_ROOM,
    platform::{Access, Platform},
    policy::{self, GrantPlan, MapRequest, UnmapRequest},
    table::Maker,
};

impl<P: Platform> Batch<'_, '_, P> {
    /// Runs what is left of one element after its first `done` pages.
    #[inline(never)]
    pub(super) fn run_one<F: Format>(
        &self,
        editor: &mut Editor<'_, P, F>,
        element: &mut BatchElement,
        done: u32,
        list: &mut [Gfn; LIST_ROOM],
    ) -> Progress {
        let operation = match element::decode(element, self.request.owner, done) {
            Ok(Some(operation)) => operation,
            Ok(None) => return Progress::nothing(End::Finished),
            Err(errno) => return Progress::nothing(End::Failed(errno)),
        };
        let context = self.request.context;
        let area = self.session.area(context, Some(self.facts));
        let refused = |errno| Progress::nothing(End::Failed(errno));
        let maps_pages = matches!(operation, Operation::Map(_) | Operation::MapList { .. });
        if maps_pages && !self.may_map_pages_of_owner() {
            return refused(Errno::EPERM);
        }
        match operation {
            Operation::Map(pages) => {
                match policy::may_map(&area, &MapRequest { context, pages: Some(pages) }) {
                    Ok(Some(plan)) => editor.map(&plan, Maker::Guest),
                    Ok(None) => Progress::nothing(End::Finished),
                    Err(errno) => refused(errno),
                }
            }
            Operation::Unmap { bfns, how } => {
                match policy::may_unmap(&area, &UnmapRequest { context, bfns: Some(bfns), how }) {
                    Ok(Some(plan)) => editor.unmap(&plan),
                    Ok(None) => Progress::nothing(End::Finished),
                    Err(errno) => refused(errno),
                }
            }
            Operation::MapList { bfns, list: at, how } => {
                match policy::may_map_list(&area, bfns, self.request.owner, how) {
                    Ok(plan) => self.map_list(editor, plan, at, list),
                    Err(errno) => refused(errno),
                }
            }
            Operation::MapGrant { bfn, reference, how } => {
                let granter = self.request.owner;
                match area.editable(BfnRange::single(bfn)) {
                    Ok(epoch) => {
                        editor.map_grant(&GrantPlan { epoch, bfn, granter, reference, how })
                    }
                    Err(errno) => refused(errno),
                }
            }
            Operation::Flush(bfns) => {
                let range = bfns.unwrap_or(self.facts.aperture);
                match policy::may_look(&area, range) {
                    Ok(_) => flush(editor, bfns, range),
                    Err(errno) => refused(errno),
                }
            }
            Operation::Lookup(bfn) => {
                let epoch = policy::may_look(&area, BfnRange::single(bfn));
                let end = epoch.map_or_else(End::Failed, |epoch| {
                    self.look_up::<F>(epoch, element).map_or_else(|end| end, |()| End::Finished)
                });
                let pages = u64::from(end == End::Finished);
                Progress { pages, end }
            }
        }
    }

    /// Another domain's pages are mapped for the hardware domain only, unless they are granted.
    pub(super) fn may_map_pages_of_owner(&self) -> bool {
        let domain = self.session.domain;
        let acts_for_another = self.caller != domain.id();
        let hardware = acts_for_another || domain.role() == Role::Hardware;
        self.request.owner == domain.id() || hardware
    }

    /// Maps a list of guest frames, read a part at a time, each once.
    // Not inlined: what it keeps would be on the stack below each other operation.
    #[inline(never)]
    fn map_list<F: Format>(
        &self,
        editor: &mut Editor<'_, P, F>,
        plan: policy::ListPlan,
        at: GuestPtr,
        list: &mut [Gfn; LIST_ROOM],
    ) -> Progress {
        let mut done = 0u64;
        loop {
            let left = usize::try_from(plan.bfns.pages().saturating_sub(done));
            let count = left.unwrap_or(LIST_ROOM).min(LIST_ROOM);
            let first = plan.bfns.first().checked_add(done);
            let pages = u64::try_from(count).unwrap_or(0);
            let Some(bfns) = first.and_then(|first| BfnRange::of_pages(first, pages)) else {
                return Progress { pages: done, end: End::Finished };
            };
            let skipped = usize::try_from(done).unwrap_or(usize::MAX).saturating_mul(8);
            let part = list.get_mut(..count).unwrap_or_default();
            let read = offset(at, skipped).and_then(|at| {
                let memory = self.session.platform();
                memory.copy_in(self.caller, at, part.as_mut_bytes()).map_err(|_| Errno::EFAULT)
            });
            if let Err(errno) = read {
                return Progress { pages: done, end: End::Failed(errno) };
            }
            let progress = editor.map_list(&policy::ListPlan { bfns, ..plan }, part);
            done = done.saturating_add(progress.pages);
            let more = done < plan.bfns.pages();
            match progress.end {
                End::Finished if more && editor.is_yielding() => {
                    return Progress { pages: done, end: End::Yield };
                }
                End::Finished if more => {}
                end => return Progress { pages: done, end },
            }
        }
    }

    #[inline(never)]
    fn look_up<F: Format>(&self, epoch: u64, element: &mut BatchElement) -> Result<(), End> {
        let found = self.session.lookup::<F>(self.context, epoch, element.bfn)?;
        element.page = found.gfn.map_or(u64::MAX, |gfn| gfn.0);
        element.flags.set(ElementFlags::READ, found.access.contains(Access::READ));
        element.flags.set(ElementFlags::WRITE, found.access.contains(Access::WRITE));
        Ok(())
    }
}

#[inline(never)]
fn flush<P: Platform, F: Format>(
    editor: &mut Editor<'_, P, F>,
    asked: Option<BfnRange>,
    range: BfnRange,
) -> Progress {
    let flushed = editor.flush_range(range);
    editor.worked(WORK_UNIT);
    let pages = asked.filter(|_| flushed.end == End::Finished).map_or(0, BfnRange::pages);
    Progress { pages, ..flushed }
}
