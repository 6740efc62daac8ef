use pviommu_guest::dma::{Buffer, Kernel, Piece, Pool};

#[derive(Debug)]
struct Page;

impl Buffer for Page {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        std::iter::once(Piece { address: 0x1000, length: 0x1000 })
    }
}

fn driver(pool: Pool<'_, impl Kernel, Page, 1>) {
    let block = pool.take();
    let _ = pool.unmap();
    drop(block);
}

fn main() {}
