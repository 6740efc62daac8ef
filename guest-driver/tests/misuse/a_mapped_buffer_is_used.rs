use pviommu_guest::dma::{Buffer, Device, Direction, Kernel, Piece};

#[derive(Debug)]
struct Page;

impl Buffer for Page {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        std::iter::once(Piece { address: 0x1000, length: 0x1000 })
    }
}

fn write(_: &mut Page) {}

fn driver(device: &Device<'_, impl Kernel>, mut page: Page) {
    let mapping = device.map(page, Direction::ToDevice).unwrap();
    write(&mut page);
    mapping.unmap().unwrap();
}

fn main() {}
