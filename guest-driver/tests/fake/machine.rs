//! The machine: its contexts, what it is told to do wrong, and the calls of RFC v7.

use std::collections::{BTreeMap, BTreeSet};

use pviommu_abi::{
    AllocContext, Batch, BatchElement, Bfn, Capabilities, CapabilityFlags, ContextId, DeviceFlags,
    DomId, Errno, FlushPages, FreeContext, FreeFlags, Gfn, MapPages, PciDevice, QueryDevice,
    QueryLimits, QueryReserved, ReattachDevice, ReservedRange, Subop, UnmapPages,
};
use zerocopy::FromBytes;

use super::tables::{Context, Entry, Page};
use super::{DEVICE, ret};

/// A device of the domain.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: PciDevice,
    pub(crate) context: ContextId,
    pub(crate) state: DeviceFlags,
    /// Those with the same number move together.
    pub(crate) group: u64,
    pub(crate) reserved: Vec<ReservedRange>,
}

/// How often what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) hypercalls: u32,
    pub(crate) maps: u32,
    pub(crate) unmaps: u32,
    pub(crate) batches: u32,
    /// Elements of all batches.
    pub(crate) elements: u32,
    pub(crate) flushes: u32,
}

/// An answer that the ABI does not allow. What was asked for is done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// Returns what is no status.
    Status,
    /// A count or another field is impossible; of a batch, how many elements are finished.
    Field,
    /// Of a batch: the first element did more pages than it was asked for.
    Element,
    /// Of a batch: all is done, and then the call has failed, and its second element.
    Call,
}

/// What is mapped, and what is to go wrong.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) contexts: BTreeMap<ContextId, Context>,
    pub(crate) devices: Vec<Peer>,
    pub(crate) now_us: u64,
    pub(crate) counts: Counts,
    /// The elements of the last batch, as they were asked for.
    pub(crate) last_batch: Vec<BatchElement>,

    /// Only the subops of RFC v7.
    pub(crate) v7: bool,
    /// Somebody has set the service up.
    pub(crate) is_set_up: bool,
    pub(crate) capabilities: CapabilityFlags,
    /// Contexts beside the default one.
    pub(crate) contexts_allowed: u16,
    pub(crate) aperture: (Bfn, Bfn),
    /// What RFC v7 tells of the aperture.
    pub(crate) max_iova_addr: u64,
    /// What the machine reserves in each context.
    pub(crate) reserved: Vec<ReservedRange>,
    pub(crate) most_elements: u32,
    pub(crate) most_pages: u32,
    /// Guest frames of other domains can be mapped.
    pub(crate) is_hardware_domain: bool,
    pub(crate) grants: BTreeSet<(DomId, u64)>,

    /// Lists of a batch come with offsets, not with addresses.
    pub(crate) offsets: bool,
    /// Maps stop at this guest frame, with the error.
    pub(crate) bad_frame: Option<(Gfn, Errno)>,
    /// Maps fail with `ENOMEM` once a context has so many pages mapped.
    pub(crate) most_entries: Option<usize>,
    /// Elements that map this grant fail although it is mapped, as those do whose flush fails.
    pub(crate) bad_grant: Option<(u64, Errno)>,
    /// Unmaps fail, and change nothing.
    pub(crate) unmap_fails: Option<Errno>,
    /// Flushes fail, and so does what needs one.
    pub(crate) flush_fails: Option<Errno>,
    /// Calls of this subop fail, and change nothing.
    pub(crate) refuses: Option<(Subop, Errno)>,
    /// So many calls or elements are to be issued again first, each after one page.
    pub(crate) retries: u32,
    /// The next call of this subop is answered so.
    pub(crate) garbage: Option<(Subop, Garbage)>,
}

impl Default for Machine {
    fn default() -> Self {
        let device = Peer {
            name: DEVICE,
            context: ContextId::DEFAULT,
            state: DeviceFlags::BEHIND_IOMMU | DeviceFlags::INTERRUPTS_ISOLATED,
            group: 1,
            reserved: vec![],
        };
        Self {
            contexts: BTreeMap::from([(ContextId::DEFAULT, Context::default())]),
            devices: vec![device],
            now_us: 1,
            counts: Counts::default(),
            last_batch: vec![],
            v7: false,
            is_set_up: false,
            capabilities: CapabilityFlags::BATCH,
            contexts_allowed: 4,
            aperture: (Bfn(0), Bfn((1 << 36) - 1)),
            max_iova_addr: (1 << 39) - 1,
            reserved: vec![],
            most_elements: 128,
            most_pages: 1 << 16,
            is_hardware_domain: false,
            grants: BTreeSet::new(),
            offsets: false,
            bad_frame: None,
            most_entries: None,
            bad_grant: None,
            unmap_fails: None,
            flush_fails: None,
            refuses: None,
            retries: 0,
            garbage: None,
        }
    }
}

/// The structure of a call.
pub(super) fn read<T: FromBytes + zerocopy::IntoBytes + zerocopy::KnownLayout>(
    arg: &mut [u8],
) -> &mut T {
    T::mut_from_bytes(arg).unwrap()
}

impl Machine {
    /// Answers a call, or lies.
    pub(super) fn answer(
        &mut self,
        subop: Subop,
        arg: &mut [u8],
        mut buffer: Option<&mut [u8]>,
    ) -> i64 {
        self.counts.hypercalls += 1;
        if let Some((_, errno)) = self.refuses.filter(|(refused, _)| *refused == subop) {
            return errno.to_ret();
        }
        let answer = ret(self.serve(subop, arg, buffer.as_deref_mut()));
        match self.garbage.take_if(|(lied_to, _)| *lied_to == subop) {
            Some((_, garbage)) => lie(garbage, answer, subop, arg, buffer),
            None => answer,
        }
    }

    fn serve(
        &mut self,
        subop: Subop,
        arg: &mut [u8],
        buffer: Option<&mut [u8]>,
    ) -> Result<(), Errno> {
        if self.v7 && subop.is_extension() {
            return Err(Errno::EOPNOTSUPP);
        }
        match subop {
            Subop::QUERY_CAPABILITIES => self.tell_capabilities(read(arg)),
            Subop::INIT if self.is_set_up => return Err(Errno::EACCES),
            Subop::INIT => self.is_set_up = true,
            Subop::ALLOC_CONTEXT => return self.alloc_context(read(arg)),
            Subop::FREE_CONTEXT => return self.free_context(read(arg)),
            Subop::REATTACH_DEVICE => return self.reattach(read(arg)),
            Subop::MAP_PAGES => return self.map(read(arg)),
            Subop::UNMAP_PAGES => return self.unmap(read(arg)),
            Subop::FLUSH_PAGES => return self.flush(read::<FlushPages>(arg).ctx_no),
            Subop::QUERY_LIMITS => return self.tell_limits(read(arg)),
            Subop::QUERY_RESERVED => return self.tell_reserved(read(arg), buffer.unwrap()),
            Subop::QUERY_DEVICE => return self.tell_device(read(arg)),
            Subop::BATCH => return self.batch(arg, buffer.unwrap()),
            subop => panic!("{subop} was not expected"),
        }
        Ok(())
    }

    fn alloc_context(&mut self, call: &mut AllocContext) -> Result<(), Errno> {
        let free = |id: &u16| !self.contexts.contains_key(&ContextId(*id));
        let id = (1..=self.contexts_allowed).find(free).ok_or(Errno::ENOSPC)?;
        call.ctx_no = ContextId(id);
        self.contexts.insert(call.ctx_no, Context::default());
        Ok(())
    }

    fn free_context(&mut self, call: &FreeContext) -> Result<(), Errno> {
        if call.ctx_no == ContextId::DEFAULT {
            return Err(Errno::EINVAL);
        }
        for device in self.devices.iter_mut().filter(|device| device.context == call.ctx_no) {
            if !call.free_flags.contains(FreeFlags::REATTACH_DEFAULT) {
                return Err(Errno::EBUSY);
            }
            device.context = ContextId::DEFAULT;
        }
        self.contexts.remove(&call.ctx_no).map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn reattach(&mut self, call: &ReattachDevice) -> Result<(), Errno> {
        let group = self.device(call.dev)?.group;
        let to = self.contexts.get(&call.ctx_no).ok_or(Errno::ENOENT)?;
        let moved = self.devices.iter().filter(|device| device.group == group);
        let mut reserved = moved.flat_map(|device| &device.reserved);
        if reserved.any(|range| to.entries.range(range.first..=range.last).next().is_some()) {
            return Err(Errno::EADDRINUSE);
        }
        for device in self.devices.iter_mut().filter(|device| device.group == group) {
            device.context = call.ctx_no;
        }
        Ok(())
    }

    pub(super) fn device(&self, name: PciDevice) -> Result<&Peer, Errno> {
        self.devices.iter().find(|device| device.name == name).ok_or(Errno::ENODEV)
    }

    fn map(&mut self, call: &mut MapPages) -> Result<(), Errno> {
        assert_eq!(call.pgsize, 0x1000);
        self.counts.maps += 1;
        for page in 0..u64::from(call.nr_pages) {
            let entry = Entry { page: Page::Own(Gfn(call.gfn.0 + page)), access: call.map_flags };
            self.map_page(call.ctx_no, Bfn(call.dfn.0 + page), entry)?;
            call.mapped += 1;
            self.maybe_again(call.mapped == call.nr_pages)?;
        }
        Ok(())
    }

    fn unmap(&mut self, call: &mut UnmapPages) -> Result<(), Errno> {
        assert_eq!(call.pgsize, 0x1000);
        self.counts.unmaps += 1;
        let mut outcome = Ok(());
        for page in 0..u64::from(call.nr_pages) {
            outcome = self.unmap_page(call.ctx_no, Bfn(call.dfn.0 + page));
            if outcome.is_ok() {
                call.unmapped += 1;
                outcome = self.maybe_again(call.unmapped == call.nr_pages);
            }
            if outcome.is_err() {
                break;
            }
        }
        if call.unmapped > 0 {
            self.flush(call.ctx_no)?;
        }
        outcome
    }

    /// Whether to end after this page, to be issued again.
    pub(super) fn maybe_again(&mut self, is_last: bool) -> Result<(), Errno> {
        if is_last || self.retries == 0 {
            return Ok(());
        }
        self.retries -= 1;
        Err(Errno::EAGAIN)
    }
}

fn lie(
    garbage: Garbage,
    answer: i64,
    subop: Subop,
    arg: &mut [u8],
    buffer: Option<&mut [u8]>,
) -> i64 {
    match (garbage, subop) {
        (Garbage::Status, _) => return 7,
        (Garbage::Element, Subop::BATCH) => {
            let (element, _) = BatchElement::mut_from_prefix(buffer.unwrap()).unwrap();
            element.done = element.nr + 1;
        }
        (Garbage::Call, Subop::BATCH) => {
            let ([_, second], _) = <[BatchElement; 2]>::mut_from_prefix(buffer.unwrap()).unwrap();
            (second.status, second.done) = (Errno::EIO.to_status(), 0);
            return Errno::EIO.to_ret();
        }
        (_, Subop::QUERY_CAPABILITIES) => read::<Capabilities>(arg).pgsize_mask = 0,
        (_, Subop::ALLOC_CONTEXT) => read::<AllocContext>(arg).ctx_no = ContextId::DEFAULT,
        (_, Subop::MAP_PAGES) => read::<MapPages>(arg).mapped += 1,
        (_, Subop::UNMAP_PAGES) => read::<UnmapPages>(arg).unmapped += 1,
        (_, Subop::QUERY_LIMITS) => read::<QueryLimits>(arg).page_sizes = 0,
        (_, Subop::QUERY_RESERVED) => read::<QueryReserved>(arg).nr_entries = u32::MAX,
        (_, Subop::QUERY_DEVICE) => {
            read::<QueryDevice>(arg).state = DeviceFlags::all().complement()
        }
        (_, Subop::BATCH) => read::<Batch>(arg).nr_done += 129,
        (garbage, subop) => panic!("{subop} has no {garbage:?}"),
    }
    answer
}
