//! `vm-memory`: the IOTLB that device models keep beside a virtual IOMMU.

use vm_memory::{GuestAddress, Permissions, iommu::Iotlb};

use super::{candidate::Candidate, work::LARGE_PAGES};

pub(crate) struct VmMemory(Iotlb);

impl VmMemory {
    pub(crate) fn new() -> Self {
        Self(Iotlb::new())
    }
}

impl Candidate for VmMemory {
    const NAME: &'static str = "vm-memory";

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        self.map_run(bfn, mfn, 1);
    }

    fn unmap_one(&mut self, bfn: u64) {
        self.unmap_run(bfn, 1);
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        let (from, to) = (GuestAddress(bfn << 12), GuestAddress(mfn << 12));
        self.0.set_mapping(from, to, (pages << 12) as usize, Permissions::ReadWrite).unwrap();
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        self.0.invalidate_mapping(GuestAddress(bfn << 12), (pages << 12) as usize);
    }

    fn map_large(&mut self, bfn: u64, mfn: u64) {
        self.map_run(bfn, mfn, LARGE_PAGES);
    }

    fn unmap_large(&mut self, bfn: u64) {
        self.unmap_run(bfn, LARGE_PAGES);
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        let at = GuestAddress(bfn << 12);
        let mut found = Iotlb::lookup(&self.0, at, 1, Permissions::Read).ok()?;
        found.next().map(|range| range.base.0 >> 12)
    }
}
