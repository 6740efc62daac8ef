//! One hypercall for a batch, and what of its answer is believed.

use pviommu_abi::{Batch, BatchFlags, BatchOp};
use zerocopy::IntoBytes;

use super::page::{CAPACITY, PAGE_WORDS, list_offset};
use super::{BatchBuilder, BatchDone};
use crate::client::IommuClient;
use crate::error::{BadReply, Error};
use crate::hypercall::Hypercall;

impl<H: Hypercall> IommuClient<H> {
    /// Runs the elements of a batch, in their order; all of them, also if it was submitted before.
    /// No hypercall is made for an empty one.
    ///
    /// Success means that the batch was run to its end, or to the first element that failed:
    /// [`BatchDone::first_error`] tells.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] without `CapabilityFlags::BATCH`; [`Error::Exhausted`] with `E2BIG`
    /// above the limit of elements; [`Error::Failed`] if the hardware did not answer the final
    /// flush; [`BadReply::Finished`].
    ///
    /// Elements may have been run nevertheless. [`BatchBuilder::done`] has those that were
    /// finished; the next one may have been done in part. After [`Error::BadReply`] there are none,
    /// and any may have been run.
    pub fn submit<'b>(&self, batch: &'b mut BatchBuilder<'_>) -> Result<BatchDone<'b>, Error> {
        batch.run(self)?;
        Ok(batch.done())
    }
}

impl BatchBuilder<'_> {
    /// Takes back what a call before wrote into the elements: results, and addresses of lists where
    /// the transport expects offsets. Frames and grants are left alone: the ABI has the hypervisor
    /// write none, and one that does could as well map others.
    fn rewind(&mut self) {
        let mut list = PAGE_WORDS;
        for (element, asked) in self.page.elements.iter_mut().zip(&self.asked).take(self.used) {
            element.op = asked.op;
            element.flags = asked.flags;
            element.nr = asked.nr;
            element.status = 0;
            element.done = 0;
            if asked.op == BatchOp::LOOKUP {
                element.page = 0;
            } else if asked.op == BatchOp::MAP_LIST {
                // The lists lie one below the other, in the order of their elements.
                list = list.saturating_sub(usize::try_from(asked.nr).unwrap_or(PAGE_WORDS));
                element.page = list_offset(list);
            }
        }
    }

    fn run<H: Hypercall>(&mut self, client: &IommuClient<H>) -> Result<(), Error> {
        self.rewind();
        self.finished = 0;
        // At most 128, so the fallback is never taken.
        let nr_ops = u32::try_from(self.used).unwrap_or(0);
        if nr_ops == 0 {
            return Ok(());
        }
        let mut call = Batch { nr_ops, ..self.header };
        // Without lists, nothing behind the elements matters.
        let mut asked = self.asked.iter().take(self.used);
        let lists = asked.any(|asked| asked.op == BatchOp::MAP_LIST);
        let end = if lists { CAPACITY } else { self.used };
        let buffer = self.page.elements.get_mut(..end).unwrap_or_default().as_mut_bytes();
        let outcome = client.call_with_buffer(&mut call, buffer);
        if matches!(outcome, Err(Error::BadReply(_))) {
            return outcome;
        }
        let finished = usize::try_from(call.nr_done).unwrap_or(usize::MAX);
        if finished > self.used || (outcome.is_ok() && !self.may_end_at(finished)) {
            let lie = BadReply::Finished { asked: nr_ops, finished: call.nr_done };
            return Err(Error::BadReply(lie));
        }
        self.finished = finished;
        outcome
    }

    /// Whether a call that succeeds may have finished so many elements, with the statuses they
    /// have.
    fn may_end_at(&self, finished: usize) -> bool {
        if self.header.flags.contains(BatchFlags::RUN_ALL) {
            return finished == self.used;
        }
        let elements = self.page.elements.get(..finished).unwrap_or_default();
        let Some((last, before)) = elements.split_last() else { return false };
        before.iter().all(|element| element.status == 0)
            && (finished == self.used || last.status != 0)
    }
}
