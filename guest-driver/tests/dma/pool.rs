//! Blocks of memory that stays mapped.

use pviommu_guest::dma::{Direction, DmaError, DmaStorage, Pool};

use crate::kit::{DEVICE, LOW, Memory, alive, calls, entries, open};

#[test]
fn blocks_are_distinct_and_come_back() {
    let storage = DmaStorage::<32, 1>::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let mapping = device.map(Memory::new(&[7, 3]), Direction::Both).unwrap();
    let start = mapping.address();
    // 2 pages in blocks of 96 bytes: 85 and a rest.
    let pool: Pool<'_, _, _, 2> = Pool::new(mapping, 96).unwrap();
    assert_eq!(pool.blocks(), 85);
    let before = calls();
    let mut blocks: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    let places: std::collections::BTreeSet<_> =
        blocks.iter().map(|block| block.place().address).collect();
    assert_eq!(places, (0..85).map(|block| start + 96 * block).collect());
    assert!(blocks.iter().all(|block| block.place().address - start == block.offset()));
    let gone = blocks.swap_remove(40).place();
    assert_eq!(pool.take().unwrap().place(), gone, "the only one that is free");
    drop(blocks);
    assert_eq!(calls(), before, "it stays mapped");
    assert_eq!(std::iter::from_fn(|| pool.take().map(std::mem::forget)).count(), 85);
    drop(pool.unmap().unwrap());
    assert_eq!((entries(), alive()), (vec![], 0));
}

#[test]
fn a_pool_has_no_more_blocks_than_it_has_room_for() {
    let storage = DmaStorage::<32, 1>::new();
    let space = open(&storage);
    let device = space.attach(DEVICE, LOW).unwrap();
    let map = || device.map(Memory::new(&[7, 3]), Direction::Both).unwrap();
    for (block, blocks) in [(64, 64), (128, 64), (129, 63), (0x2000, 1)] {
        let pool: Pool<'_, _, _, 1> = Pool::new(map(), block).unwrap();
        assert_eq!(pool.blocks(), blocks, "of {block} bytes");
        let taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.len() as u64, blocks);
    }
    for block in [0, 0x2001] {
        let refused = Pool::<'_, _, _, 1>::new(map(), block).unwrap_err();
        assert_eq!(refused.cause, DmaError::Buffer);
    }
    let apart = [crate::kit::page(5), pviommu_guest::dma::Piece { address: 0x9100, length: 0x100 }];
    let apart = device.map(apart, Direction::Both).unwrap();
    let refused = Pool::<'_, _, _, 1>::new(apart, 64).unwrap_err();
    assert_eq!(refused.cause, DmaError::Buffer, "more than one segment");
}
