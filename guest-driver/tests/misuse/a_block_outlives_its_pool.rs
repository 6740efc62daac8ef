use pviommu_guest::dma::{Buffer, Block, Kernel, Piece, Pool};

#[derive(Debug)]
struct Page;

impl Buffer for Page {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        std::iter::once(Piece { address: 0x1000, length: 0x1000 })
    }
}

fn driver<'d>(pool: Pool<'d, impl Kernel, Page, 1>) -> Block<'d, 1> {
    pool.take().unwrap()
}

fn main() {}
