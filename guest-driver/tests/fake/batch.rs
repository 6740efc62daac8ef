//! BATCH.

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, DomId, ElementFlags, Errno, Gfn,
    MapFlags, Subop,
};
use pviommu_guest::hypercall::set_pointers;
use zerocopy::FromBytes;

use super::machine::{Machine, read};
use super::tables::{Entry, Page};

/// Where the hypervisor finds the buffer, if it is told addresses.
const BASE: u64 = 0xffff_8000_1234_5000;

/// What is the same for all elements.
struct Run<'b> {
    context: ContextId,
    owner: DomId,
    /// The buffer in words, and its address.
    words: &'b [u64],
    base: u64,
}

impl Machine {
    pub(super) fn batch(&mut self, arg: &mut [u8], buffer: &mut [u8]) -> Result<(), Errno> {
        let base = if self.offsets { 0 } else { BASE };
        if !self.offsets {
            set_pointers(Subop::BATCH, arg, buffer, BASE).unwrap();
        }
        let (words, _) = <[u64]>::ref_from_prefix(buffer).unwrap();
        let words = words.to_vec();
        let call: &mut Batch = read(arg);
        self.counts.batches += 1;
        self.counts.elements += call.nr_ops;
        assert_eq!((call.domid, call.nr_done), (DomId::SELF, 0));
        if call.nr_ops > self.most_elements {
            return Err(Errno::E2BIG);
        }
        let context = ContextId::try_from(call.ctx_id).unwrap();
        if context == ContextId::DEFAULT {
            return Err(Errno::EACCES);
        }
        self.check_frozen(context)?;
        let count = usize::try_from(call.nr_ops).unwrap();
        let (elements, _) = <[BatchElement]>::mut_from_prefix_with_elems(buffer, count).unwrap();
        self.last_batch = elements.to_vec();
        let run = Run { context, owner: call.owner, words: &words, base };
        for element in elements.iter_mut() {
            let outcome = self.element(&run, element);
            element.status = outcome.err().map_or(0, Errno::to_status);
            call.nr_done += 1;
            if outcome.is_err() && !call.flags.contains(BatchFlags::RUN_ALL) {
                break;
            }
        }
        self.last_flush(context, &mut elements[..usize::try_from(call.nr_done).unwrap()])
    }

    /// One flush for all unmaps that need it, at the end.
    fn last_flush(
        &mut self,
        context: ContextId,
        elements: &mut [BatchElement],
    ) -> Result<(), Errno> {
        let needs_flush = |element: &&mut BatchElement| {
            let later = element.flags.contains(ElementFlags::NO_FLUSH);
            element.op == BatchOp::UNMAP && element.done > 0 && !later
        };
        let unmaps: Vec<_> = elements.iter_mut().filter(needs_flush).collect();
        if unmaps.is_empty() {
            return Ok(());
        }
        let outcome = self.flush(context);
        if let Err(errno) = outcome {
            for element in unmaps {
                element.status = errno.to_status();
            }
        }
        outcome
    }

    fn element(&mut self, run: &Run<'_>, element: &mut BatchElement) -> Result<(), Errno> {
        let BatchElement { op, flags, bfn, nr, .. } = *element;
        assert_eq!(element.done, 0);
        match op {
            BatchOp::FLUSH => return self.flush(run.context),
            BatchOp::MAP_GRANT if nr != 1 => return Err(Errno::EINVAL),
            _ if nr == 0 => return Err(Errno::EINVAL),
            _ if nr > self.most_pages => return Err(Errno::E2BIG),
            _ => {}
        }
        for page in 0..nr {
            let at = Bfn(bfn.0 + u64::from(page));
            if op == BatchOp::UNMAP {
                match self.unmap_page(run.context, at) {
                    Err(Errno::ENOENT) if flags.contains(ElementFlags::SKIP_HOLES) => {}
                    outcome => outcome?,
                }
            } else {
                let page = run.page(element, page);
                let entry = Entry { page, access: access(flags) };
                self.map_page(run.context, at, entry)?;
            }
            element.done += 1;
            if let Some((grant, errno)) = self.bad_grant
                && (op, grant) == (BatchOp::MAP_GRANT, element.page)
            {
                return Err(errno);
            }
            self.maybe_again(element.done == nr)?;
        }
        Ok(())
    }
}

impl Run<'_> {
    /// What an element maps at its page number `page`.
    fn page(&self, element: &BatchElement, page: u32) -> Page {
        let gfn = match element.op {
            BatchOp::MAP => Gfn(element.page + u64::from(page)),
            BatchOp::MAP_LIST => {
                let word = (element.page - self.base) / 8 + u64::from(page);
                Gfn(self.words[usize::try_from(word).unwrap()])
            }
            BatchOp::MAP_GRANT => return Page::Grant(self.owner, element.page),
            op => panic!("{op} was not expected"),
        };
        if self.owner == DomId::SELF { Page::Own(gfn) } else { Page::Foreign(self.owner, gfn) }
    }
}

fn access(flags: ElementFlags) -> MapFlags {
    let mut access = MapFlags::empty();
    access.set(MapFlags::READABLE, flags.contains(ElementFlags::READ));
    access.set(MapFlags::WRITEABLE, flags.contains(ElementFlags::WRITE));
    access.set(MapFlags::CACHE, flags.contains(ElementFlags::CACHE));
    access
}
