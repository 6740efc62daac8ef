use pviommu_guest::dma::{Buffer, Device, Direction, Kernel, Piece};

#[derive(Debug)]
struct Page;

impl Buffer for Page {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        std::iter::once(Piece { address: 0x1000, length: 0x1000 })
    }
}

fn driver(device: &Device<'_, impl Kernel>, page: Page) {
    let mapping = device.map(page, Direction::ToDevice).unwrap();
    let _ = mapping.unmap();
    let _ = mapping.unmap();
}

fn main() {}
