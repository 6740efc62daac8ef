//! What a driver does less often: memory that is shared for long, pages of others, pools, and ranges that are not to be used.

use pviommu_abi::{Bfn, DomId};
use pviommu_guest::dma::{Buffer, Direction, Pool};

use super::{
    driver::{Driver, Live, REUSED, Reach},
    memory::{Memory, frames},
};

/// Somebody else.
const OTHER: DomId = DomId(9);

impl Driver<'_> {
    pub(super) fn coherent(&mut self, which: u8, number: u16) -> String {
        let buffer = which % REUSED;
        let Some(place) = self.free.iter().position(|it| *it == buffer) else {
            return "it is mapped".into();
        };
        self.free.swap_remove(place);
        self.plain &= number & 1 == 0;
        let (before, memory) = (self.state(), Memory::buffer(self.liar, buffer));
        let mapped = if number & 1 == 0 {
            self.devices.strict.coherent(memory).map(Live::Strict)
        } else {
            self.devices.deferred.coherent(memory).map(Live::Deferred)
        };
        self.hold(before, (frames(buffer), 3), mapped)
    }

    pub(super) fn map_grants(&mut self, number: u16) -> String {
        let count = u64::from(number % 132);
        let (first, before) = (self.grants, self.state());
        self.grants += 256;
        let memory = Memory::grants(self.liar, first, count);
        let mapped =
            self.devices.strict.map_grants(OTHER, memory, Direction::Both).map(Live::Strict);
        self.hold(before, ((first..first + count).collect(), 3), mapped)
    }

    pub(super) fn map_foreign(&mut self, which: u8) -> String {
        let buffer = which % REUSED;
        let Some(place) = self.free.iter().position(|it| *it == buffer) else {
            return "it is mapped".into();
        };
        self.free.swap_remove(place);
        let (before, memory) = (self.state(), Memory::buffer(self.liar, buffer));
        let mapped =
            self.devices.strict.map_foreign(OTHER, memory, Direction::ToDevice).map(Live::Strict);
        self.hold(before, (frames(buffer), 1), mapped)
    }

    /// A strict mapping is made a pool of blocks, and unmapped.
    pub(super) fn pool(&mut self, number: u16) -> String {
        let is_strict = |(_, live): &(_, Live<'_>)| matches!(live, Live::Strict(_));
        let Some(place) = self.live.iter().position(is_strict) else {
            return "there is none".into();
        };
        let (reach, Live::Strict(mapping)) = self.live.swap_remove(place) else {
            unreachable!("it is strict")
        };
        let first = mapping.address();
        let pages = mapping.buffer().pieces().count() as u64;
        let pool = match Pool::<_, _, 4>::new(mapping, number.into()) {
            Ok(pool) => pool,
            Err(still) => {
                self.live.push((reach, Live::Strict(still.mapping)));
                return format!("{:?}", still.cause);
            }
        };
        let blocks: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let mut places: Vec<_> = blocks.iter().map(|block| block.place()).collect();
        places.sort_by_key(|place| place.address);
        let apart = |pair: &[pviommu_guest::dma::Segment]| {
            pair[0].address + pair[0].length <= pair[1].address
        };
        assert!(places.windows(2).all(apart), "blocks overlap: {places:x?}");
        let within = places.iter().all(|place| {
            place.address >= first && place.address + place.length <= first + pages * 4096
        });
        assert!(within, "a block is beyond the pool: {places:x?}");
        assert_eq!(blocks.len() as u64, pool.blocks());
        drop(blocks);
        match pool.unmap() {
            Ok(memory) => {
                self.is_back(&memory.pages);
                "unmapped".into()
            }
            Err(still) => {
                self.live.push((Reach::default(), Live::Strict(still.mapping)));
                format!("{:?}", still.cause)
            }
        }
    }

    pub(super) fn reserve(&mut self, which: u8, number: u16) -> String {
        let before = self.space.free_pages();
        let (first, last) = (u64::from(number), u64::from(number) + u64::from(which & 0x1f));
        let told = self.space.reserve(Bfn(first), Bfn(last));
        self.reserved += before - self.space.free_pages();
        format!("{told:?}")
    }
}
