//! A hypervisor that keeps its word: it maps what it is asked to, in one context, and says what it did.

use std::collections::BTreeMap;

use pviommu_abi::{
    AccessFlags, AllocContext, AllocContextExt, Background, Batch, BatchElement, BatchFlags,
    BatchOp, Bfn, Capabilities, CapabilityFlags, ContextId, DeviceFlags, ElementFlags, Errno,
    FaultRecord, Gfn, Lookup, LookupResult, MapPages, Origin, QueryDevice, QueryLimits,
    QueryReserved, ReadFaults, RemoteCmd, ReservedKind, ReservedRange, Subop, UnmapPages,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{ADDRESS, FAR};

/// What it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    /// More than PV-IOMMU RFC v7.
    pub(super) extensions: bool,
    pub(super) elements: u32,
    pub(super) element_pages: u32,
    pub(super) last: Bfn,
}

/// What it knows.
#[derive(Clone, Debug)]
pub(super) struct Honest {
    pub(super) means: Means,
    pub(super) mapped: BTreeMap<u64, u64>,
    contexts: u16,
}

/// The ranges that are reserved, in their order.
pub(super) const RESERVED: [(u64, u64); 2] = [(0x40, 0x47), (0x44, 0x60)];

/// How much of a call is done: all, or so many pages or elements.
pub(super) type Part = Option<u32>;

impl Honest {
    pub(super) const fn new(means: Means) -> Self {
        Self { means, mapped: BTreeMap::new(), contexts: 0 }
    }

    /// Serves a call, or the first `part` of it.
    pub(super) fn serve(
        &mut self,
        subop: Subop,
        arg: &mut [u8],
        buffer: Option<&mut [u8]>,
        part: Part,
    ) -> i64 {
        let served = self.try_serve(subop, arg, buffer.unwrap_or_default(), part);
        served.map_or_else(Errno::to_ret, |()| 0)
    }

    fn try_serve(
        &mut self,
        subop: Subop,
        arg: &mut [u8],
        buffer: &mut [u8],
        part: Part,
    ) -> Result<(), Errno> {
        if subop.is_extension() && !self.means.extensions {
            return Err(Errno::EOPNOTSUPP);
        }
        match subop {
            Subop::QUERY_CAPABILITIES => self.capabilities(of(arg)),
            Subop::ALLOC_CONTEXT => of::<AllocContext>(arg).ctx_no = self.context(),
            Subop::ALLOC_CONTEXT_EXT => {
                of::<AllocContextExt>(arg).ctx_id = self.context().0.into();
            }
            Subop::MAP_PAGES => return self.map(of(arg), part),
            Subop::UNMAP_PAGES => return self.unmap(of(arg), part),
            Subop::REMOTE_CMD => {
                let inner = Subop(of::<RemoteCmd>(arg).subop.into());
                return self.try_serve(inner, buffer, &mut [], part);
            }
            Subop::BATCH => return self.batch(of(arg), buffer, part),
            Subop::QUERY_RESERVED => return reserved(of(arg), buffer),
            Subop::LOOKUP => return self.lookup(of(arg)),
            Subop::QUERY_DEVICE => {
                let told = of::<QueryDevice>(arg);
                told.state = DeviceFlags::BEHIND_IOMMU | DeviceFlags::COHERENT;
                (told.group, told.moves_with, told.ctx_id) = (1, 1, 1);
            }
            Subop::READ_FAULTS => {
                let told = of::<ReadFaults>(arg);
                told.nr_records = told.nr_records.min(2);
                let record = FaultRecord { count: 1, ctx_id: 1, ..FaultRecord::default() };
                let room = buffer.chunks_mut(size_of::<FaultRecord>());
                room.take(told.nr_records as usize)
                    .for_each(|room| room.copy_from_slice(record.as_bytes()));
            }
            Subop::QUERY_LIMITS => {
                let told = of::<QueryLimits>(arg);
                (told.aperture_first, told.aperture_last) = (Bfn(0), self.means.last);
                (told.page_sizes, told.background) = (4096, Background::FAULT);
                told.max_batch_ops = self.means.elements;
                told.max_element_pages = self.means.element_pages;
            }
            _ => {}
        }
        Ok(())
    }

    fn capabilities(&self, told: &mut Capabilities) {
        told.max_iova_addr = (self.means.last.0 + 1) * 4096 - 1;
        (told.pgsize_mask, told.max_ctx_no) = (4096, 8);
        told.cap_flags = CapabilityFlags::CACHE;
        told.cap_flags.set(CapabilityFlags::BATCH, self.means.extensions);
    }

    fn context(&mut self) -> ContextId {
        self.contexts = self.contexts % 8 + 1;
        ContextId(self.contexts)
    }

    fn map(&mut self, asked: &mut MapPages, part: Part) -> Result<(), Errno> {
        let pages = asked.nr_pages.min(part.unwrap_or(u32::MAX));
        for page in 0..pages.into() {
            self.map_one(asked.dfn.0 + page, asked.gfn.0 + page)?;
            asked.mapped += 1;
        }
        if pages == asked.nr_pages { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    fn map_one(&mut self, bfn: u64, gfn: u64) -> Result<(), Errno> {
        if bfn > self.means.last.0 && bfn < FAR {
            return Err(Errno::EINVAL);
        }
        if self.mapped.contains_key(&bfn) {
            return Err(Errno::EADDRINUSE);
        }
        self.mapped.insert(bfn, gfn);
        Ok(())
    }

    fn unmap(&mut self, asked: &mut UnmapPages, part: Part) -> Result<(), Errno> {
        let pages = asked.nr_pages.min(part.unwrap_or(u32::MAX));
        for page in 0..pages.into() {
            self.mapped.remove(&(asked.dfn.0 + page)).ok_or(Errno::ENOENT)?;
            asked.unmapped += 1;
        }
        if pages == asked.nr_pages { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    fn batch(&mut self, asked: &mut Batch, buffer: &mut [u8], part: Part) -> Result<(), Errno> {
        let lists = buffer.to_vec();
        let run_all = asked.flags.contains(BatchFlags::RUN_ALL);
        let most = asked.nr_ops.min(part.unwrap_or(u32::MAX));
        for chunk in buffer.chunks_mut(size_of::<BatchElement>()).take(most as usize) {
            let element = of::<BatchElement>(chunk);
            let outcome = self.element(element, &lists);
            element.status = outcome.map_or_else(|errno| errno.to_ret() as i32, |()| 0);
            asked.nr_done += 1;
            if outcome.is_err() && !run_all {
                return Ok(());
            }
        }
        if most == asked.nr_ops { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    fn element(&mut self, element: &mut BatchElement, lists: &[u8]) -> Result<(), Errno> {
        let (bfn, page) = (element.bfn.0, element.page);
        for number in 0..u64::from(element.nr) {
            match element.op {
                BatchOp::MAP => self.map_one(bfn + number, page + number)?,
                BatchOp::MAP_GRANT => self.map_one(bfn, page)?,
                BatchOp::MAP_LIST => {
                    let at = (page - ADDRESS + number * 8) as usize;
                    let gfn = u64::read_from_bytes(&lists[at..at + 8]).expect("8 bytes");
                    self.map_one(bfn + number, gfn)?;
                }
                BatchOp::UNMAP => {
                    let was = self.mapped.remove(&(bfn + number));
                    let may = element.flags.contains(ElementFlags::SKIP_HOLES);
                    was.map(drop).or(may.then_some(())).ok_or(Errno::ENOENT)?;
                }
                BatchOp::LOOKUP => {
                    element.page = *self.mapped.get(&bfn).ok_or(Errno::ENOENT)?;
                    element.flags = ElementFlags::READ;
                }
                _ => {}
            }
            element.done += 1;
        }
        Ok(())
    }

    fn lookup(&self, asked: &mut Lookup) -> Result<(), Errno> {
        let gfn = *self.mapped.get(&asked.bfn.0).ok_or(Errno::ENOENT)?;
        (asked.gfn, asked.result) = (Gfn(gfn), LookupResult::GFN);
        (asked.access, asked.origin) = (AccessFlags::READ, Origin::GUEST);
        Ok(())
    }
}

fn reserved(asked: &mut QueryReserved, buffer: &mut [u8]) -> Result<(), Errno> {
    let room = asked.nr_entries as usize;
    asked.nr_entries = RESERVED.len() as u32;
    let size = size_of::<ReservedRange>();
    for (place, (first, last)) in buffer.chunks_mut(size).take(room).zip(RESERVED) {
        let (first, last) = (Bfn(first), Bfn(last));
        let kind = ReservedKind::RESERVED;
        let range = ReservedRange { first, last, kind, ..ReservedRange::default() };
        place.copy_from_slice(range.as_bytes());
    }
    if RESERVED.len() <= room { Ok(()) } else { Err(Errno::ENOBUFS) }
}

/// The structure that these bytes are.
pub(super) fn of<T: FromBytes + IntoBytes + zerocopy::KnownLayout>(bytes: &mut [u8]) -> &mut T {
    T::mut_from_bytes(bytes).expect("an argument of its subop")
}
