//! What the loader tells: memory, the command line, modules, where firmware's tables are.
//!
//! Source: Xen's `xen/include/public/arch-x86/hvm/start_info.h`, version 1.

use super::memory::firmware;

const MAGIC: u32 = 0x336e_c578;
const MEMORY_MAP: u32 = 1;

/// The start info, in memory of the loader.
#[derive(Clone, Copy, Debug)]
pub struct StartInfo {
    bytes: &'static [u8],
}

/// A stretch of the machine's addresses, from `start` up to `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The first byte.
    pub start: u64,
    /// The byte after the last one.
    pub end: u64,
    /// True for memory that is free; false for what firmware keeps.
    pub free: bool,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u64::from_le_bytes)
}

impl StartInfo {
    /// The start info at `address`, if there is one.
    #[must_use]
    pub fn at(address: usize) -> Option<Self> {
        let bytes = firmware(address as u64, 0x38)?;
        let known = u32_at(bytes, 0) == MAGIC && u32_at(bytes, 4) >= MEMORY_MAP;
        known.then_some(Self { bytes })
    }

    /// The command line; empty if there is none, or it is no text.
    #[must_use]
    pub fn command_line(&self) -> &'static str {
        const LONGEST: usize = 2048;
        let bytes = firmware(u64_at(self.bytes, 0x18), LONGEST).unwrap_or_default();
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        str::from_utf8(text).unwrap_or_default()
    }

    /// Where the root of ACPI's tables is.
    #[must_use]
    pub fn rsdp(&self) -> u64 {
        u64_at(self.bytes, 0x20)
    }

    /// The memory map.
    pub fn memory(&self) -> impl Iterator<Item = Stretch> + Clone + use<> {
        const ENTRY: usize = 24;
        let count = u32_at(self.bytes, 0x30) as usize;
        let list = firmware(u64_at(self.bytes, 0x28), count * ENTRY).unwrap_or_default();
        list.chunks_exact(ENTRY).map(|entry| {
            let start = u64_at(entry, 0);
            let end = start.saturating_add(u64_at(entry, 8));
            Stretch { start, end, free: u32_at(entry, 16) == 1 }
        })
    }

    /// The first module, as `-initrd` gives it: the image of a guest.
    #[must_use]
    pub fn module(&self) -> Option<&'static [u8]> {
        let list = firmware(u64_at(self.bytes, 0x10), 32)?;
        let length = usize::try_from(u64_at(list, 8)).ok()?;
        (u32_at(self.bytes, 0x0c) > 0).then(|| firmware(u64_at(list, 0), length))?
    }

    /// Memory that this structure and what it leads to lie in: not to be given out.
    pub fn used(&self) -> impl Iterator<Item = Stretch> + Clone + use<> {
        let image = super::image();
        let of = |bytes: &'static [u8]| {
            let start = bytes.as_ptr().addr() as u64;
            Stretch { start, end: start + bytes.len() as u64, free: false }
        };
        // The loader's structures are all in the first MiB.
        let low = Stretch { start: 0, end: 1 << 20, free: false };
        [Some(image), Some(low), self.module().map(of)].into_iter().flatten()
    }
}
