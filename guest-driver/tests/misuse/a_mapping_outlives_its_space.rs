use pviommu_abi::PciDevice;
use pviommu_guest::dma::{Buffer, Direction, DmaSpace, Kernel, Piece};

#[derive(Debug)]
struct Page;

impl Buffer for Page {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        std::iter::once(Piece { address: 0x1000, length: 0x1000 })
    }
}

fn driver<K: Kernel>(space: DmaSpace<'_, K>, device: PciDevice) {
    let device = space.attach(device, u64::MAX).unwrap();
    let mapping = device.map(Page, Direction::ToDevice).unwrap();
    device.detach().unwrap();
    space.close().unwrap();
    let _ = mapping.unmap();
}

fn main() {}
