//! The image of a guest: an ELF file for 64-bit x86, as the loader passed it.
//!
//! It is our own, but read as if it were not: what does not fit is `None`.

/// A part of it that is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'i> {
    /// The guest address it is for.
    pub address: u64,
    /// Its bytes.
    pub bytes: &'i [u8],
    /// How many there are in memory: behind its bytes, zeros.
    pub length: u64,
}

/// An image.
#[derive(Clone, Copy, Debug)]
pub struct Image<'i> {
    file: &'i [u8],
    /// Where it begins.
    pub entry: u64,
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    at(bytes, offset).map(u64::from_le_bytes)
}

impl<'i> Image<'i> {
    /// Looks at the header of a file.
    pub fn new(file: &'i [u8]) -> Option<Self> {
        /// Magic, 64 bits, little-endian, version 1.
        const IDENT: [u8; 7] = *b"\x7fELF\x02\x01\x01";
        const X86_64: u16 = 62;
        let machine = u16::from_le_bytes(at(file, 0x12)?);
        let known = at(file, 0)? == IDENT && machine == X86_64;
        known.then_some(Self { file, entry: word(file, 0x18)? })
    }

    /// What is loaded. The first is where the image begins.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'i>> + use<'i> {
        const LOAD: u32 = 1;
        const HEADER: usize = 56;
        let file = self.file;
        let first =
            word(file, 0x20).and_then(|first| usize::try_from(first).ok()).unwrap_or(file.len());
        let count = at(file, 0x38).map_or(0, u16::from_le_bytes);
        (0..usize::from(count)).filter_map(move |index| {
            let header = file.get(first.checked_add(index * HEADER)?..)?.get(..HEADER)?;
            if u32::from_le_bytes(at(header, 0)?) != LOAD {
                return None;
            }
            let start = usize::try_from(word(header, 0x08)?).ok()?;
            let size = usize::try_from(word(header, 0x20)?).ok()?;
            let bytes = file.get(start..start.checked_add(size)?)?;
            Some(Segment { address: word(header, 0x18)?, bytes, length: word(header, 0x28)? })
        })
    }
}
