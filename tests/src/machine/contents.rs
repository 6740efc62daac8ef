//! What a page holds. Most pages are written in one or two places, if at all, so a page is a
//! list of words over a background until it has too many of them.

use super::frames::PAGE_SIZE;

/// Words a page holds as a list; 8 bytes each.
const LISTED: usize = 16;

const WORD: usize = 8;

/// The bytes of a page.
#[derive(Debug)]
pub(crate) enum Contents {
    /// This byte everywhere, but for these words: their place, and what they hold.
    Words(u8, Vec<(u16, [u8; WORD])>),
    /// All of them.
    Whole(Box<[u8; PAGE_SIZE]>),
}

impl Default for Contents {
    fn default() -> Self {
        Self::filled(0)
    }
}

impl Contents {
    /// A page of this byte.
    pub(crate) const fn filled(byte: u8) -> Self {
        Self::Words(byte, Vec::new())
    }

    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) {
        match self {
            Self::Whole(page) => to.copy_from_slice(&page[offset..offset + to.len()]),
            Self::Words(background, words) => {
                assert!(offset + to.len() <= PAGE_SIZE, "a read over the end of a page");
                to.fill(*background);
                for (place, word) in words {
                    let start = usize::from(*place) * WORD;
                    // What the word and the bytes asked for have in common, in page offsets.
                    let (first, end) = (start.max(offset), (start + WORD).min(offset + to.len()));
                    if first < end {
                        to[first - offset..end - offset]
                            .copy_from_slice(&word[first - start..end - start]);
                    }
                }
            }
        }
    }

    pub(crate) fn write(&mut self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= PAGE_SIZE, "a write over the end of a page");
        let places = offset / WORD..(offset + from.len()).div_ceil(WORD);
        if let Self::Words(_, words) = self
            && words.len() + places.len() > LISTED
        {
            let mut page = Box::new([0; PAGE_SIZE]);
            self.read(0, &mut page[..]);
            *self = Self::Whole(page);
        }
        match self {
            Self::Whole(page) => page[offset..offset + from.len()].copy_from_slice(from),
            Self::Words(background, words) => {
                for place in places {
                    let start = place * WORD;
                    let word = Self::word(words, place as u16, *background);
                    let (first, end) = (start.max(offset), (start + WORD).min(offset + from.len()));
                    word[first - start..end - start]
                        .copy_from_slice(&from[first - offset..end - offset]);
                }
            }
        }
    }

    /// The word at `place`, put into the list if it was background.
    fn word(words: &mut Vec<(u16, [u8; WORD])>, place: u16, background: u8) -> &mut [u8; WORD] {
        let at = words.iter().position(|(its, _)| *its == place).unwrap_or_else(|| {
            words.push((place, [background; WORD]));
            words.len() - 1
        });
        &mut words[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_it_was_written_whichever_form_it_has() {
        for background in [0, 0xd5] {
            let mut page = Contents::filled(background);
            let mut model = vec![background; PAGE_SIZE];
            let mut x = 12345_usize;
            for step in 0..200_usize {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let offset = (x >> 33) % PAGE_SIZE;
                // First short writes, which stay in the list, then longer ones.
                let bytes = ((x >> 20) % (1 + step)).min(PAGE_SIZE - offset);
                let data: Vec<u8> = (0..bytes).map(|i| (x >> 7).wrapping_add(i) as u8).collect();
                page.write(offset, &data);
                model[offset..offset + bytes].copy_from_slice(&data);
                let mut seen = vec![0; PAGE_SIZE];
                page.read(0, &mut seen);
                assert_eq!(seen, model);
                let mut part = vec![0; bytes];
                page.read(offset, &mut part);
                assert_eq!(part, data);
            }
            assert!(matches!(page, Contents::Whole(_)));
        }
    }
}
