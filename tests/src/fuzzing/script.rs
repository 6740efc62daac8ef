//! A short notation for inputs.

use pviommu_abi::{
    AllocContext, Bfn, ContextId, FreeContext, FreeFlags, Gfn, Init, MapFlags, MapPages,
    ReattachDevice, Subop, UnmapPages,
};
use zerocopy::{Immutable, IntoBytes};

use super::{
    input::{Batch, Call, Element, Input, Operation, Place},
    world::DEVICES,
};

/// A list of operations in the making.
pub(super) struct Script {
    caller: u8,
    place: Place,
    operations: Vec<Operation>,
}

impl Script {
    pub(super) fn of(domain: u8) -> Self {
        Self { caller: domain, place: Place::Aligned, operations: Vec::new() }
    }

    /// A guest that has contexts 1 and 2, and both devices of domain 1 in context 1.
    pub(super) fn attached() -> Self {
        Self::of(1).begin().attach(1, 1).attach(2, 1)
    }

    pub(super) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    pub(super) fn push(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    pub(super) fn raw(self, subop: u32, argument: &[u8]) -> Self {
        let (caller, place) = (self.caller, self.place);
        self.push(Operation::Call(Call { caller, subop, place, argument: argument.to_vec() }))
    }

    pub(super) fn call<T: IntoBytes + Immutable>(self, subop: Subop, argument: &T) -> Self {
        self.raw(subop.0, argument.as_bytes())
    }

    pub(super) fn begin(self) -> Self {
        self.raw(Subop::QUERY_CAPABILITIES.0, &[])
            .call(Subop::INIT, &Init { max_ctx_no: 6, arena_order: 6 })
            .alloc()
            .alloc()
    }

    pub(super) fn alloc(self) -> Self {
        self.call(Subop::ALLOC_CONTEXT, &AllocContext::default())
    }

    pub(super) fn attach(self, device: usize, context: u16) -> Self {
        let dev = DEVICES[device];
        let ctx_no = ContextId(context);
        let argument = ReattachDevice { ctx_no, dev, ..ReattachDevice::default() };
        self.call(Subop::REATTACH_DEVICE, &argument)
    }

    pub(super) fn map(self, gfn: u64, bfn: u64, pages: u32) -> Self {
        self.call(Subop::MAP_PAGES, &map(gfn, bfn, pages))
    }

    pub(super) fn unmap(self, bfn: u64, pages: u32) -> Self {
        self.call(Subop::UNMAP_PAGES, &unmap(bfn, pages))
    }

    pub(super) fn free(self, context: u16, free_flags: FreeFlags) -> Self {
        let ctx_no = ContextId(context);
        let argument = FreeContext { ctx_no, free_flags, ..FreeContext::default() };
        self.call(Subop::FREE_CONTEXT, &argument)
    }

    /// A batch on context 1: flags, and op, flags, bus frame, page and count of each element.
    pub(super) fn batch(self, flags: u8, elements: &[(u8, u8, u16, u8, u16)]) -> Self {
        let element = |&(op, flags, bfn, page, nr)| Element { op, flags, bfn, page, nr };
        let elements = elements.iter().map(element).collect();
        let caller = self.caller;
        self.push(Operation::Batch(Batch { caller, context: 1, flags, elements }))
    }

    /// Writes memory of the guest, from the start of page 8 on.
    pub(super) fn list(mut self, gfns: &[u64]) -> Self {
        let domain = self.caller & 1;
        for (i, gfns) in (0u16..).zip(gfns.chunks(8)) {
            let (address, bytes) = (0x8000 + i * 64, gfns.as_bytes().to_vec());
            self = self.push(Operation::Store { domain, address, bytes });
        }
        self
    }

    pub(super) fn dma(self, device: u8, write: bool, bfn: u64, bytes: u16) -> Self {
        self.push(Operation::Dma { device, write, address: bfn << 12, bytes })
    }

    pub(super) fn fail(self, step: u8, form: u8, number: u8) -> Self {
        self.push(Operation::Fail { step, form, number })
    }

    pub(super) fn manage(self, what: u8, number: u16) -> Self {
        let domain = self.caller & 1;
        self.push(Operation::Manage { what, domain, number })
    }

    pub(super) fn on(self, machine: u8) -> Input {
        Input { machine, operations: self.operations }
    }
}

pub(super) fn map(gfn: u64, bfn: u64, pages: u32) -> MapPages {
    MapPages {
        ctx_no: ContextId(1),
        gfn: Gfn(gfn),
        dfn: Bfn(bfn),
        map_flags: MapFlags::READABLE | MapFlags::WRITEABLE,
        pgsize: 4096,
        nr_pages: pages,
        ..MapPages::default()
    }
}

pub(super) fn unmap(bfn: u64, pages: u32) -> UnmapPages {
    let (ctx_no, dfn) = (ContextId(1), Bfn(bfn));
    UnmapPages { ctx_no, dfn, pgsize: 4096, nr_pages: pages, ..UnmapPages::default() }
}
