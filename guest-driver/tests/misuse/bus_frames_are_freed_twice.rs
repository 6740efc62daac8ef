use pviommu_guest::{BfnAllocator, BfnRange};

fn driver(bfns: &BfnAllocator<'_>, range: BfnRange) {
    let _ = bfns.free(0, range);
    let _ = bfns.free(0, range);
}

fn main() {}
