//! Running a batch: elements in, a page of them at a time; one flush; statuses out.
//!
//! A status is written only after the flush that it promises, and only for elements that are
//! finished. What an element has changed when its call is interrupted is in its `done`.

use core::mem::offset_of;

use pviommu_abi::{BatchElement, DomId, ElementFlags, Errno, Gfn, GuestPtr};
use zerocopy::IntoBytes;

use super::{
    command::BatchRequest,
    element::{self, Operation},
    extensible::offset,
};
use crate::{
    addr::BfnRange,
    context::{Context, Editor, End, Facts, Progress, Session, WORK_UNIT},
    domain::Role,
    format::Format,
    machine::{BATCH_ROOM, CallRoom, LIST_ROOM},
    platform::{Access, Platform},
    policy::{self, GrantPlan, MapRequest, UnmapRequest},
    table::{Maker, Stash},
};

/// What became of a page of elements.
struct Part {
    /// Elements finished, from the first on.
    finished: usize,
    /// Pages done of the element after those.
    begun: u32,
    /// Why no more of the batch is run in this call.
    stop: Option<End>,
}

/// What all elements of a batch have in common.
struct Batch<'b, 's, P> {
    session: &'b Session<'s, P>,
    caller: DomId,
    request: &'b BatchRequest,
    context: &'b Context,
    facts: Facts,
}

impl<P: Platform> Session<'_, P> {
    /// Runs the elements of a batch, in order. How many are finished, and how that ended.
    pub(super) fn run_batch<F: Format>(
        &self,
        caller: DomId,
        request: &BatchRequest,
        room: &mut CallRoom,
    ) -> (u32, End) {
        let live = self.domain.context(request.context).map(|context| (context, context.facts()));
        let refused = |errno| (request.done, End::Failed(errno));
        let Some((context, facts)) = live.filter(|(_, facts)| facts.is_live()) else {
            return refused(Errno::EINVAL);
        };
        if self.is_frozen(context) {
            return refused(Errno::EIO);
        }
        let batch = Batch { session: self, caller, request, context, facts };
        batch.run::<F>(room)
    }
}

impl<P: Platform> Batch<'_, '_, P> {
    fn run<F: Format>(&self, room: &mut CallRoom) -> (u32, End) {
        let mut done = self.request.done;
        loop {
            let left = self.request.count.saturating_sub(done);
            if left == 0 {
                return (done, End::Finished);
            }
            let part = match self.run_some::<F>(done, left, room) {
                Ok(part) => part,
                Err(errno) => return (done, End::Failed(errno)),
            };
            done = done.saturating_add(u32::try_from(part.finished).unwrap_or(left));
            let more = done < self.request.count;
            match part.stop {
                Some(End::Yield) if more => return (done, self.yielded(done, part.begun)),
                // There is nothing to continue.
                Some(End::Yield) => return (done, End::Finished),
                Some(end) => return (done, end),
                None if more && self.session.platform().should_yield() => {
                    return (done, self.yielded(done, part.begun));
                }
                None => {}
            }
        }
    }

    /// Leaves word of how far the element with the number `next` has come: the call that goes on
    /// reads it, and a guest that did not set it has no reason to.
    fn yielded(&self, next: u32, begun: u32) -> End {
        let to = element_address(self.request.elements, next)
            .and_then(|at| offset(at, offset_of!(BatchElement, done)));
        let memory = self.session.platform();
        let told = to.is_ok_and(|to| memory.copy_out(self.caller, to, begun.as_bytes()).is_ok());
        if told { End::Yield } else { End::Failed(Errno::EFAULT) }
    }

    /// Runs at most a page of elements, from number `first` on.
    fn run_some<F: Format>(
        &self,
        first: u32,
        left: u32,
        room: &mut CallRoom,
    ) -> Result<Part, Errno> {
        let memory = self.session.platform();
        let count = usize::try_from(left).unwrap_or(BATCH_ROOM).min(BATCH_ROOM);
        let at = element_address(self.request.elements, first)?;
        let elements = room.elements.get_mut(..count).ok_or(Errno::EINVAL)?;
        memory.copy_in(self.caller, at, elements.as_mut_bytes()).map_err(|_| Errno::EFAULT)?;
        let mut stash = Stash::new();
        let mut editor =
            Editor::<P, F>::new(self.session, self.context, &mut room.edit, &mut stash);
        // Only the first element of a call can have been begun by the one before.
        let begun = first == self.request.done;
        let mut part = Part { finished: 0, begun: 0, stop: None };
        let mut unflushed = 0usize;
        for index in 0..count {
            let Some(element) = elements.get_mut(index) else { break };
            let flushes = editor.flushes();
            let before = if begun && index == 0 { element::begun(element) } else { 0 };
            let progress = self.run_one(&mut editor, element, before, &mut room.list);
            if editor.flushes() != flushes {
                unflushed = index;
            }
            let pages = u32::try_from(progress.pages).unwrap_or(u32::MAX);
            element.done = before.saturating_add(pages);
            if progress.end == End::Yield {
                part.begun = element.done;
                part.stop = Some(End::Yield);
                break;
            }
            part.finished = index.saturating_add(1);
            element.status = status(progress.end);
            if progress.end == End::Failed(Errno::EIO) && self.session.is_frozen(self.context) {
                part.stop = Some(progress.end);
                break;
            }
            if element.status != 0 && !self.request.run_all {
                part.stop = Some(End::Finished);
                break;
            }
            if editor.worked(1) || editor.is_yielding() {
                part.stop = Some(End::Yield);
                break;
            }
        }
        let failed = End::Failed(Errno::EIO);
        if editor.finish().is_err() {
            part.stop = Some(failed);
        }
        let finished = elements.get_mut(..part.finished).unwrap_or_default();
        if part.stop == Some(failed) {
            // Nobody may rely on what these say they did.
            for element in finished.iter_mut().skip(unflushed).filter(|e| e.status == 0) {
                element.status = status(failed);
            }
        }
        memory.copy_out(self.caller, at, finished.as_bytes()).map_err(|_| Errno::EFAULT)?;
        Ok(part)
    }

    /// Runs what is left of one element after its first `done` pages.
    fn run_one<F: Format>(
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
        let area = self.session.area(context, Some(&self.facts));
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
    fn may_map_pages_of_owner(&self) -> bool {
        let domain = self.session.domain;
        let acts_for_another = self.caller != domain.id();
        let hardware = acts_for_another || domain.role() == Role::Hardware;
        self.request.owner == domain.id() || hardware
    }

    /// Maps a list of guest frames, read a part at a time, each once.
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

    fn look_up<F: Format>(&self, epoch: u64, element: &mut BatchElement) -> Result<(), End> {
        let found = self.session.lookup::<F>(self.context, epoch, element.bfn)?;
        element.page = found.gfn.map_or(u64::MAX, |gfn| gfn.0);
        element.flags.set(ElementFlags::READ, found.access.contains(Access::READ));
        element.flags.set(ElementFlags::WRITE, found.access.contains(Access::WRITE));
        Ok(())
    }
}

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

fn element_address(first: GuestPtr, number: u32) -> Result<GuestPtr, Errno> {
    let number = usize::try_from(number).map_err(|_| Errno::EFAULT)?;
    offset(first, number.checked_mul(size_of::<BatchElement>()).ok_or(Errno::EFAULT)?)
}

fn status(end: End) -> i32 {
    match end {
        End::Failed(errno) => i32::try_from(errno.to_ret()).unwrap_or(i32::MIN),
        End::Finished | End::Yield => 0,
    }
}
