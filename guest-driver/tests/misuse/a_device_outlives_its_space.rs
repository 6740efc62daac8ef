use pviommu_abi::PciDevice;
use pviommu_guest::dma::{DmaSpace, Kernel};

fn driver(space: DmaSpace<'_, impl Kernel>, device: PciDevice) {
    let device = space.attach(device, u64::MAX).unwrap();
    space.close().unwrap();
    let _ = device.isolation();
}

fn main() {}
