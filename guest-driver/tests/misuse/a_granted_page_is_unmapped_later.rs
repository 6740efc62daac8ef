use pviommu_abi::DomId;
use pviommu_guest::dma::{Deferred, Device, Direction, Kernel, Mapping};

fn driver<'d, K: Kernel>(
    device: &'d Device<'d, K, Deferred>,
    owner: DomId,
) -> Mapping<'d, K, [u64; 1], Deferred> {
    device.map_grants(owner, [8], Direction::FromDevice).unwrap()
}

fn main() {}
