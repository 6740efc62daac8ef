//! Which pages of a range are tried, and with what: all chance in a replay comes from here.

/// Ranges up to this many pages are tried page by page.
const ALL: u64 = 512;
/// Random pages tried in a longer range.
const RANDOM: u64 = 62;
/// Pages in 2 MiB: a longer range is tried at each such boundary, where a large leaf begins.
const LARGE: u64 = 512;

/// A small generator, the same everywhere (splitmix64).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
    }

    /// Offsets of the pages to try in a range of `pages` pages that begins at frame `first`.
    pub(super) fn pages(&mut self, first: u64, pages: u64) -> Vec<u64> {
        if pages <= ALL {
            return (0..pages).collect();
        }
        let to_boundary = first.next_multiple_of(LARGE) - first;
        let mut chosen = vec![0, pages - 1];
        chosen.extend((to_boundary..pages).step_by(LARGE as usize));
        chosen.extend((0..RANDOM).map(|_| self.below(pages)));
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// About `most` of `items`, spread over all of them.
    pub(super) fn some<T: Copy>(&mut self, items: impl Iterator<Item = T>, most: usize) -> Vec<T> {
        let all: Vec<T> = items.collect();
        let step = all.len().div_ceil(most).max(1);
        let start = self.below(step as u64) as usize;
        all.into_iter().skip(start).step_by(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ranges_are_tried_at_the_ends_and_at_each_large_boundary() {
        let mut chance = Chance::new(1);
        assert_eq!(chance.pages(7, 512).len(), 512);
        let chosen = chance.pages(510, 2048);
        for offset in [0, 2, 514, 1026, 1538, 2047] {
            assert!(chosen.contains(&offset), "offset {offset} is not tried");
        }
        assert!(chosen.len() > 50 && chosen.iter().all(|offset| *offset < 2048));
    }
}
