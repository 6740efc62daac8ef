//! Running a batch: elements in, a page of them at a time; one flush; statuses out.
//!
//! A status is written only after the flush that it promises, and only for elements that are
//! finished. What an element has changed when its call is interrupted is in its `done`.

use core::mem::offset_of;

use pviommu_abi::{BatchElement, DomId, Errno, Gfn, GuestPtr};
use zerocopy::IntoBytes;

use super::{command::BatchRequest, element, extensible::offset};
use crate::{
    context::{Context, Editor, End, Facts, Session, Singly},
    format::Format,
    machine::{BATCH_ROOM, CallRoom, EditRoom, LIST_ROOM},
    platform::Platform,
    table::Stash,
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

/// What of a CPU's room a batch changes while it runs.
struct Room<'r> {
    edit: &'r mut EditRoom,
    elements: &'r mut [BatchElement; BATCH_ROOM],
    list: &'r mut [Gfn; LIST_ROOM],
}

/// What all elements of a batch have in common.
pub(super) struct Batch<'b, 's, P> {
    pub(super) session: &'b Session<'s, P>,
    pub(super) caller: DomId,
    pub(super) request: &'b BatchRequest,
    pub(super) context: &'b Context,
    pub(super) facts: &'b Facts,
}

impl<P: Platform> Session<'_, P> {
    /// Runs the elements of a batch, in order. How many are finished, and how that ended.
    #[inline(never)]
    pub(super) fn run_batch<F: Format>(
        &self,
        caller: DomId,
        request: &BatchRequest,
        room: &mut CallRoom,
    ) -> (u32, End) {
        let refused = |errno| (request.done, End::Failed(errno));
        let Some(context) = self.domain.context(request.context) else {
            return refused(Errno::EINVAL);
        };
        let CallRoom { edit, elements, list, facts, .. } = room;
        context.note_facts(facts);
        if !facts.is_live() {
            return refused(Errno::EINVAL);
        }
        if self.is_frozen(context) {
            return refused(Errno::EIO);
        }
        let mut room = Room { edit, elements, list };
        Batch { session: self, caller, request, context, facts }.run::<F>(&mut room)
    }
}

impl<P: Platform> Batch<'_, '_, P> {
    fn run<F: Format>(&self, room: &mut Room<'_>) -> (u32, End) {
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
        room: &mut Room<'_>,
    ) -> Result<Part, Errno> {
        let memory = self.session.platform();
        let count = usize::try_from(left).unwrap_or(BATCH_ROOM).min(BATCH_ROOM);
        let at = element_address(self.request.elements, first)?;
        let elements = room.elements.get_mut(..count).ok_or(Errno::EINVAL)?;
        memory.copy_in(self.caller, at, elements.as_mut_bytes()).map_err(|_| Errno::EFAULT)?;
        let mut stash = Stash::new();
        let mut editor = Editor::<P, F>::new(self.session, self.context, room.edit, &mut stash);
        // Only the first element of a call can have been begun by the one before.
        let begun = first == self.request.done;
        let mut part = Part { finished: 0, begun: 0, stop: None };
        let mut unflushed = 0usize;
        // Whatever is unusual is run by itself, and so is what comes after it: it is not tried twice.
        let mut usual = true;
        while part.finished < count {
            let index = part.finished;
            let rest = elements.get_mut(index..).unwrap_or_default();
            let Some(element) = rest.first() else { break };
            let before = if begun && index == 0 { element::begun(element) } else { 0 };
            if usual && before == 0 {
                let together = self.run_singles(&mut editor, rest, room.list);
                usual = together.all;
                let Singly { done, next, failed } = together.of;
                if done > 0 || next.is_some() {
                    part.finished = index.saturating_add(done);
                    part.stop = failed.map(End::Failed);
                    if let (None, Some(end)) = (part.stop, next) {
                        let Some(element) = elements.get_mut(part.finished) else { break };
                        self.end_element(element, (0, end), &mut part);
                    }
                    let work = u64::try_from(done).unwrap_or(0).saturating_mul(2);
                    if part.stop.is_none() && (editor.worked(work) || editor.is_yielding()) {
                        part.stop = Some(End::Yield);
                    }
                    if part.stop.is_some() {
                        break;
                    }
                    continue;
                }
            }
            let Some(element) = rest.first_mut() else { break };
            let flushes = editor.flushes();
            let progress = self.run_one(&mut editor, element, before, room.list);
            if editor.flushes() != flushes {
                unflushed = index;
            }
            let pages = u32::try_from(progress.pages).unwrap_or(u32::MAX);
            let done = before.saturating_add(pages);
            self.end_element(element, (done, progress.end), &mut part);
            if part.stop.is_some() {
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
}

impl<P: Platform> Batch<'_, '_, P> {
    /// Notes how the next element ended, with so many pages done, and whether the batch ends there.
    fn end_element(&self, element: &mut BatchElement, (done, end): (u32, End), part: &mut Part) {
        element.done = done;
        if end == End::Yield {
            part.begun = done;
            part.stop = Some(end);
            return;
        }
        part.finished = part.finished.saturating_add(1);
        element.status = status(end);
        if end == End::Failed(Errno::EIO) && self.session.is_frozen(self.context) {
            part.stop = Some(end);
        } else if element.status != 0 && !self.request.run_all {
            part.stop = Some(End::Finished);
        }
    }
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
