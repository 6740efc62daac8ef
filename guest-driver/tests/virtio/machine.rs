//! A hypervisor that keeps what is mapped, one for each thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pviommu_abi::{
    Background, Bfn, Capabilities, ContextId, Errno, Gfn, MapFlags, MapPages, QueryLimits,
    QueryReserved, ReservedKind, ReservedRange, Subop, UnmapPages,
};
use pviommu_guest::hypercall::check;
use pviommu_guest::{DeviceSpace, Hypercall, IommuClient, SpaceError};
use zerocopy::{FromBytes, IntoBytes};

pub(crate) const CONTEXT: ContextId = ContextId(3);
/// The greatest address of a device with 32 address bits.
pub(crate) const REACH_32: u64 = 0xffff_ffff;

/// What is mapped, and what is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) entries: BTreeMap<Bfn, (Gfn, MapFlags)>,
    pub(crate) maps: u32,
    pub(crate) unmaps: u32,
    /// Only the subops of RFC v7.
    pub(crate) v7: bool,
    /// The aperture, if there are limits.
    pub(crate) aperture: Option<(Bfn, Bfn)>,
    pub(crate) reserved: Vec<(Bfn, Bfn)>,
    /// Maps stop at this guest frame, with the error.
    pub(crate) bad_frame: Option<(Gfn, Errno)>,
    /// Unmaps fail.
    pub(crate) unmap_fails: Option<Errno>,
    /// So many calls are to be issued again first, each after one page.
    pub(crate) retries: u32,
}

thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::default();
}

/// Looks at this thread's machine, or changes it.
pub(crate) fn machine<R>(call: impl FnOnce(&mut Machine) -> R) -> R {
    MACHINE.with_borrow_mut(call)
}

/// Calls to this thread's machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call;

impl Hypercall for Call {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], buffer: Option<&mut [u8]>) -> i64 {
        assert_eq!(check(subop, arg, buffer.as_deref()), Ok(()));
        machine(|machine| machine.serve(subop, arg, buffer)).err().map_or(0, Errno::to_ret)
    }
}

pub(crate) fn space(reach: u64) -> Result<DeviceSpace<Call, 16>, SpaceError> {
    DeviceSpace::new(IommuClient::new(Call), CONTEXT, reach)
}

impl Machine {
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
            Subop::QUERY_CAPABILITIES => {
                let call = Capabilities::mut_from_bytes(arg).unwrap();
                (call.max_iova_addr, call.pgsize_mask) = ((1 << 39) - 1, 0x1000);
                Ok(())
            }
            Subop::QUERY_LIMITS => self.limits(QueryLimits::mut_from_bytes(arg).unwrap()),
            Subop::QUERY_RESERVED => {
                self.tell_reserved(QueryReserved::mut_from_bytes(arg).unwrap(), buffer.unwrap())
            }
            Subop::MAP_PAGES => self.map(MapPages::mut_from_bytes(arg).unwrap()),
            Subop::UNMAP_PAGES => self.unmap(UnmapPages::mut_from_bytes(arg).unwrap()),
            subop => panic!("{subop} was not expected"),
        }
    }

    fn limits(&self, call: &mut QueryLimits) -> Result<(), Errno> {
        assert_eq!(call.ctx_id, u32::from(CONTEXT));
        let widest = (Bfn(0), Bfn((1 << 36) - 1));
        (call.aperture_first, call.aperture_last) = self.aperture.unwrap_or(widest);
        (call.page_sizes, call.background) = (0x1000, Background::FAULT);
        Ok(())
    }

    fn tell_reserved(&self, call: &mut QueryReserved, buffer: &mut [u8]) -> Result<(), Errno> {
        assert_eq!(call.ctx_id, u32::from(CONTEXT));
        let room = usize::try_from(call.nr_entries).unwrap();
        call.nr_entries = u32::try_from(self.reserved.len()).unwrap();
        if self.reserved.len() > room {
            return Err(Errno::ENOBUFS);
        }
        for (index, (first, last)) in self.reserved.iter().copied().enumerate() {
            let kind = ReservedKind::RESERVED;
            let range = ReservedRange { first, last, kind, ..ReservedRange::default() };
            let size = size_of::<ReservedRange>();
            buffer[index * size..(index + 1) * size].copy_from_slice(range.as_bytes());
        }
        Ok(())
    }

    fn map(&mut self, call: &mut MapPages) -> Result<(), Errno> {
        assert_eq!((call.ctx_no, call.pgsize), (CONTEXT, 0x1000));
        self.maps += 1;
        for page in 0..u64::from(call.nr_pages) {
            let (bfn, gfn) = (Bfn(call.dfn.0 + page), Gfn(call.gfn.0 + page));
            if let Some((_, errno)) = self.bad_frame.filter(|(bad, _)| *bad == gfn) {
                return Err(errno);
            }
            if self.entries.contains_key(&bfn) {
                return Err(Errno::EADDRINUSE);
            }
            self.entries.insert(bfn, (gfn, call.map_flags));
            call.mapped += 1;
            self.maybe_again(call.mapped == call.nr_pages)?;
        }
        Ok(())
    }

    fn unmap(&mut self, call: &mut UnmapPages) -> Result<(), Errno> {
        assert_eq!((call.ctx_no, call.pgsize), (CONTEXT, 0x1000));
        self.unmaps += 1;
        for page in 0..u64::from(call.nr_pages) {
            if let Some(errno) = self.unmap_fails {
                return Err(errno);
            }
            self.entries.remove(&Bfn(call.dfn.0 + page)).ok_or(Errno::ENOENT)?;
            call.unmapped += 1;
            self.maybe_again(call.unmapped == call.nr_pages)?;
        }
        Ok(())
    }

    fn maybe_again(&mut self, is_last: bool) -> Result<(), Errno> {
        if is_last || self.retries == 0 {
            return Ok(());
        }
        self.retries -= 1;
        Err(Errno::EAGAIN)
    }
}
